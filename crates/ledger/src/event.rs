//! What a committed call left on the chain: events of the contracts, and why a call aborted.
//! Reads only what the node answered and never asks it for more.

use cactus_protocol::{Address, Octas, TaskId};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeOwned, Error as _},
};
use serde_json::Value;

/// An event of the contracts. Events of other modules are not kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainEvent {
    /// The module, for example `payment`.
    pub module: String,
    /// The event's name, for example `TaskSettled`.
    pub name: String,
    /// Its fields as the node prints them: `u64` as text, bytes and addresses as `0x…`.
    pub data: Value,
}

/// `settlement::TaskSettled`: where a task's lock went.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Settlement {
    /// Who paid.
    pub client: Address,
    /// For which task.
    pub task_id: TaskId,
    /// Who routed it.
    pub server: Address,
    /// Who worked.
    pub orchestrator: Address,
    /// Paid to the orchestrator.
    #[serde(deserialize_with = "octas")]
    pub orchestrator_octas: Octas,
    /// Paid to the server.
    #[serde(deserialize_with = "octas")]
    pub server_fee_octas: Octas,
    /// Kept for the treasury.
    #[serde(deserialize_with = "octas")]
    pub treasury_fee_octas: Octas,
    /// Returned to the client.
    #[serde(deserialize_with = "octas")]
    pub refund_octas: Octas,
}

/// `payment::TaskSkipped`: a batch passed over this task, and its lock is where it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Skipped {
    /// Whose task.
    pub client: Address,
    /// Which.
    pub task_id: TaskId,
    /// Why.
    pub reason: SkipReason,
}

/// Why a batch passed over a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(from = "u8")]
pub enum SkipReason {
    /// There is no such task.
    Unknown,
    /// It is another server's.
    Foreign,
    /// It was settled or refunded before: look at the task itself.
    Final,
    /// A case holds it.
    Disputed,
    /// Its deadline, or its review, is over.
    Late,
    /// The report's hash is not 32 bytes or it has too many tokens.
    Unsound,
    /// A later version of the contracts says something else.
    Other,
}

impl From<u8> for SkipReason {
    fn from(code: u8) -> Self {
        match code {
            1 => Self::Unknown,
            2 => Self::Foreign,
            3 => Self::Final,
            4 => Self::Disputed,
            5 => Self::Late,
            6 => Self::Unsound,
            _ => Self::Other,
        }
    }
}

fn octas<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Octas, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map(Octas).map_err(D::Error::custom)
}

impl ChainEvent {
    /// The event as a settlement, if it is one.
    pub fn settlement(&self) -> Option<Settlement> {
        self.read("settlement", "TaskSettled")
    }

    /// The event as a task that a batch passed over, if it is one.
    pub fn skipped(&self) -> Option<Skipped> {
        self.read("payment", "TaskSkipped")
    }

    fn read<T: DeserializeOwned>(&self, module: &str, name: &str) -> Option<T> {
        let is_it = self.module == module && self.name == name;
        is_it.then(|| T::deserialize(&self.data).ok()).flatten()
    }

    /// Reads one entry of a transaction's `events` if it is of the contracts at `contract`.
    pub(crate) fn parse(value: &Value, contract: Address) -> Option<Self> {
        let mut parts = value.get("type")?.as_str()?.splitn(3, "::");
        let account: Address = parts.next()?.parse().ok()?;
        (account == contract).then_some(())?;
        Some(Self {
            module: parts.next()?.to_owned(),
            name: parts.next()?.to_owned(),
            data: value.get("data").cloned().unwrap_or(Value::Null),
        })
    }
}

/// A Move abort: the contract refused the call, and nothing but gas moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{module} refused: {} ({code:#x})", name.as_deref().unwrap_or("no name given"))]
pub struct Abort {
    /// Where, for example `0x1::coin`.
    pub module: String,
    /// The constant's name, if the node knows it: `EINSUFFICIENT_BALANCE`.
    pub name: Option<String>,
    /// The code, category included.
    pub code: u64,
}

impl Abort {
    /// Reads the abort out of a `vm_status`; other failures are `None`.
    pub(crate) fn parse(vm_status: &str) -> Option<Self> {
        let text = vm_status.strip_prefix("Move abort in ")?;
        let (module, reason) = text.split_once(": ")?;
        let reason = reason.split(": ").next().unwrap_or(reason).trim();
        let (name, code) = match reason.split_once('(') {
            Some((name, code)) => (Some(name.to_owned()), code.trim_end_matches(')')),
            None => (None, reason),
        };
        let code = u64::from_str_radix(code.strip_prefix("0x")?, 16).ok()?;
        Some(Self { module: module.to_owned(), name, code })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_abort_is_read_with_and_without_its_name() {
        let known = Abort::parse(
            "Move abort in 0x1::coin: EINSUFFICIENT_BALANCE(0x10006): Not enough coins: none",
        )
        .unwrap();
        assert_eq!(known.module, "0x1::coin");
        assert_eq!(known.name.as_deref(), Some("EINSUFFICIENT_BALANCE"));
        assert_eq!(known.code, 0x10006);
        let unknown = Abort::parse("Move abort in 0xca::payment: 0x5").unwrap();
        assert_eq!((unknown.name, unknown.code), (None, 5));
        for status in
            ["Executed successfully", "Out of gas", "Move abort in ", "Move abort in 0x1::m: x"]
        {
            assert_eq!(Abort::parse(status), None, "{status}");
        }
    }

    #[test]
    fn a_settlement_is_read_from_the_contracts_own_event_only() {
        let contract = Address([0xca; 32]);
        let event = |account: Address, extra: &str| {
            json!({ "type": format!("{account}::settlement::TaskSettled"), "data": {
                "__variant__": extra, "client": "0x1", "task_id": Address([2; 32]).to_string(),
                "server": "0x3", "orchestrator": "0x4", "orchestrator_octas": "90",
                "server_fee_octas": "8", "treasury_fee_octas": "2", "refund_octas": "900" } })
        };
        let settled = ChainEvent::parse(&event(contract, "V1"), contract).unwrap();
        let settlement = settled.settlement().unwrap();
        assert_eq!(settlement.orchestrator_octas, Octas(90));
        assert_eq!(settlement.task_id, TaskId([2; 32]));
        assert_eq!(ChainEvent::parse(&event(Address([1; 32]), "V1"), contract), None);
        assert_eq!(settled.skipped(), None);
    }

    #[test]
    fn a_skipped_task_is_read_with_its_reason() {
        let data = |reason: u8| {
            json!({ "__variant__": "V1", "client": "0x1", "server": "0x3", "reason": reason,
                "task_id": Address([2; 32]).to_string() })
        };
        let skipped = |reason| {
            let (module, name) = ("payment".to_owned(), "TaskSkipped".to_owned());
            ChainEvent { module, name, data: data(reason) }.skipped().unwrap()
        };
        assert_eq!(skipped(3).task_id, TaskId([2; 32]));
        let reasons: Vec<SkipReason> = (1..8).map(|code| skipped(code).reason).collect();
        use SkipReason::{Disputed, Final, Foreign, Late, Other, Unknown, Unsound};
        assert_eq!(reasons, [Unknown, Foreign, Final, Disputed, Late, Unsound, Other]);
    }
}
