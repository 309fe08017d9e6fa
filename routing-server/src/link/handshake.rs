//! Who may link: a fresh challenge, the node's signed answer, and what the chain says of both the
//! operator and the node's key. It trusts nothing in a `Hello` but what was checked.

use crate::{
    chain::{Chain, Operator},
    config::Config,
};
use cactus_protocol::{
    Octas, Scope, Signed,
    frame::{Advert, Challenge, Gpu, Hello, ModelOffer, PROTOCOL_VERSION, Refusal, Refused},
};
use std::time::SystemTime;

/// The highest price that the contract takes: 10,000 APT per 1,000 tokens.
const MAX_PRICE: Octas = Octas(1_000_000_000_000);
/// Models of one advert at most.
const MAX_MODELS: usize = 64;
/// Bytes of a model's id at most.
const MAX_MODEL_BYTES: usize = 256;
/// Bytes of any free text in a `Hello` at most.
const MAX_TEXT_BYTES: usize = 256;
/// Accelerators of one node at most.
const MAX_GPUS: usize = 64;

/// A `Hello` that stood every check, and the operator's stake.
#[derive(Debug)]
pub struct Admitted {
    /// What the node said.
    pub hello: Hello,
    /// What the chain says.
    pub stake: Octas,
}

/// A challenge with a fresh nonce.
pub fn challenge(scope: Scope, config: &Config) -> Challenge {
    Challenge {
        protocol_version: PROTOCOL_VERSION,
        chain_id: scope.chain_id,
        contract: scope.contract,
        server: config.key.address(),
        nonce: rand::random(),
        server_time_ms: unix_ms(),
    }
}

/// Unix milliseconds now.
pub fn unix_ms() -> u64 {
    let elapsed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    elapsed.map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}

/// Checks everything that a `Hello` claims and that can be checked.
///
/// # Errors
/// [`Refused`] with the reason and what to do.
pub async fn admit(
    chain: &dyn Chain,
    challenge: &Challenge,
    hello: Signed<Hello>,
) -> Result<Admitted, Refused> {
    let hello = check_hello(challenge, hello)?;
    let operator = chain.operator(hello.operator).await.map_err(|error| {
        tracing::warn!(%error, "cannot check a node on the chain");
        refuse(Refusal::Unavailable, "the chain cannot be reached; try again")
    })?;
    let stake = check_operator(&hello, operator, chain.parameters().min_stake)?;
    Ok(Admitted { hello, stake })
}

/// The part without the chain.
fn check_hello(challenge: &Challenge, hello: Signed<Hello>) -> Result<Hello, Refused> {
    if hello.body.protocol_version != challenge.protocol_version {
        let message = format!("this server speaks version {PROTOCOL_VERSION}: update the node");
        return Err(refuse(Refusal::Version, message));
    }
    let scope = Scope { chain_id: challenge.chain_id, contract: challenge.contract };
    let node = hello.body.node;
    let hello = hello
        .verify(scope, &node)
        .map_err(|error| refuse(Refusal::BadSignature, error.to_string()))?
        .into_inner();
    if hello.nonce != challenge.nonce || hello.server != challenge.server {
        let message = "the hello answers another challenge; connect again";
        return Err(refuse(Refusal::BadSignature, message));
    }
    check_advert(&hello)?;
    Ok(hello)
}

fn check_advert(hello: &Hello) -> Result<(), Refused> {
    let Advert { models, slots, region, .. } = &hello.advert;
    let bad = |message: &str| Err(refuse(Refusal::BadAdvert, message));
    if models.is_empty() || models.len() > MAX_MODELS || *slots == 0 {
        return bad("an advert has 1 to 64 models and at least one slot");
    }
    let fits = |id: &str| !id.is_empty() && id.len() <= MAX_MODEL_BYTES && !id.contains('\0');
    if !models.iter().all(|m| fits(&m.id) && m.context_length > 1) {
        return bad(
            "a model's id has 1 to 256 bytes, none zero, and its context at least 2 tokens",
        );
    }
    if !models.iter().all(ModelOffer::is_well_formed) {
        return bad("an offer names each feature once, and its vectors have 1 to 16384 numbers");
    }
    let is_dear = |m: &ModelOffer| m.price.prompt.max(m.price.output) > MAX_PRICE;
    if models.iter().any(is_dear) {
        return bad("the contract takes no price above 10,000 APT per 1,000 tokens");
    }
    let mut ids: Vec<_> = models.iter().map(|m| &m.id).collect();
    ids.sort();
    if ids.windows(2).any(|pair| pair[0] == pair[1]) {
        return bad("an advert names each model once");
    }
    let texts = [region, &hello.software, &hello.hardware.cpu];
    let gpus = &hello.hardware.gpus;
    let fits = |gpu: &Gpu| gpu.name.len().max(gpu.driver.len()) <= MAX_TEXT_BYTES;
    let gpus_fit = gpus.iter().all(fits);
    if texts.iter().any(|t| t.len() > MAX_TEXT_BYTES) || gpus.len() > MAX_GPUS || !gpus_fit {
        return bad("region, software and hardware must be short");
    }
    Ok(())
}

/// The part that the chain decides.
fn check_operator(
    hello: &Hello,
    operator: Option<Operator>,
    min_stake: Octas,
) -> Result<Octas, Refused> {
    let Some(operator) = operator else {
        let message = format!("{} is not registered as an orchestrator", hello.operator);
        return Err(refuse(Refusal::NotRegistered, message));
    };
    if !operator.online {
        let message = "the orchestrator is not online on the chain: set its status";
        return Err(refuse(Refusal::NotRegistered, message));
    }
    let node = operator.nodes.iter().find(|node| node.key == hello.node);
    let Some(node) = node else {
        let message = format!("add the node {} to your orchestrator first", hello.node);
        return Err(refuse(Refusal::NotRegistered, message));
    };
    if !operator.whitelisted || !node.validated {
        let message = "no validator vouches for this orchestrator and node yet: ask one to";
        return Err(refuse(Refusal::NotRegistered, message));
    }
    if operator.stake < min_stake {
        let message = format!("the stake is {}; bond at least {min_stake}", operator.stake);
        return Err(refuse(Refusal::StakeTooLow, message));
    }
    Ok(operator.stake)
}

/// A refusal for the node.
pub fn refuse(reason: Refusal, message: impl Into<String>) -> Refused {
    Refused { reason, message: message.into() }
}

#[cfg(test)]
#[path = "handshake_tests.rs"]
mod tests;
