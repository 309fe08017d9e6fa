//! How many answers are under way, in all and for each payer.

use crate::error::ApiError;
use cactus_protocol::Address;
use parking_lot::Mutex;
use std::{collections::HashMap, sync::Arc};

/// Answers under way.
#[derive(Debug, Default)]
pub struct Streams {
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    total: usize,
    by_payer: HashMap<Address, usize>,
}

/// One answer under way, counted while it lives.
#[derive(Debug)]
pub struct Stream {
    streams: Arc<Streams>,
    payer: Address,
}

impl Streams {
    /// Counts one more answer.
    ///
    /// # Errors
    /// [`ApiError::Busy`] at either limit.
    pub fn enter(
        self: &Arc<Self>,
        payer: Address,
        (total, per_payer): (usize, usize),
    ) -> Result<Stream, ApiError> {
        let mut counts = self.counts.lock();
        let busy = |code, message: &str| {
            let message = message.into();
            Err(ApiError::Busy { code, message })
        };
        if counts.total >= total {
            return busy("overloaded", "this server is at its limit; try again");
        }
        let count = counts.by_payer.entry(payer).or_default();
        if *count >= per_payer {
            let text = "too many answers under way for this account; wait for some to end";
            return busy("rate_limit_exceeded", text);
        }
        *count += 1;
        counts.total += 1;
        Ok(Stream { streams: Arc::clone(self), payer })
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut counts = self.streams.counts.lock();
        counts.total -= 1;
        if let Some(count) = counts.by_payer.get_mut(&self.payer) {
            *count -= 1;
            if *count == 0 {
                counts.by_payer.remove(&self.payer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_limits_hold_and_are_given_back() {
        let streams = Arc::new(Streams::default());
        let (a, b) = (Address([1; 32]), Address([2; 32]));
        let first = streams.enter(a, (3, 2)).unwrap();
        let _second = streams.enter(a, (3, 2)).unwrap();
        assert!(streams.enter(a, (3, 2)).is_err());
        let _third = streams.enter(b, (3, 2)).unwrap();
        assert!(streams.enter(b, (3, 2)).is_err());
        drop(first);
        assert!(streams.enter(a, (3, 2)).is_ok());
    }
}
