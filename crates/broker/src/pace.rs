//! How fast a broker sends, and when: limits that hold at certain hours, shared by all runs of one broker.
//!
//! A bucket of bytes fills at the rate of the hour and is emptied by what is sent. Time comes as arguments: milliseconds of
//! a clock that only goes forward, and the minute of the local day, which the hours are about. A whole pack always goes, so
//! that a slow rate sends rarely rather than never; the bucket then owes what it did not hold.

use std::{fmt, num::NonZeroU64, str::FromStr};

const DAY_MINUTES: u16 = 24 * 60;
/// A pause at hours in which nothing is sent is looked at again after so long, since clocks are set.
const LOOK_AGAIN_MS: u64 = 60_000;
const MIB: u64 = 1024 * 1024;

/// A limit and the hours at which it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// From this minute of the local day on.
    from: u16,
    /// Until this minute, which is no longer within. Before `from` where the hours go past midnight; equal for the whole day.
    until: u16,
    /// Bytes a second; nothing is sent without.
    bytes_per_second: Option<NonZeroU64>,
}

impl Limit {
    const fn holds_at(&self, minute: u16) -> bool {
        if self.from < self.until {
            self.from <= minute && minute < self.until
        } else {
            self.from == self.until || self.from <= minute || minute < self.until
        }
    }
}

/// The text is no limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no limit: write MiB a second, as `20`, or with hours, as `08:00-18:00=5` or `07:30-09:00=0`"
)]
pub struct LimitError {
    text: String,
}

impl FromStr for Limit {
    type Err = LimitError;

    fn from_str(text: &str) -> Result<Self, LimitError> {
        let refused = || LimitError { text: text.chars().take(60).collect() };
        let (hours, rate) = match text.split_once('=') {
            Some((hours, rate)) => (Some(hours), rate),
            None => (None, text),
        };
        let mib: f64 = rate.trim().parse().map_err(|_| refused())?;
        if !(0.0..=1_000_000.0).contains(&mib) {
            return Err(refused());
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "it is between 0 and a million MiB, and a rate need not be exact to the byte"
        )]
        let bytes_per_second = NonZeroU64::new((mib * MIB as f64) as u64);
        let (from, until) = match hours {
            None => (0, 0),
            Some(hours) => {
                let (from, until) = hours.split_once('-').ok_or_else(refused)?;
                (
                    minute(from).ok_or_else(refused)?,
                    minute(until).ok_or_else(refused)? % DAY_MINUTES,
                )
            }
        };
        Ok(Self { from, until, bytes_per_second })
    }
}

/// `HH:MM` as a minute of the day; 24:00 is its end.
fn minute(text: &str) -> Option<u16> {
    let (hours, minutes) = text.trim().split_once(':')?;
    if hours.len() != 2 || minutes.len() != 2 {
        return None;
    }
    let (hours, minutes): (u16, u16) = (hours.parse().ok()?, minutes.parse().ok()?);
    let minute = hours * 60 + minutes;
    (minutes < 60 && minute <= DAY_MINUTES).then_some(minute)
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.from != self.until {
            let clock = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
            write!(f, "{}-{}: ", clock(self.from), clock(self.until))?;
        }
        match self.bytes_per_second {
            Some(rate) => write!(f, "{} KiB a second", rate.get() / 1024),
            None => f.write_str("nothing is sent"),
        }
    }
}

/// What may be sent when.
#[derive(Debug, Clone, Default)]
pub struct Pace {
    limits: Vec<Limit>,
    /// What may go now; below zero after a pack that was larger.
    credit_bytes: i64,
    at_ms: u64,
}

impl Pace {
    /// These limits; of those that hold at a time the first counts. None means as fast as it goes.
    #[must_use]
    pub fn new(limits: Vec<Limit>) -> Self {
        Self { limits, credit_bytes: 0, at_ms: 0 }
    }

    /// Whether there is any limit at all.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        !self.limits.is_empty()
    }

    /// Whether so many bytes may go now, and counts them; or how long to wait before asking again.
    ///
    /// # Errors
    /// The milliseconds to wait.
    pub fn take(&mut self, now_ms: u64, minute_of_day: u16, bytes: u64) -> Result<(), u64> {
        let Some(limit) = self.limits.iter().find(|limit| limit.holds_at(minute_of_day)) else {
            (self.credit_bytes, self.at_ms) = (0, now_ms);
            return Ok(());
        };
        let passed_ms = now_ms.saturating_sub(self.at_ms);
        self.at_ms = now_ms;
        let Some(rate) = limit.bytes_per_second else {
            return Err(LOOK_AGAIN_MS);
        };
        let rate = i64::try_from(rate.get()).unwrap_or(i64::MAX);
        let passed_ms = i64::try_from(passed_ms.min(60_000)).unwrap_or(60_000);
        // What was not used in the last second is not saved up: a limit is about every second.
        self.credit_bytes =
            self.credit_bytes.saturating_add(rate.saturating_mul(passed_ms) / 1000).min(rate);
        if self.credit_bytes < 0 {
            let owed = self.credit_bytes.unsigned_abs().saturating_mul(1000);
            return Err((owed / rate.unsigned_abs()).clamp(1, LOOK_AGAIN_MS));
        }
        self.credit_bytes =
            self.credit_bytes.saturating_sub(i64::try_from(bytes).unwrap_or(i64::MAX));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(text: &str) -> Limit {
        text.parse().unwrap()
    }

    #[test]
    fn hours_begin_and_end_and_may_go_past_midnight() {
        let office = limit("08:00-18:00=5");
        assert!(!office.holds_at(479) && office.holds_at(480) && office.holds_at(1079));
        assert!(!office.holds_at(1080));
        let night = limit("22:00-06:00=0.5");
        assert!(
            night.holds_at(1320)
                && night.holds_at(0)
                && night.holds_at(359)
                && !night.holds_at(360)
        );
        assert!((0..DAY_MINUTES).all(|minute| limit("20").holds_at(minute)));
        assert!(limit("18:00-24:00=1").holds_at(1439) && !limit("18:00-24:00=1").holds_at(0));
        assert_eq!(office.to_string(), "08:00-18:00: 5120 KiB a second");
        assert_eq!(limit("07:30-09:00=0").to_string(), "07:30-09:00: nothing is sent");
        for text in
            ["", "fast", "-1", "8-18=5", "08:00-18:00", "08:60-09:00=1", "24:01-01:00=1", "nan"]
        {
            assert!(text.parse::<Limit>().is_err(), "{text}");
        }
    }

    #[test]
    fn over_any_time_no_more_goes_than_the_limit_says_and_not_much_less() {
        for (rate, pack) in [(1, 6 * MIB), (20, 6 * MIB), (100, 100)] {
            let mut pace = Pace::new(vec![limit(&rate.to_string())]);
            let (mut now_ms, mut sent) = (5_000, 0);
            while now_ms < 605_000 {
                match pace.take(now_ms, 0, pack) {
                    Ok(()) => sent += pack,
                    Err(wait_ms) => now_ms += wait_ms,
                }
                if pack == 100 {
                    now_ms += 1;
                }
            }
            // One second's worth to begin with, and one pack that was larger than what was left.
            assert!(sent <= 601 * rate * MIB + pack, "{rate} MiB/s: {sent}");
            assert!(pack == 100 || sent >= 590 * rate * MIB, "{rate} MiB/s: {sent}");
        }
    }

    #[test]
    fn at_hours_without_a_limit_all_goes_and_at_others_nothing() {
        let mut pace = Pace::new(vec![limit("08:00-09:00=0"), limit("09:00-10:00=1")]);
        for _ in 0..1000 {
            assert_eq!(pace.take(0, 0, MIB), Ok(()));
        }
        assert_eq!(pace.take(1, 480, 1), Err(LOOK_AGAIN_MS));
        assert_eq!(pace.take(60_000, 540, 10 * MIB), Ok(()));
        assert_eq!(pace.take(60_000, 540, 1), Err(9_000));
        assert_eq!(pace.take(60_000, 600, 1), Ok(()));
        assert!(!Pace::default().is_limited() && pace.is_limited());
    }
}
