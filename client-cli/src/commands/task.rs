//! `cactus task`: one task from candidates to payment.

use super::demo::{Candidate, Payment};
use crate::{commands::chat::shorten, router::Router, session::Session};
use anyhow::{Context, Result};
use cactus_protocol::TaskId;
use serde::Deserialize;
use serde_json::Value;
use std::time::Duration;

/// How long a payment may take to be confirmed: a block and a round trip, many times over.
const FINAL_LIMIT: Duration = Duration::from_secs(30);
const FINAL_POLL: Duration = Duration::from_millis(20);

/// What `/v1/tasks/{id}` says.
#[derive(Debug, Deserialize)]
pub struct TaskView {
    pub id: String,
    pub state: String,
    pub model: String,
    /// The node's key, and the account of its operator, who is paid.
    pub node: String,
    pub operator: String,
    pub candidates: Vec<Candidate>,
    pub verdict: Option<String>,
    pub payment: Option<Payment>,
}

impl TaskView {
    fn is_final(&self) -> bool {
        matches!(self.state.as_str(), "settled" | "refunded")
    }
}

/// Asks until the task's money has come to rest.
pub async fn wait_until_final(router: &Router, id: &str) -> Result<TaskView> {
    let path = format!("/v1/tasks/{id}");
    let asking = async {
        loop {
            let view: TaskView = router.get(&path).await?;
            if view.is_final() {
                return Ok(view);
            }
            tokio::time::sleep(FINAL_POLL).await;
        }
    };
    let waited = tokio::time::timeout(FINAL_LIMIT, asking).await;
    waited.with_context(|| format!("task {id} is not settled after {} s", FINAL_LIMIT.as_secs()))?
}

pub async fn run(session: &Session, id: TaskId) -> Result<()> {
    let document: Value = session.public_router()?.get(&format!("/v1/tasks/{id}")).await?;
    if session.network.json {
        println!("{document}");
        return Ok(());
    }
    let view: TaskView = serde_json::from_value(document)?;
    println!("task      {}", view.id);
    println!("state     {}", view.state);
    println!("model     {}", view.model);
    println!("answered  {}", view.operator);
    println!("verdict   {}", view.verdict.as_deref().unwrap_or("none yet"));
    for candidate in &view.candidates {
        let terms: Vec<String> =
            candidate.terms.iter().map(|(term, value)| format!("{term} {value:.2}")).collect();
        let name = shorten(&candidate.operator);
        println!("eligible  {name} {:.3}  {}", candidate.score, terms.join("  "));
    }
    match &view.payment {
        Some(paid) => {
            println!("paid      {} to the orchestrator", paid.orchestrator_octas);
            println!("fee       {}", paid.fee_octas);
            println!("refund    {}", paid.refund_octas);
            println!("in        {}", paid.transaction);
        }
        None => println!("payment   none yet"),
    }
    Ok(())
}
