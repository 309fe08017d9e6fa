//! How many requests may be sent twice because an answer is late. Pure.

/// Second attempts granted per thousand requests.
const SHARE_MILLI: u32 = 20;
/// Second attempts that may be saved up, in thousandths.
const SAVED_MILLI: u32 = 10_000;
/// What is kept back for answers that are very late, in thousandths: one answer in twenty is a
/// little late every day, and must not have spent what a node that hangs will need.
const RESERVE_MILLI: u32 = 7_000;
/// What one costs, in thousandths.
const COST_MILLI: u32 = 1_000;

/// A bucket that each request fills by a fiftieth of what a second attempt costs.
#[derive(Debug, Clone, Default)]
pub struct HedgeBudget {
    saved_milli: u32,
}

impl HedgeBudget {
    /// A request started.
    pub fn request(&mut self) {
        self.saved_milli = (self.saved_milli + SHARE_MILLI).min(SAVED_MILLI);
    }

    /// Takes one second attempt out for an answer that is late, if there is one to spare.
    pub fn take(&mut self) -> bool {
        self.take_above(RESERVE_MILLI)
    }

    /// Takes one second attempt out for an answer that is very late, if there is one.
    pub fn take_urgent(&mut self) -> bool {
        self.take_above(0)
    }

    fn take_above(&mut self, kept_milli: u32) -> bool {
        let left = self.saved_milli.checked_sub(COST_MILLI).filter(|left| *left >= kept_milli);
        self.saved_milli = left.unwrap_or(self.saved_milli);
        left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_two_in_a_hundred_requests_are_sent_twice() {
        let mut budget = HedgeBudget::default();
        let mut sent_twice = 0;
        for _ in 0..10_000 {
            budget.request();
            sent_twice += u32::from(budget.take_urgent());
        }
        assert_eq!(sent_twice, 200);
    }

    #[test]
    fn a_quiet_night_does_not_pay_for_a_storm() {
        let mut budget = HedgeBudget::default();
        (0..100_000).for_each(|_| budget.request());
        assert_eq!((0..100).filter(|_| budget.take_urgent()).count(), 10);
    }

    #[test]
    fn what_is_a_little_late_leaves_something_for_what_is_very_late() {
        let mut budget = HedgeBudget::default();
        (0..100_000).for_each(|_| budget.request());
        assert_eq!((0..100).filter(|_| budget.take()).count(), 3);
        assert_eq!((0..100).filter(|_| budget.take_urgent()).count(), 7);
    }
}
