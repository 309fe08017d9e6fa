//! A task's request in the engine's words. It checks nothing: bounds were checked at admission,
//! the rest is the engine's.

use cactus_inference::{ChatMessage, GenerateRequest, Prompt, ResponseFormat, Sampling};
use cactus_protocol::{Address, ChatRequest, Hash, chat, frame::Task};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The engine's form of the chat that `task` asks for. Thousandths become fractions.
pub(crate) fn engine_request(
    server: Address,
    task: &Task,
    request: &ChatRequest,
) -> GenerateRequest {
    // The protocol counts what is to be produced here, the engine the whole answer.
    let resumed = u32::try_from(request.resume.len()).unwrap_or(u32::MAX);
    GenerateRequest {
        prompt: prompt(&request.prompt),
        sampling: Sampling {
            logit_bias: request.logit_bias.iter().map(bias).collect(),
            ..sampling(&request.sampling)
        },
        max_tokens: request.max_tokens.saturating_add(resumed),
        stop: request.stop.clone(),
        response_format: match &request.response_format {
            chat::ResponseFormat::Text => ResponseFormat::Text,
            chat::ResponseFormat::JsonObject => ResponseFormat::JsonObject,
            chat::ResponseFormat::JsonSchema(schema) => ResponseFormat::JsonSchema(schema.clone()),
        },
        logprobs: request.logprobs,
        resume: request.resume.clone(),
        priority: task.priority,
        deadline: Instant::now().checked_add(Duration::from_millis(task.deadline_ms.into())),
        cache_salt: cache_salt(server, task.cache_scope),
    }
}

fn prompt(prompt: &chat::Prompt) -> Prompt {
    let message = |message: &chat::ChatMessage| ChatMessage {
        role: message.role.as_str().to_owned(),
        content: message.content.clone(),
    };
    match prompt {
        chat::Prompt::Messages(messages) => Prompt::Chat(messages.iter().map(message).collect()),
        chat::Prompt::Text(text) => Prompt::Text(text.clone()),
    }
}

fn sampling(wanted: &chat::Sampling) -> Sampling {
    let unsigned = |milli: u32| fraction(i64::from(milli));
    let signed = |milli: i32| fraction(i64::from(milli));
    Sampling {
        temperature: unsigned(wanted.temperature_milli),
        top_p: unsigned(wanted.top_p_milli),
        top_k: wanted.top_k,
        min_p: unsigned(wanted.min_p_milli),
        seed: wanted.seed,
        frequency_penalty: signed(wanted.frequency_penalty_milli),
        presence_penalty: signed(wanted.presence_penalty_milli),
        logit_bias: BTreeMap::new(),
    }
}

fn bias(bias: &chat::TokenBias) -> (u32, f32) {
    (bias.token, fraction(i64::from(bias.bias_milli)))
}

/// Servers name their payers' scopes independently: no two servers share one.
fn cache_salt(server: Address, scope: u64) -> u64 {
    let Hash(hash) = Hash::of(&[server.as_bytes().as_slice(), &scope.to_le_bytes()].concat());
    hash.first_chunk().copied().map_or(0, u64::from_le_bytes)
}

/// Thousandths as a fraction: the nearest `f32`, the same on every machine.
#[expect(
    clippy::cast_possible_truncation,
    reason = "rounding to f32 is the point; the range is that of an i64"
)]
fn fraction(milli: i64) -> f32 {
    (milli as f64 / 1000.0) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use cactus_protocol::{Price, TaskId, Work};

    const SERVER: Address = Address([1; 32]);

    fn translated(cache_scope: u64, change: impl FnOnce(&mut ChatRequest)) -> GenerateRequest {
        let mut request = ChatRequest::new("m", vec![], chat::Sampling::default(), 8);
        change(&mut request);
        let task = Task {
            task_id: TaskId([1; 32]),
            work: Work::Chat(request.clone()),
            deadline_ms: 60_000,
            priority: 3,
            price: Price::default(),
            credits: 1,
            cache_scope,
            trace: None,
        };
        engine_request(SERVER, &task, &request)
    }

    #[test]
    fn nothing_that_is_asked_for_is_lost() {
        let request = translated(7, |r| {
            r.prompt = chat::Prompt::Text("x".into());
            r.sampling.frequency_penalty_milli = -500;
            r.sampling.min_p_milli = 50;
            r.logit_bias = vec![chat::TokenBias { token: 9, bias_milli: -99_500 }];
            r.logprobs = Some(2);
            r.response_format = chat::ResponseFormat::JsonSchema("{}".into());
            r.resume = vec![4, 5];
            r.stop = vec!["END".into()];
        });
        assert_eq!(request.prompt, Prompt::Text("x".into()));
        assert!((request.sampling.frequency_penalty + 0.5).abs() < f32::EPSILON);
        assert!((request.sampling.min_p - 0.05).abs() < f32::EPSILON);
        assert_eq!(request.sampling.logit_bias, BTreeMap::from([(9, -99.5)]));
        assert_eq!((request.logprobs, request.priority), (Some(2), 3));
        assert_eq!(request.response_format, ResponseFormat::JsonSchema("{}".into()));
        assert_eq!((request.resume, request.max_tokens), (vec![4, 5], 10));
        assert_eq!(request.stop, ["END"]);
        assert!(request.deadline.is_some());
    }

    #[test]
    fn scopes_and_servers_do_not_share_a_cache() {
        let salt = |scope| translated(scope, |_| ()).cache_salt;
        assert_eq!(salt(1), salt(1));
        assert_ne!(salt(1), salt(2));
        assert_ne!(cache_salt(SERVER, 1), cache_salt(Address([2; 32]), 1));
    }
}
