//! A whole answer in one body.

use super::{Envelope, Output, Usage, logprobs};
use crate::openai::text::Shape;
use cactus_protocol::FinishReason;
use serde_json::{Value, json};

/// A text answer: its choices in the order of their indices.
pub fn text<'a>(
    envelope: &Envelope,
    choices: impl IntoIterator<Item = (&'a Output, FinishReason)>,
    (usage, cactus): (Usage, &Value),
) -> Value {
    let (object, choice): (_, fn(_, &Output, FinishReason) -> Value) = match envelope.shape {
        Shape::Chat => ("chat.completion", chat_choice),
        Shape::Plain => ("text_completion", plain_choice),
    };
    let choices = choices.into_iter().enumerate();
    let choices = choices.map(|(index, (output, reason))| choice(index, output, reason));
    json!({
        "id": envelope.id(),
        "object": object,
        "created": envelope.created,
        "model": envelope.model,
        "choices": choices.collect::<Value>(),
        "usage": usage,
        "cactus": cactus,
    })
}

fn chat_choice(index: usize, output: &Output, reason: FinishReason) -> Value {
    json!({
        "index": index,
        "message": {"role": "assistant", "content": output.text, "refusal": null},
        "logprobs": logprobs::chat(&output.logprobs),
        "finish_reason": reason.as_str(),
    })
}

fn plain_choice(index: usize, output: &Output, reason: FinishReason) -> Value {
    json!({
        "index": index,
        "text": output.text,
        "logprobs": logprobs::plain(&output.logprobs, 0),
        "finish_reason": reason.as_str(),
    })
}
