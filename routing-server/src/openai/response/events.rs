//! The events of a streamed answer, of one choice or of several in turn.

use super::{
    Envelope, Usage,
    logprobs::{self, ChatLogprobs, PlainLogprobs},
};
use crate::openai::text::Shape;
use bytes::Bytes;
use cactus_protocol::{FinishReason, frame::TokenLogprob};
use serde::Serialize;

/// What a stream ends with.
pub const DONE: Bytes = Bytes::from_static(b"data: [DONE]\n\n");

#[derive(Serialize)]
struct Chunk<'a, C, P> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: &'a [C],
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Option<Usage>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cactus: Option<P>,
}

#[derive(Serialize)]
struct ChatChoice<'a> {
    index: usize,
    delta: Delta<'a>,
    logprobs: Option<ChatLogprobs>,
    finish_reason: Option<&'static str>,
}

#[derive(Serialize, Default)]
struct Delta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
}

#[derive(Serialize)]
struct PlainChoice<'a> {
    index: usize,
    text: &'a str,
    logprobs: Option<PlainLogprobs>,
    finish_reason: Option<&'static str>,
}

/// Writes the events of one streamed answer.
#[derive(Debug)]
pub struct Events {
    id: String,
    envelope: Envelope,
    include_usage: bool,
    /// Characters of each plain choice so far: its log probabilities say where tokens begin.
    written: Vec<usize>,
}

impl Events {
    /// Of one answer with so many choices. With `include_usage` every chunk has a `usage`, null
    /// but in the last.
    pub fn new(envelope: Envelope, include_usage: bool, choices: usize) -> Self {
        Self { id: envelope.id(), envelope, include_usage, written: vec![0; choices] }
    }

    /// The first events: who speaks. Plain text has no speaker.
    pub fn roles(&self) -> Vec<Bytes> {
        match self.envelope.shape {
            Shape::Chat => (0..self.written.len()).map(|index| self.role(index)).collect(),
            Shape::Plain => Vec::new(),
        }
    }

    fn role(&self, index: usize) -> Bytes {
        let delta = Delta { role: Some("assistant"), content: Some("") };
        self.chat(ChatChoice { index, delta, logprobs: None, finish_reason: None })
    }

    /// The next part of a choice.
    pub fn part(&mut self, index: usize, text: &str, tokens: &[TokenLogprob]) -> Bytes {
        match self.envelope.shape {
            Shape::Chat => self.chat(ChatChoice {
                index,
                delta: Delta { role: None, content: Some(text) },
                logprobs: logprobs::chat(tokens),
                finish_reason: None,
            }),
            Shape::Plain => {
                let offset = self.written[index];
                if !tokens.is_empty() {
                    self.written[index] += text.chars().count();
                }
                let logprobs = logprobs::plain(tokens, offset);
                self.plain(PlainChoice { index, text, logprobs, finish_reason: None })
            }
        }
    }

    /// Why a choice ended.
    pub fn finish(&self, index: usize, reason: FinishReason) -> Bytes {
        let finish_reason = Some(reason.as_str());
        match self.envelope.shape {
            Shape::Chat => {
                let delta = Delta::default();
                self.chat(ChatChoice { index, delta, logprobs: None, finish_reason })
            }
            Shape::Plain => {
                self.plain(PlainChoice { index, text: "", logprobs: None, finish_reason })
            }
        }
    }

    /// The last event: who answered, the verdict, and the usage when it was asked for.
    pub fn end(&self, usage: Usage, cactus: impl Serialize) -> Bytes {
        self.event::<(), _>(&[], Some(usage), Some(cactus))
    }

    fn chat(&self, choice: ChatChoice<'_>) -> Bytes {
        self.event(&[choice], None, None::<()>)
    }

    fn plain(&self, choice: PlainChoice<'_>) -> Bytes {
        self.event(&[choice], None, None::<()>)
    }

    fn event<C: Serialize, P: Serialize>(
        &self,
        choices: &[C],
        usage: Option<Usage>,
        cactus: Option<P>,
    ) -> Bytes {
        let object = match self.envelope.shape {
            Shape::Chat => "chat.completion.chunk",
            Shape::Plain => "text_completion",
        };
        data(&Chunk {
            id: &self.id,
            object,
            created: self.envelope.created,
            model: &self.envelope.model,
            choices,
            usage: self.include_usage.then_some(usage),
            cactus,
        })
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

#[cfg(test)]
mod tests {
    use super::*;
    use cactus_protocol::TaskId;
    use serde_json::Value;

    fn events(shape: Shape) -> Events {
        let (task_id, model) = (TaskId([1; 32]), "sprout".into());
        Events::new(Envelope { task_id, created: 5, model, shape }, false, 2)
    }

    fn read(event: &Bytes) -> Value {
        let text = std::str::from_utf8(event).unwrap();
        assert_eq!(text.matches("\n\n").count(), 1);
        serde_json::from_str(text.strip_prefix("data: ").unwrap()).unwrap()
    }

    #[test]
    fn a_chunk_is_one_event_whatever_the_text_holds() {
        let json = read(&events(Shape::Chat).part(1, "a\n\ndata: \"b\"", &[]));
        assert_eq!(json["choices"][0]["delta"]["content"], "a\n\ndata: \"b\"");
        assert_eq!(json["choices"][0]["index"], 1);
        assert!(json.get("usage").is_none());
    }

    #[test]
    fn plain_offsets_go_on_where_the_last_part_ended() {
        let mut events = events(Shape::Plain);
        let token = TokenLogprob { bytes: b"ab".to_vec(), logprob_micro: 0, top: vec![] };
        let tokens = [token];
        events.part(0, "ab", &tokens);
        let second = read(&events.part(0, "ab", &tokens));
        assert_eq!(second["object"], "text_completion");
        assert_eq!(second["choices"][0]["logprobs"]["text_offset"][0], 2);
        let other = read(&events.part(1, "ab", &tokens));
        assert_eq!(other["choices"][0]["logprobs"]["text_offset"][0], 0);
        assert!(events.roles().is_empty());
    }
}
