//! The text side of a model: template, tokenizer, and the text of a growing answer.
//! It never touches weights or logits.

pub(crate) mod answer;
pub(crate) mod codec;
pub(crate) mod format;
pub(crate) mod template;
pub(crate) mod vocabulary;
pub(crate) mod workers;

#[cfg(test)]
mod tests;
