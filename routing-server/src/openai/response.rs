//! Answers in OpenAI's shapes: one body, or the events of a stream. The `cactus` object says who
//! answered and whether it stood up; OpenAI's clients ignore it.

use bytes::Bytes;
use cactus_protocol::{FinishReason, TaskId};
use serde::Serialize;
use serde_json::{Value, json};

/// What a stream ends with.
pub const DONE: Bytes = Bytes::from_static(b"data: [DONE]\n\n");

/// Token counts, from the verified receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Prompt length after the template.
    pub prompt_tokens: u32,
    /// Output length.
    pub completion_tokens: u32,
    /// Both.
    pub total_tokens: u64,
}

impl Usage {
    /// Of an answer.
    pub fn new(prompt_tokens: u32, completion_tokens: u32) -> Self {
        Self {
            prompt_tokens,
            completion_tokens,
            total_tokens: u64::from(prompt_tokens) + u64::from(completion_tokens),
        }
    }
}

/// What all parts of one answer share.
#[derive(Debug, Clone)]
pub struct Envelope {
    /// The first attempt that produced a token names the answer.
    pub task_id: TaskId,
    /// Unix seconds.
    pub created: u64,
    /// The model's id.
    pub model: String,
}

#[derive(Serialize)]
struct Chunk<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: &'a [ChunkChoice<'a>],
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Option<Usage>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cactus: Option<&'a Value>,
}

#[derive(Serialize)]
struct ChunkChoice<'a> {
    index: u8,
    delta: DeltaBody<'a>,
    logprobs: Option<()>,
    finish_reason: Option<&'static str>,
}

#[derive(Serialize, Default)]
struct DeltaBody<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
}

/// Writes the events of one streamed answer.
#[derive(Debug)]
pub struct Events {
    id: String,
    created: u64,
    model: String,
    include_usage: bool,
}

impl Events {
    /// Of one answer. With `include_usage` every chunk has a `usage`, null but in the last.
    pub fn new(envelope: Envelope, include_usage: bool) -> Self {
        Self {
            id: completion_id(&envelope.task_id),
            created: envelope.created,
            model: envelope.model,
            include_usage,
        }
    }

    /// The first event: who speaks.
    pub fn role(&self) -> Bytes {
        let delta = DeltaBody { role: Some("assistant"), content: Some("") };
        self.choice(delta, None)
    }

    /// The next part of the text.
    pub fn text(&self, text: &str) -> Bytes {
        let delta = DeltaBody { role: None, content: Some(text) };
        self.choice(delta, None)
    }

    /// Why the text ended.
    pub fn finish(&self, reason: FinishReason) -> Bytes {
        self.choice(DeltaBody::default(), Some(reason.as_str()))
    }

    /// The last event: who answered, the verdict, and the usage when it was asked for.
    pub fn end(&self, usage: Usage, cactus: &Value) -> Bytes {
        self.event(&[], Some(usage), Some(cactus))
    }

    fn choice(&self, delta: DeltaBody<'_>, finish_reason: Option<&'static str>) -> Bytes {
        let choice = ChunkChoice { index: 0, delta, logprobs: None, finish_reason };
        self.event(&[choice], None, None)
    }

    fn event(
        &self,
        choices: &[ChunkChoice<'_>],
        usage: Option<Usage>,
        cactus: Option<&Value>,
    ) -> Bytes {
        let chunk = Chunk {
            id: &self.id,
            object: "chat.completion.chunk",
            created: self.created,
            model: &self.model,
            choices,
            usage: self.include_usage.then_some(usage),
            cactus,
        };
        data(&chunk)
    }
}

/// One server-sent event.
pub fn data<T: Serialize>(value: &T) -> Bytes {
    let mut event = b"data: ".to_vec();
    // Plain structs of strings and numbers always have a JSON form.
    if serde_json::to_writer(&mut event, value).is_err() {
        event.extend_from_slice(b"{}");
    }
    event.extend_from_slice(b"\n\n");
    event.into()
}

/// A whole answer.
pub fn completion(
    envelope: &Envelope,
    text: &str,
    (reason, usage): (FinishReason, Usage),
    cactus: &Value,
) -> Value {
    json!({
        "id": completion_id(&envelope.task_id),
        "object": "chat.completion",
        "created": envelope.created,
        "model": envelope.model,
        "choices": [{
            "index": 0,
            "message": {"role": "assistant", "content": text, "refusal": null},
            "logprobs": null,
            "finish_reason": reason.as_str(),
        }],
        "usage": usage,
        "cactus": cactus,
    })
}

fn completion_id(task_id: &TaskId) -> String {
    format!("chatcmpl-{}", hex::encode(task_id.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_one_event_whatever_the_text_holds() {
        let envelope = Envelope { task_id: TaskId([1; 32]), created: 5, model: "sprout".into() };
        let event = Events::new(envelope, false).text("a\n\ndata: \"b\"");
        let text = std::str::from_utf8(&event).unwrap();
        assert_eq!(text.matches("\n\n").count(), 1);
        let json: Value = serde_json::from_str(text.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(json["choices"][0]["delta"]["content"], "a\n\ndata: \"b\"");
        assert!(json.get("usage").is_none());
    }
}
