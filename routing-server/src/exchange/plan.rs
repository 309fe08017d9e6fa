//! What a request needs, who could answer it, and why the others cannot. It reserves and sends
//! nothing.

use crate::{
    app::App,
    dispatch::{self, Bounds, Candidate, Ineligible, Needs, NodeView, Rules},
    error::{ApiError, Invalid},
    nodes::Node,
    openai::Call,
};
use cactus_protocol::{Feature, ModelKind, Octas, SignedOrder, Work, frame::ModelOffer};
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
    pub work: Work,
    /// Whom to try, in order.
    pub choices: VecDeque<Choice>,
    /// Everyone who was looked at, with the reasons.
    pub candidates: Value,
}

/// Plans a request.
///
/// # Errors
/// An unknown model, a limit over its context, or nobody who may answer now.
pub fn plan(app: &App, call: Call, order: &SignedOrder) -> Result<Plan, ApiError> {
    let limit = order.order.max_per_task.min(MAX_LOCK);
    let Looked { work, needs, nodes, views, ranking } = look(app, call, limit)?;
    if ranking.order.is_empty() {
        return Err(nobody(&needs, &ranking.ineligible));
    }
    let candidates = describe(&views, &ranking);
    let choice = |candidate: Candidate| Choice {
        node: Arc::clone(&nodes[candidate.index]),
        view: views[candidate.index].clone(),
        lock: candidate.lock,
    };
    Ok(Plan { work, choices: ranking.order.into_iter().map(choice).collect(), candidates })
}

/// What a request would cost where, without anything being reserved.
///
/// # Errors
/// As [`plan`], but that nobody may answer now is no error.
pub fn quote(app: &App, call: Call, limit: Octas) -> Result<Value, ApiError> {
    let Looked { work, needs, views, ranking, .. } = look(app, call, limit.min(MAX_LOCK))?;
    let mut quote = describe(&views, &ranking);
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

struct Looked {
    work: Work,
    needs: Needs,
    nodes: Vec<Arc<Node>>,
    views: Vec<NodeView>,
    ranking: dispatch::Ranking,
}

fn look(app: &App, call: Call, max_lock: Octas) -> Result<Looked, ApiError> {
    let model = call.work().model().to_owned();
    let now = Instant::now();
    let nodes = app.nodes.of_model(&model);
    let view = |node: Arc<Node>| Some((app.nodes.view(&node, &model, now)?, node));
    let (views, nodes): (Vec<_>, Vec<_>) = nodes.into_iter().filter_map(view).unzip();
    let context = views.iter().map(|view| view.offer.context_length).max();
    let context = context.ok_or_else(|| ApiError::UnknownModel(model.clone()))?;
    let (views, nodes) = that_can(call.work(), views, nodes)?;
    let work = bounded_work(app, call, context)?;
    let needs = Needs {
        revision: app.config.models.get(&model).copied(),
        model,
        prompt_tokens: work.prompt_tokens_bound(),
        prompts: prompts(&work),
        max_tokens: work.max_tokens(),
        max_lock,
    };
    let ranking = dispatch::rank(&needs, &views, &rules(app, now), &mut rand::rng());
    Ok(Looked { work, needs, nodes, views, ranking })
}

/// The nodes whose engines do what the work needs.
fn that_can(
    work: &Work,
    views: Vec<NodeView>,
    nodes: Vec<Arc<Node>>,
) -> Result<(Vec<NodeView>, Vec<Arc<Node>>), ApiError> {
    let features = match work {
        Work::Chat(request) => request.needed_features(),
        Work::Embed(_) => Vec::new(),
    };
    let both = views.into_iter().zip(nodes);
    let (views, nodes): (Vec<_>, Vec<_>) =
        both.filter(|(view, _)| can(work, &view.offer, &features)).unzip();
    if views.is_empty() { Err(not_served(work, &features).into()) } else { Ok((views, nodes)) }
}

fn can(work: &Work, offer: &ModelOffer, features: &[Feature]) -> bool {
    let makes_it = match (work, offer.kind) {
        (Work::Chat(_), kind) => kind == ModelKind::Chat,
        (Work::Embed(_), kind) => kind != ModelKind::Chat,
    };
    makes_it && offer.has_features(features)
}

/// No engine here does it: the client has to ask for something else.
fn not_served(work: &Work, features: &[Feature]) -> Invalid {
    let name = |feature: &Feature| match feature {
        Feature::Logprobs => ("logprobs", "log probabilities"),
        Feature::JsonObject | Feature::JsonSchema => ("response_format", "answers in this format"),
        Feature::TextPrompt => ("prompt", "prompts without a template"),
        Feature::TokenIds | Feature::Resume => ("model", "what is asked"),
    };
    let (param, what) = match (work, features.first()) {
        (Work::Chat(_), Some(feature)) => name(feature),
        (Work::Chat(_), None) => ("model", "text"),
        (Work::Embed(_), _) => ("model", "embeddings"),
    };
    Invalid::unsupported(param, format!("no node serves {what} with `{}` now", work.model()))
}

/// How many prompts there are, each of which the context bounds.
fn prompts(work: &Work) -> u32 {
    match work {
        Work::Chat(_) => 1,
        Work::Embed(request) => u32::try_from(request.inputs.len()).unwrap_or(u32::MAX),
    }
}

/// The rules of every choice.
pub fn rules(app: &App, now: Instant) -> Rules<'_> {
    let bounds = Bounds {
        min_stake: app.chain.parameters().min_stake,
        exposure_milli: app.config.limits.exposure_milli,
    };
    Rules { bounds, weights: &app.config.weights, now }
}

fn bounded_work(app: &App, call: Call, context: u32) -> Result<Work, ApiError> {
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
    Ok(call.bounded(default))
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
