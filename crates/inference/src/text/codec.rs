//! Between text and tokens: the tokenizer, the chat template and the tokens that end a turn.
//! It never computes and never samples.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::Value;
use tokenizers::Tokenizer;

use super::format::{Constraint, Formats};
use super::template::{ChatTemplate, too_long};
use super::vocabulary::Vocabulary;
use crate::load::error::LoadError;
use crate::load::files::{ModelFiles, TEXT_LIMIT, TOKENIZER_LIMIT};
use crate::request::{GenerateError, Prompt, ResponseFormat};

const TOKENIZER: &str = "tokenizer.json";
const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
const TEMPLATE: &str = "chat_template.jinja";
/// No published vocabulary has longer tokens; bounds how many bytes a context can hold.
const TOKEN_BYTES_LIMIT: usize = 256;

/// The text side of a model.
pub(crate) struct Codec {
    tokenizer: Tokenizer,
    vocabulary: Vocabulary,
    formats: Formats,
    template: ChatTemplate,
    end_tokens: Vec<u32>,
}

#[derive(Default, Deserialize)]
struct TokenizerConfig {
    bos_token: Option<SpecialToken>,
    eos_token: Option<SpecialToken>,
    chat_template: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum SpecialToken {
    Text(String),
    Detailed { content: String },
}

#[derive(Default, Deserialize)]
struct TokenIds {
    eos_token_id: Option<OneOrMany>,
}

/// An id or a list of them.
struct OneOrMany(Vec<u32>);

impl<'de> Deserialize<'de> for OneOrMany {
    // Not an untagged enum: those lose numbers where some crate of the build has serde_json keep
    // them as text (`arbitrary_precision`).
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let ids = if value.is_array() { value } else { Value::Array(vec![value]) };
        serde_json::from_value(ids).map(Self).map_err(D::Error::custom)
    }
}

impl Codec {
    /// Reads tokenizer, template and end tokens.
    pub(crate) fn load(files: &mut ModelFiles) -> Result<Self, LoadError> {
        let content = files.read(TOKENIZER, TOKENIZER_LIMIT)?;
        let mut tokenizer =
            parse_tokenizer(&content).map_err(|reason| files.malformed(TOKENIZER, &reason))?;
        tokenizer.with_padding(None);
        let truncation = tokenizer.with_truncation(None).map(|_| ());
        truncation.map_err(|error| files.malformed(TOKENIZER, &error.to_string()))?;
        let settings =
            files.optional_json::<TokenizerConfig>(TOKENIZER_CONFIG)?.unwrap_or_default();
        let beginning = settings.bos_token.map(SpecialToken::text).unwrap_or_default();
        let end = settings.eos_token.map(SpecialToken::text).unwrap_or_default();
        let end_tokens = end_tokens(files, &tokenizer, &end)?;
        let source = template_source(files, settings.chat_template)?;
        let template = ChatTemplate::new(source, beginning, end);
        let template = template.map_err(|reason| files.malformed(TEMPLATE, &reason))?;
        let vocabulary = Vocabulary::new(&tokenizer);
        let formats = Formats::new(&vocabulary, &end_tokens);
        Ok(Self { tokenizer, vocabulary, formats, template, end_tokens })
    }

    /// The tokens of the prompt.
    ///
    /// # Errors
    /// [`GenerateError::BadRequest`] if the template refuses the messages or the prompt leaves no
    /// room for an answer in the context.
    pub(crate) fn prompt(&self, prompt: &Prompt, context: u32) -> Result<Vec<u32>, GenerateError> {
        let context = usize::try_from(context).unwrap_or(usize::MAX);
        // Refuse without tokenising what cannot fit, however large it is.
        let limit = context.saturating_mul(TOKEN_BYTES_LIMIT);
        let bytes = match prompt {
            Prompt::Chat(messages) => messages.iter().map(|message| message.content.len()).sum(),
            Prompt::Text(text) => text.len(),
        };
        if bytes > limit {
            return Err(too_long());
        }
        let tokens = match prompt {
            // The template writes the special tokens itself.
            Prompt::Chat(messages) => {
                self.tokenise(&self.template.render(messages, limit)?, false)?
            }
            Prompt::Text(text) => self.tokenise(text, true)?,
        };
        if tokens.len() >= context {
            return Err(GenerateError::BadRequest(format!(
                "the prompt has {} tokens and the model's context {context}; shorten it",
                tokens.len()
            )));
        }
        if tokens.is_empty() {
            return Err(GenerateError::BadRequest("the prompt is empty".to_owned()));
        }
        Ok(tokens)
    }

    /// The tokens of a text, with those that the tokenizer puts around every text if `framed`;
    /// special tokens in it are recognised.
    ///
    /// # Errors
    /// [`GenerateError::Internal`] if the tokenizer fails.
    pub(crate) fn tokenise(&self, text: &str, framed: bool) -> Result<Vec<u32>, GenerateError> {
        // A hostile vocabulary may make the tokenizer library panic; the node should live on.
        let encoded = catch_unwind(AssertUnwindSafe(|| self.tokenizer.encode_fast(text, framed)));
        match encoded {
            Ok(Ok(encoding)) => Ok(encoding.get_ids().to_vec()),
            Ok(Err(error)) => Err(GenerateError::Internal(error.to_string())),
            Err(_) => Err(GenerateError::Internal("the tokenizer panicked".to_owned())),
        }
    }

    /// The text of tokens, special ones left out; broken characters become `U+FFFD`.
    ///
    /// # Errors
    /// [`GenerateError::Internal`] if the tokenizer fails.
    pub(crate) fn decode(&self, tokens: &[u32]) -> Result<String, GenerateError> {
        if let Some(text) = self.vocabulary.join(tokens) {
            return Ok(text);
        }
        self.tokenizer
            .decode(tokens, true)
            .map_err(|error| GenerateError::Internal(error.to_string()))
    }

    /// Whether formats other than text can be kept to.
    pub(crate) fn follows_formats(&self) -> bool {
        self.formats.are_known()
    }

    /// What the answer must keep to, if anything, after its first tokens; worked out in the
    /// background.
    ///
    /// # Errors
    /// [`GenerateError::BadRequest`] if the format is too much to be followed.
    pub(crate) fn constraint(
        &self,
        format: &ResponseFormat,
        resume: &[u32],
    ) -> Result<Option<Constraint>, GenerateError> {
        // The token that ends an answer is no part of what the format says.
        let after = resume.iter().copied().take_while(|token| !self.is_end(*token)).collect();
        self.formats.constraint(format, after)
    }

    /// Whether `token` ends the model's turn.
    pub(crate) fn is_end(&self, token: u32) -> bool {
        self.end_tokens.contains(&token)
    }

    /// The smallest vocabulary that the tokenizer needs of a model.
    pub(crate) fn vocabulary(&self) -> usize {
        self.vocabulary.len()
    }

    /// The bytes that a token stands for; of a special token its name.
    pub(crate) fn bytes(&self, token: u32) -> &[u8] {
        self.vocabulary.bytes(token)
    }
}

impl SpecialToken {
    fn text(self) -> String {
        match self {
            Self::Text(content) | Self::Detailed { content } => content,
        }
    }
}

/// Parses `tokenizer.json`; what the library panics on is malformed too.
pub(crate) fn parse_tokenizer(content: &[u8]) -> Result<Tokenizer, String> {
    match catch_unwind(|| Tokenizer::from_bytes(content)) {
        Ok(parsed) => parsed.map_err(|error| error.to_string()),
        Err(_) => Err("the tokenizer library panicked on it".to_owned()),
    }
}

/// `chat_template.jinja`, or what older models keep in `tokenizer_config.json`.
fn template_source(files: &mut ModelFiles, inline: Option<String>) -> Result<String, LoadError> {
    match (files.read_optional(TEMPLATE, TEXT_LIMIT)?, inline) {
        (Some(content), _) => String::from_utf8(content)
            .map_err(|error| files.malformed(TEMPLATE, &error.to_string())),
        (None, Some(source)) => Ok(source),
        (None, None) => Err(LoadError::Unsupported("a model without a chat template".to_owned())),
    }
}

/// The tokens that end a turn, as the generation settings (or else the model's) and the tokenizer
/// name them.
fn end_tokens(
    files: &mut ModelFiles,
    tokenizer: &Tokenizer,
    end: &str,
) -> Result<Vec<u32>, LoadError> {
    let generation = files.optional_json::<TokenIds>("generation_config.json")?.unwrap_or_default();
    let config: TokenIds = files.json("config.json")?;
    let tokens = generation.eos_token_id.or(config.eos_token_id);
    let mut tokens = tokens.map_or_else(Vec::new, |OneOrMany(tokens)| tokens);
    tokens.extend(tokenizer.token_to_id(end));
    Ok(tokens)
}
