//! A whole answer in one body.

use super::{
    Envelope, Output, Usage,
    logprobs::{self, ChatLogprobs, PlainLogprobs},
};
use crate::openai::text::Shape;
use cactus_protocol::FinishReason;
use serde::Serialize;

/// A text answer.
#[derive(Debug, Serialize)]
pub struct Text<'a, C> {
    id: String,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: Vec<Choice<'a>>,
    usage: Usage,
    cactus: C,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Choice<'a> {
    Chat {
        index: usize,
        message: Message<'a>,
        logprobs: Option<ChatLogprobs>,
        finish_reason: &'static str,
    },
    Plain {
        index: usize,
        text: &'a str,
        logprobs: Option<PlainLogprobs>,
        finish_reason: &'static str,
    },
}

#[derive(Debug, Serialize)]
struct Message<'a> {
    role: &'static str,
    content: &'a str,
    refusal: Option<()>,
}

impl<'a> Choice<'a> {
    fn new(shape: Shape, index: usize, (output, reason): (&'a Output, FinishReason)) -> Self {
        let (text, finish_reason) = (output.text.as_str(), reason.as_str());
        match shape {
            Shape::Chat => Self::Chat {
                index,
                message: Message { role: "assistant", content: text, refusal: None },
                logprobs: logprobs::chat(&output.logprobs),
                finish_reason,
            },
            Shape::Plain => {
                let logprobs = logprobs::plain(&output.logprobs, 0);
                Self::Plain { index, text, logprobs, finish_reason }
            }
        }
    }
}

/// A text answer: its choices in the order of their indices.
pub fn text<'a, C: Serialize>(
    envelope: &'a Envelope,
    choices: impl IntoIterator<Item = (&'a Output, FinishReason)>,
    (usage, cactus): (Usage, C),
) -> Text<'a, C> {
    let choices = choices.into_iter().enumerate();
    Text {
        id: envelope.id(),
        object: match envelope.shape {
            Shape::Chat => "chat.completion",
            Shape::Plain => "text_completion",
        },
        created: envelope.created,
        model: &envelope.model,
        choices: choices.map(|(index, made)| Choice::new(envelope.shape, index, made)).collect(),
        usage,
        cactus,
    }
}
