//! Gas: what each kind of work costs, and the bounds on one session.
//! Never refunds. The figures are of the order of Aptos' schedule, not equal to it.

use crate::failure::{Failure, Outcome};

/// Internal units in one unit of gas, as in Aptos.
const SCALE: u64 = 1_000_000;
/// Most internal units of execution in one session (920 gas units, as in Aptos), whatever the
/// limit: bounds the time of one transaction.
const EXECUTION_MAX: u64 = 920 * SCALE;
/// Most bytes that values may take over one session.
const MEMORY_MAX: u64 = 256 << 20;

/// Costs in internal units.
pub(crate) mod cost {
    pub const INSTRUCTION: u64 = 294;
    pub const CALL: u64 = 3_676;
    pub const CALL_PER_ARGUMENT: u64 = 367;
    pub const GLOBAL: u64 = 1_838;
    /// Per byte copied, compared, decoded or encoded.
    pub const BYTE: u64 = 14;
    pub const ABORT: u64 = 2_205;
    pub const NATIVE: u64 = 1_102;
    pub const HASH: u64 = 11_028;
    pub const HASH_PER_BYTE: u64 = 183;
    pub const SIGNATURE: u64 = 981_492;
    /// First read of a resource or table item.
    pub const READ: u64 = 302_385;
    pub const READ_PER_BYTE: u64 = 151;
    pub const WRITE: u64 = 89_568;
    pub const WRITE_PER_BYTE: u64 = 89;
    pub const EVENT: u64 = 20_006;
    pub const EVENT_PER_BYTE: u64 = 61;
    pub const MODULE_PER_BYTE: u64 = 180;
}

/// What a session may still use.
#[derive(Debug)]
pub(crate) struct Meter {
    limit: u64,
    left: u64,
    execution_left: u64,
    memory_left: u64,
}

impl Meter {
    /// A meter for `gas_limit` units.
    pub fn new(gas_limit: u64) -> Self {
        let limit = gas_limit.saturating_mul(SCALE);
        Self { limit, left: limit, execution_left: EXECUTION_MAX, memory_left: MEMORY_MAX }
    }

    /// Units used, rounded up.
    pub fn used(&self) -> u64 {
        (self.limit - self.left).div_ceil(SCALE)
    }

    /// Charges work.
    pub fn charge(&mut self, amount: u64) -> Outcome<()> {
        self.charge_storage(amount)?;
        let left = self.execution_left.checked_sub(amount);
        self.execution_left = left.ok_or(Failure::Other("EXECUTION_LIMIT_REACHED"))?;
        Ok(())
    }

    /// Charges reads and writes of state, which the execution bound does not count.
    pub fn charge_storage(&mut self, amount: u64) -> Outcome<()> {
        let Some(left) = self.left.checked_sub(amount) else {
            self.left = 0;
            return Err(Failure::OutOfGas);
        };
        self.left = left;
        Ok(())
    }

    /// Charges for `bytes` of values that came to be.
    pub fn allocate(&mut self, bytes: u64) -> Outcome<()> {
        self.charge(bytes.saturating_mul(cost::BYTE))?;
        let left = self.memory_left.checked_sub(bytes);
        self.memory_left = left.ok_or(Failure::Execution("MEMORY_LIMIT_EXCEEDED"))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn used_gas_never_exceeds_the_limit() {
        let mut meter = Meter::new(2);
        meter.charge(1_500_000).unwrap();
        assert_eq!(meter.used(), 2);
        assert_eq!(meter.charge(600_000), Err(Failure::OutOfGas));
        assert_eq!(meter.used(), 2);
    }

    #[test]
    fn execution_and_memory_are_bounded_whatever_the_limit() {
        let mut meter = Meter::new(u64::MAX);
        assert_eq!(meter.charge(EXECUTION_MAX + 1), Err(Failure::Other("EXECUTION_LIMIT_REACHED")));
        let mut meter = Meter::new(u64::MAX);
        assert!(meter.allocate(MEMORY_MAX + 1).is_err());
    }
}
