//! What the demonstration measured, as the JSON document that `--json` prints.

use cactus_devnet::Balances;
use cactus_protocol::Octas;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

#[derive(Debug, Serialize)]
pub struct Report {
    pub answers: Vec<AnswerReport>,
    pub balances: Balanced,
    /// Before and after, every coin that the chain says exists was found with a holder.
    pub conserved: bool,
    pub seconds: f64,
}

#[derive(Debug, Serialize)]
pub struct Balanced {
    pub before: Balances,
    pub after: Balances,
}

#[derive(Debug, Serialize)]
pub struct AnswerReport {
    pub task: String,
    pub model: String,
    pub prompt: String,
    pub text: String,
    pub node: String,
    pub operator: String,
    pub candidates: Vec<Candidate>,
    pub ttft_ms: u64,
    pub output_tokens: u64,
    pub tokens_per_s: Option<f64>,
    pub verdict: String,
    pub payment: Option<Payment>,
}

/// An orchestrator that could have had the task.
#[derive(Debug, Clone, Serialize, serde::Deserialize)]
pub struct Candidate {
    pub node: String,
    pub operator: String,
    pub score: f64,
    pub terms: BTreeMap<String, f64>,
}

/// What the contract moved.
#[derive(Debug, Clone, Serialize, serde::Deserialize)]
pub struct Payment {
    pub transaction: String,
    pub orchestrator_octas: Octas,
    pub fee_octas: Octas,
    pub refund_octas: Octas,
}

impl Report {
    /// Whether the demonstration showed what it promises.
    pub fn succeeded(&self) -> bool {
        let good = |answer: &AnswerReport| answer.verdict == "verified" && answer.payment.is_some();
        self.conserved && !self.answers.is_empty() && self.answers.iter().all(good)
    }
}

/// One line of the conversations that come with the model.
#[derive(Debug, serde::Deserialize)]
pub struct Conversation {
    pub messages: Vec<Value>,
}

impl Conversation {
    /// What is asked last.
    pub fn prompt(&self) -> &str {
        self.messages.last().and_then(|message| message["content"].as_str()).unwrap_or_default()
    }
}
