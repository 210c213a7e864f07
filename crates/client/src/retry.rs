//! How long to wait before another try, and when to stop trying.

use std::time::Duration;

/// The first pause is drawn from so much.
const FIRST: Duration = Duration::from_millis(500);
/// No pause is drawn from more.
const MOST: Duration = Duration::from_secs(60);
/// No more than this is waited because a hub asks for it.
const MOST_ASKED: Duration = Duration::from_secs(3600);

/// How long a caller keeps trying.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// One try: for tests and for callers who repeat by themselves.
    Once,
    /// Until so much time has passed since the first try: for a person who waits.
    For(Duration),
    /// For ever: for a broker, whose instrument goes on writing whatever the network does.
    Endless,
}

impl Patience {
    /// Whether a pause may begin `elapsed` after the first try.
    pub(crate) fn allows(self, elapsed: Duration, pause: Duration) -> bool {
        match self {
            Self::Once => false,
            Self::For(limit) => elapsed.saturating_add(pause) <= limit,
            Self::Endless => true,
        }
    }
}

/// The pause before try `failed + 1`: drawn evenly from zero to half a second doubled with each failure, a minute at
/// most, so that a thousand callers whom one outage stopped do not come back as one wave. What the hub asks for comes
/// on top. `random` is 64 fresh random bits.
pub(crate) fn pause(failed: u32, asked: Option<Duration>, random: u64) -> Duration {
    let most = FIRST.saturating_mul(1_u32 << failed.saturating_sub(1).min(16)).min(MOST);
    let most_us = u128::from(u64::try_from(most.as_micros()).unwrap_or(u64::MAX));
    let drawn = (u128::from(random) * most_us) >> 64;
    let drawn = Duration::from_micros(u64::try_from(drawn).unwrap_or(0));
    asked.unwrap_or_default().min(MOST_ASKED) + drawn
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_doubles_from_half_a_second_to_a_minute_and_is_drawn_from_zero() {
        let most: Vec<_> =
            (1..=10).map(|n| pause(n, None, u64::MAX).as_micros().div_ceil(1000)).collect();
        assert_eq!(most, [500, 1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000, 60000]);
        assert_eq!(pause(9, None, 0), Duration::ZERO);
        assert_eq!(pause(u32::MAX, None, u64::MAX / 2).as_secs(), 29);
    }

    #[test]
    fn what_the_hub_asks_for_is_waited_for() {
        let asked = Some(Duration::from_secs(7));
        assert_eq!(pause(1, asked, 0), Duration::from_secs(7));
        assert!(pause(1, asked, u64::MAX) < Duration::from_millis(7501));
        assert_eq!(pause(1, Some(Duration::MAX), 0), MOST_ASKED);
    }

    #[test]
    fn patience_ends_when_the_next_pause_would_outlast_it() {
        let second = Duration::from_secs(1);
        assert!(!Patience::Once.allows(Duration::ZERO, Duration::ZERO));
        assert!(Patience::For(2 * second).allows(second, second));
        assert!(!Patience::For(2 * second).allows(second, 2 * second));
        assert!(Patience::Endless.allows(Duration::MAX, second));
    }
}
