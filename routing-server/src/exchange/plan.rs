//! Who could answer a request, and why others cannot. It reserves and sends nothing.

use super::needs::{Means, needs_of, refusal};
use crate::{app::App, error::ApiError, nodes::Node, openai::Call};
use cactus_dispatch::{Candidate, Needs, Ranking};
use cactus_protocol::Work;
use serde_json::{Value, json};
use std::{collections::VecDeque, sync::Arc, time::Instant};

/// A node to try.
#[derive(Debug, Clone)]
pub struct Choice {
    /// The node.
    pub node: Arc<Node>,
    /// As dispatch saw it.
    pub candidate: Candidate,
}

/// A few nodes that may answer a request.
#[derive(Debug)]
pub struct Plan {
    /// Whom to try, in order.
    pub choices: VecDeque<Choice>,
    /// Everyone who was looked at, with the reasons.
    pub candidates: Value,
}

/// Finds a few nodes that may answer.
///
/// # Errors
/// Nobody may answer now.
pub fn plan(app: &App, work: &Work, needs: &Needs) -> Result<Plan, ApiError> {
    let ranking = rank(app, needs)?;
    if ranking.order.is_empty() && needs.hint.is_some() {
        // The others were not looked at.
        return Err(all_busy());
    }
    if ranking.order.is_empty() {
        let refused = refusal(work, needs, &ranking.tally);
        return Err(refused.unwrap_or_else(all_busy));
    }
    let candidates = describe(&ranking);
    // One that has just gone is no choice any more.
    let choice = |candidate: Candidate| {
        Some(Choice { node: app.nodes.get(&candidate.member.key)?, candidate })
    };
    Ok(Plan { choices: ranking.order.into_iter().filter_map(choice).collect(), candidates })
}

/// The code of [`all_busy`].
pub const OVERLOADED: &str = "overloaded";

/// Everyone who could answer is busy.
pub fn all_busy() -> ApiError {
    ApiError::Busy {
        code: OVERLOADED,
        message: "no node can take this request now; try again".into(),
    }
}

/// What a request would cost at a few nodes that would be asked, without anything being reserved.
///
/// # Errors
/// As [`plan`], but that nobody may answer now is no error.
pub fn quote(app: &App, call: Call, means: Means) -> Result<Value, ApiError> {
    let (work, needs) = needs_of(app, call, means)?;
    let ranking = rank(app, &needs)?;
    let unserved = || refusal(&work, &needs, &ranking.tally);
    if let Some(refused @ ApiError::Invalid(_)) = unserved() {
        return Err(refused);
    }
    let mut quote = describe(&ranking);
    let locks = || ranking.order.iter().map(|candidate| candidate.lock);
    let fields = json!({
        "object": "quote",
        "model": work.model(),
        "prompt_tokens_at_most": needs.prompt_tokens,
        "max_tokens": needs.max_tokens,
        "least_octas": locks().min(),
        "most_octas": locks().max(),
    });
    if let (Value::Object(quote), Value::Object(fields)) = (&mut quote, fields) {
        quote.extend(fields);
    }
    Ok(quote)
}

fn rank(app: &App, needs: &Needs) -> Result<Ranking, ApiError> {
    let ranking = app.nodes.fleet.choose(needs, Instant::now(), &mut rand::rng());
    ranking.ok_or_else(|| ApiError::UnknownModel(needs.model.clone()))
}

fn describe(ranking: &Ranking) -> Value {
    let eligible = ranking.order.iter().map(|candidate| {
        json!({
            "node": candidate.member.key,
            "operator": candidate.member.operator,
            "score": candidate.score,
            "terms": candidate.terms,
            "lock_octas": candidate.lock,
        })
    });
    let refused = ranking.ineligible.iter().map(
        |(node, operator, reason)| json!({"node": node, "operator": operator, "reason": reason}),
    );
    json!({"eligible": eligible.collect::<Value>(), "ineligible": refused.collect::<Value>()})
}
