//! The two counters of a caller: tokens that fill, and strikes that wear off. Whole numbers of thousandths and
//! microseconds, the moment as an argument, so that a test is a day in a millisecond.

/// Thousandths in one.
pub(super) const ONE: i64 = 1000;
const SECOND: i64 = 1_000_000;

/// Tokens that fill at a rate up to ten seconds' worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bucket {
    /// Thousandths of tokens; below zero is debt.
    pub(super) milli: i64,
    /// When that was so, in microseconds.
    pub(super) at: i64,
}

/// How many seconds' worth of its rate a bucket holds.
pub(super) const HOLDS_SECONDS: u32 = 10;

/// How fast a bucket fills.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rate(pub(super) u32);

impl Rate {
    const fn full(self) -> i64 {
        self.0 as i64 * HOLDS_SECONDS as i64 * ONE
    }
}

impl Bucket {
    /// A full one.
    pub(super) const fn full(rate: Rate, now: i64) -> Self {
        Self { milli: rate.full(), at: now }
    }

    /// Brings it to `now`. A clock that went back gives and takes nothing.
    pub(super) fn fill(&mut self, rate: Rate, now: i64) {
        let gained = now.saturating_sub(self.at).max(0).saturating_mul(i64::from(rate.0)) / ONE;
        // What is less than a thousandth waits, instead of being lost at every call.
        if gained > 0 || now < self.at {
            self.milli = self.milli.saturating_add(gained).min(rate.full());
            self.at = now;
        }
    }

    /// Takes a cost out, below zero if need be.
    pub(super) fn take(&mut self, tokens: u32) {
        self.milli = self.milli.saturating_sub(i64::from(tokens) * ONE);
    }

    /// Puts tokens back.
    pub(super) fn put_back(&mut self, tokens: u32, rate: Rate) {
        self.milli = self.milli.saturating_add(i64::from(tokens) * ONE).min(rate.full());
    }

    /// For how many whole seconds nothing can be taken, if so.
    pub(super) fn wait_seconds(&self, rate: Rate) -> Option<u32> {
        if self.milli >= 0 {
            return None;
        }
        let a_second = i64::from(rate.0.max(1)) * ONE;
        let seconds = self.milli.saturating_neg().saturating_add(a_second - 1) / a_second;
        Some(u32::try_from(seconds).unwrap_or(u32::MAX).max(1))
    }

    /// Whether it is worth remembering over a restart.
    pub(super) const fn is_low(&self, rate: Rate) -> bool {
        self.milli < rate.full() / 2
    }
}

/// Strikes that wear off, one in so many microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Strikes {
    /// Thousandths.
    pub(super) milli: i64,
    /// When that was so.
    pub(super) at: i64,
}

impl Strikes {
    /// Brings them to `now`.
    pub(super) fn wear_off(&mut self, one_in_seconds: i64, now: i64) {
        let gone = now.saturating_sub(self.at).max(0) / (one_in_seconds * SECOND / ONE);
        if gone > 0 || now < self.at {
            self.milli = self.milli.saturating_sub(gone).max(0);
            self.at = now;
        }
    }

    /// Adds thousandths of a strike.
    pub(super) fn add(&mut self, milli: i64) {
        self.milli = self.milli.saturating_add(milli);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_ten_seconds_at_once_and_then_its_rate() {
        let rate = Rate(20);
        let mut bucket = Bucket::full(rate, 0);
        for _ in 0..200 {
            assert_eq!(bucket.wait_seconds(rate), None);
            bucket.take(1);
        }
        assert_eq!(bucket.wait_seconds(rate), None);
        bucket.take(1);
        assert_eq!(bucket.wait_seconds(rate), Some(1));
        bucket.take(40);
        assert_eq!(bucket.wait_seconds(rate), Some(3));
        bucket.fill(rate, 3 * SECOND);
        assert_eq!(bucket.wait_seconds(rate), None);
        bucket.fill(rate, 3600 * SECOND);
        assert_eq!(bucket, Bucket::full(rate, 3600 * SECOND));
    }

    #[test]
    fn many_looks_at_a_bucket_fill_it_as_one_does() {
        let rate = Rate(20);
        let mut often = Bucket { milli: -100 * ONE, at: 0 };
        for now in 0..100_000 {
            often.fill(rate, now * 10);
        }
        let mut once = Bucket { milli: -100 * ONE, at: 0 };
        once.fill(rate, 999_990);
        assert!((often.milli - once.milli).abs() <= 1, "{often:?} {once:?}");
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing() {
        let rate = Rate(20);
        let mut bucket = Bucket { milli: -5 * ONE, at: 100 * SECOND };
        bucket.fill(rate, 0);
        assert_eq!(bucket.milli, -5 * ONE);
        bucket.fill(rate, SECOND);
        assert_eq!(bucket.milli, 15 * ONE);
    }

    #[test]
    fn strikes_wear_off() {
        let mut strikes = Strikes::default();
        strikes.add(100 * ONE);
        strikes.wear_off(6, 60 * SECOND);
        assert_eq!(strikes.milli, 90 * ONE);
        strikes.wear_off(6, 7200 * SECOND);
        assert_eq!(strikes.milli, 0);
    }
}
