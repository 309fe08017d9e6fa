//! Who could answer a request, and why others cannot. It reserves and sends nothing.

use super::needs::{Means, needs_of, refusal};
use crate::{app::App, error::ApiError, nodes::Node, openai::Call};
use cactus_dispatch::{Candidate, Ineligible, Needs, Ranking, Terms};
use cactus_protocol::{Address, Octas, PublicKey, Work};
use serde::Serialize;
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

/// Everyone who was looked at for a request, with the reasons: kept with the task, and shown to who
/// asked.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Candidates {
    /// Who could have answered, the best first.
    pub eligible: Vec<Eligible>,
    /// Some who could not.
    pub ineligible: Vec<Refused>,
}

/// Who could answer.
#[derive(Debug, Clone, Serialize)]
pub struct Eligible {
    node: PublicKey,
    operator: Address,
    score: f64,
    terms: Terms,
    lock_octas: Octas,
}

/// Who could not.
#[derive(Debug, Clone, Serialize)]
pub struct Refused {
    node: PublicKey,
    operator: Address,
    reason: Ineligible,
}

/// A few nodes that may answer a request.
#[derive(Debug)]
pub struct Plan {
    /// Whom to try, in order.
    pub choices: VecDeque<Choice>,
    /// Everyone who was looked at, with the reasons.
    pub candidates: Candidates,
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
    let candidates = Candidates::of(&ranking);
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
    let locks = || ranking.order.iter().map(|candidate| candidate.lock);
    let Candidates { eligible, ineligible } = Candidates::of(&ranking);
    Ok(json!({
        "object": "quote",
        "model": work.model(),
        "prompt_tokens_at_most": needs.prompt_tokens,
        "max_tokens": needs.max_tokens,
        "least_octas": locks().min(),
        "most_octas": locks().max(),
        "eligible": eligible,
        "ineligible": ineligible,
    }))
}

fn rank(app: &App, needs: &Needs) -> Result<Ranking, ApiError> {
    let ranking = app.nodes.fleet.choose(needs, Instant::now(), &mut rand::rng());
    ranking.ok_or_else(|| ApiError::UnknownModel(needs.model.clone()))
}

impl Candidates {
    fn of(ranking: &Ranking) -> Self {
        let eligible = ranking.order.iter().map(|candidate| Eligible {
            node: candidate.member.key,
            operator: candidate.member.operator,
            score: candidate.score,
            terms: candidate.terms,
            lock_octas: candidate.lock,
        });
        let refused = ranking.ineligible.iter();
        let refused = refused.map(|&(node, operator, reason)| Refused { node, operator, reason });
        Self { eligible: eligible.collect(), ineligible: refused.collect() }
    }
}
