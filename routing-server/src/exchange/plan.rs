//! What a request needs, who could answer it, and why the others cannot. It reserves and sends
//! nothing.

use crate::{
    app::App,
    dispatch::{self, Bounds, Candidate, Ineligible, Needs, NodeView, Rules},
    error::{ApiError, Invalid},
    nodes::Node,
    openai::ChatCall,
};
use cactus_protocol::{ChatRequest, Octas, SignedOrder};
use serde_json::{Value, json};
use std::{collections::VecDeque, sync::Arc, time::Instant};

/// Amounts are stored with 63 bits.
const MAX_LOCK: Octas = Octas(i64::MAX as u64);

/// A node to try.
#[derive(Debug, Clone)]
pub struct Choice {
    /// The node.
    pub node: Arc<Node>,
    /// As dispatch saw it.
    pub view: NodeView,
    /// The most that the task can cost there.
    pub lock: Octas,
}

/// A request with everyone who may answer it.
#[derive(Debug)]
pub struct Plan {
    /// What is asked.
    pub request: ChatRequest,
    /// Whom to try, in order.
    pub choices: VecDeque<Choice>,
    /// Everyone who was looked at, with the reasons.
    pub candidates: Value,
}

/// Plans a request.
///
/// # Errors
/// An unknown model, a limit over its context, or nobody who may answer now.
pub fn plan(app: &App, call: ChatCall, order: &SignedOrder) -> Result<Plan, ApiError> {
    let nodes = app.nodes.of_model(&call.model);
    let now = Instant::now();
    let view = |node: Arc<Node>| Some((app.nodes.view(&node, &call.model, now)?, node));
    let (views, nodes): (Vec<_>, Vec<_>) = nodes.into_iter().filter_map(view).unzip();
    let context = views.iter().map(|view| view.offer.context_length).max();
    let context = context.ok_or_else(|| ApiError::UnknownModel(call.model.clone()))?;
    let request = bounded_request(app, call, context)?;
    let needs = Needs {
        model: request.model.clone(),
        revision: app.config.models.get(&request.model).copied(),
        prompt_tokens: request.prompt_tokens_bound(),
        max_tokens: request.max_tokens,
        max_lock: order.order.max_per_task.min(MAX_LOCK),
    };
    let ranking = dispatch::rank(&needs, &views, &rules(app, now), &mut rand::rng());
    if ranking.order.is_empty() {
        return Err(nobody(&needs, &ranking.ineligible));
    }
    let candidates = describe(&views, &ranking);
    let choice = |candidate: Candidate| Choice {
        node: Arc::clone(&nodes[candidate.index]),
        view: views[candidate.index].clone(),
        lock: candidate.lock,
    };
    Ok(Plan { request, choices: ranking.order.into_iter().map(choice).collect(), candidates })
}

/// The rules of every choice.
pub fn rules(app: &App, now: Instant) -> Rules<'_> {
    let bounds = Bounds {
        min_stake: app.chain.parameters().min_stake,
        exposure_milli: app.config.limits.exposure_milli,
    };
    Rules { bounds, weights: &app.config.weights, now }
}

fn bounded_request(app: &App, call: ChatCall, context: u32) -> Result<ChatRequest, ApiError> {
    let most = context.saturating_sub(1);
    if let Some(asked) = call.max_tokens.filter(|asked| *asked > most) {
        return Err(ApiError::Invalid(Invalid {
            code: "context_length_exceeded",
            param: Some("max_tokens"),
            message: format!(
                "max_tokens is {asked} and the model's context is {context} tokens, prompt \
                 included: ask for at most {most}"
            ),
        }));
    }
    let default = app.config.limits.default_max_tokens.min(most);
    Ok(call.into_request(default))
}

/// Why nobody may answer: what the client can change comes first.
fn nobody(needs: &Needs, ineligible: &[(usize, Ineligible)]) -> ApiError {
    let all = |reason| ineligible.iter().all(|(_, other)| *other == reason);
    if all(Ineligible::OtherModel) {
        return ApiError::UnknownModel(needs.model.clone());
    }
    let any = |reason| ineligible.iter().any(|(_, other)| *other == reason);
    if any(Ineligible::PriceOverCap) {
        return ApiError::PaymentRequired {
            code: "order_too_small",
            message: format!(
                "no node answers this request within the order's {} per task: lower max_tokens, \
                 or sign an order with a higher limit per task",
                needs.max_lock
            ),
        };
    }
    ApiError::Busy {
        code: "overloaded",
        message: "no node can take this request now; try again".into(),
    }
}

fn describe(views: &[NodeView], ranking: &dispatch::Ranking) -> Value {
    let eligible = ranking.order.iter().map(|candidate| {
        let view = &views[candidate.index];
        json!({
            "node": view.node,
            "operator": view.operator,
            "score": candidate.score,
            "terms": candidate.terms,
            "lock_octas": candidate.lock,
        })
    });
    let refused = ranking.ineligible.iter().map(|(index, reason)| {
        let view = &views[*index];
        json!({"node": view.node, "operator": view.operator, "reason": reason})
    });
    json!({"eligible": eligible.collect::<Value>(), "ineligible": refused.collect::<Value>()})
}
