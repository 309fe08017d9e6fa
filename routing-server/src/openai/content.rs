//! The conversation of a request: roles and contents as OpenAI's clients write them. It keeps
//! nothing but text.

use crate::error::Invalid;
use cactus_protocol::{ChatMessage, Role};
use serde::Deserialize;

/// The most messages of one conversation.
const MAX_MESSAGES: usize = 1024;

/// One message as it comes; unknown fields are tolerated.
#[derive(Debug, Deserialize)]
pub struct RawMessage {
    role: String,
    #[serde(default)]
    content: Option<RawContent>,
}

/// Plain text, or parts of which only text is served.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum RawContent {
    Text(String),
    Parts(Vec<RawPart>),
}

#[derive(Debug, Deserialize)]
struct RawPart {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    text: Option<String>,
}

/// Reads a conversation.
pub fn parse(messages: Vec<RawMessage>) -> Result<Vec<ChatMessage>, Invalid> {
    if messages.is_empty() || messages.len() > MAX_MESSAGES {
        let message = format!("there must be 1 to {MAX_MESSAGES} messages");
        return Err(Invalid::value("messages", message));
    }
    messages.into_iter().map(parse_message).collect()
}

fn parse_message(message: RawMessage) -> Result<ChatMessage, Invalid> {
    let role = match message.role.as_str() {
        "system" | "developer" => Role::System,
        "user" => Role::User,
        "assistant" => Role::Assistant,
        other => {
            let other: String = other.chars().take(40).collect();
            let text = format!("role `{other}` is not served; use system, user or assistant");
            return Err(Invalid::unsupported("messages", text));
        }
    };
    let content = match message.content {
        Some(RawContent::Text(text)) => text,
        Some(RawContent::Parts(parts)) => join(parts)?,
        None if role == Role::Assistant => String::new(),
        None => return Err(Invalid::value("messages", "a message has no content")),
    };
    Ok(ChatMessage { role, content })
}

fn join(parts: Vec<RawPart>) -> Result<String, Invalid> {
    let mut text = String::new();
    for part in parts {
        match (part.kind.as_str(), part.text) {
            ("text", Some(part)) => text.push_str(&part),
            _ => {
                return Err(Invalid::unsupported("messages", "only text parts are served"));
            }
        }
    }
    Ok(text)
}
