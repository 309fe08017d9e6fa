//! What a request needs of whoever answers, and what the client is told when nobody can. It looks
//! at no node.

use crate::{
    app::App,
    error::{ApiError, Invalid},
    openai::{Call, preferences::Preferences},
};
use cactus_dispatch::{Features, Ineligible, Needs, Tally};
use cactus_protocol::{Address, Feature, Hash, Octas, Prompt, Work};

/// Amounts are stored with 63 bits.
const MAX_LOCK: Octas = Octas(i64::MAX as u64);

/// Whose request it is and what it may lock.
#[derive(Debug, Clone, Copy)]
pub struct Means {
    /// Who pays.
    pub payer: Address,
    /// The most that one task may lock.
    pub max_lock: Octas,
}

/// The work, bounded, and what it needs.
///
/// # Errors
/// An unknown model, or a limit over its context.
pub fn needs_of(app: &App, call: Call, means: Means) -> Result<(Work, Needs), ApiError> {
    let model = call.work().model().to_owned();
    let context = app.nodes.fleet.context_length(&model);
    let context = context.ok_or_else(|| ApiError::UnknownModel(model.clone()))?;
    let Preferences { max_price, region, min_stake, gpu, node, .. } = call.preferences.clone();
    let work = bounded_work(app, call, context)?;
    let needs = Needs {
        revision: pinned_revision(app, &model),
        embedding: matches!(work, Work::Embed(_)),
        features: Features::of(&features_of(&work)),
        min_context: 0,
        prompt_tokens: work.prompt_tokens_bound(),
        prompts: prompts(&work),
        max_tokens: work.max_tokens(),
        max_lock: means.max_lock.min(MAX_LOCK),
        max_price,
        region: region.map(|region| region.to_ascii_lowercase()),
        min_stake: min_stake.unwrap_or_default(),
        gpu: gpu.map(|gpu| gpu.to_ascii_lowercase()),
        node,
        prefix: app.nodes.prefix((&means.payer, &model), texts(&work)),
        hint: None,
        except: Vec::new(),
        model,
    };
    Ok((work, needs))
}

/// The revision that this server keeps a model to.
pub fn pinned_revision(app: &App, model: &str) -> Option<Hash> {
    app.config.models.get(model).copied()
}

/// Makes the needs those of other work of the same request, at nodes with this revision.
pub fn ask_for(needs: &mut Needs, work: &Work, revision: Option<Hash>) {
    needs.prompt_tokens = work.prompt_tokens_bound();
    needs.max_tokens = work.max_tokens();
    needs.features = Features::of(&features_of(work));
    needs.revision = revision;
}

/// Why nobody may answer: what the client can change comes first. `None` when somebody could if
/// they were given time.
pub fn refusal(work: &Work, needs: &Needs, tally: &Tally) -> Option<ApiError> {
    let all = |reason| tally.total() > 0 && tally.of(reason) == tally.total();
    if all(Ineligible::OtherModel) {
        return Some(ApiError::UnknownModel(needs.model.clone()));
    }
    if all(Ineligible::OtherFeatures) {
        return Some(not_served(work).into());
    }
    if tally.busy() > 0 || tally.of(Ineligible::Tried) > 0 {
        return None;
    }
    if tally.of(Ineligible::PriceOverCap) > 0 {
        return Some(ApiError::PaymentRequired {
            code: "order_too_small",
            message: format!(
                "no node answers this request within the order's {} per task: lower max_tokens, \
                 or sign an order with a higher limit per task",
                needs.max_lock
            ),
        });
    }
    // Nobody was looked at when nobody is in the region or pins the revision.
    Some(ApiError::Busy {
        code: "no_such_node",
        message: "no node that is linked now meets the request's wishes".into(),
    })
}

fn features_of(work: &Work) -> Vec<Feature> {
    match work {
        Work::Chat(request) => request.needed_features(),
        Work::Embed(_) => Vec::new(),
    }
}

/// No engine here does it: the client has to ask for something else.
fn not_served(work: &Work) -> Invalid {
    let name = |feature: &Feature| match feature {
        Feature::Logprobs => ("logprobs", "log probabilities"),
        Feature::JsonObject | Feature::JsonSchema => ("response_format", "answers in this format"),
        Feature::TextPrompt => ("prompt", "prompts without a template"),
        Feature::LogitBias => ("logit_bias", "biases of single tokens"),
        Feature::TokenIds | Feature::Resume => ("model", "what is asked"),
    };
    let (param, what) = match (work, features_of(work).first()) {
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

/// The prompt's text in order. Embeddings have no beginning that a cache could hold.
fn texts(work: &Work) -> Vec<&str> {
    let Work::Chat(request) = work else { return Vec::new() };
    match &request.prompt {
        Prompt::Messages(messages) => messages.iter().map(|m| m.content.as_str()).collect(),
        Prompt::Text(text) => vec![text],
    }
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
