//! Answers in JSON: which tokens may come next, so that the whole is what a schema accepts. Schemas
//! come from strangers: what cannot be followed in bounded time and memory is refused. It never
//! chooses a token.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use llguidance::api::{ParserLimits, StopReason, TopLevelGrammar};
use llguidance::toktrie::{ApproximateTokEnv, InferenceCapabilities, TokEnv, TokRxInfo, TokTrie};
use llguidance::{Matcher, ParserFactory};
use serde_json::{Value, json};

use super::vocabulary::Vocabulary;
use crate::request::{GenerateError, ResponseFormat};
use crate::sampler::TokenSet;

/// The longest run of white space between two parts of a document: without a bound a model could
/// fill its answer with it.
const WHITE_SPACE: &str = r"[\x20\x0A\x0D\x09]{1,32}";
/// Expressions that may have to hold at once. The work on an intersection grows with the product of
/// its parts, and the library's limits do not bound it well.
const MOST_INTERSECTED: usize = 2;
/// Options of the grammar library that a schema could carry; they are ours to set.
const OPTIONS: &str = "x-guidance";

/// Makes constraints for the tokens of one model.
pub(crate) struct Formats {
    /// `None` if nothing is known of what the tokens stand for.
    factory: Option<ParserFactory>,
}

/// What may come next in one answer.
pub(crate) struct Constraint {
    matcher: Matcher,
    /// Of the state that the matcher is in, once computed.
    allowed: Option<TokenSet>,
}

impl Formats {
    /// `ends` are the tokens that end a turn.
    pub(crate) fn new(vocabulary: &Vocabulary, ends: &[u32]) -> Self {
        // The library asserts what it takes for granted about vocabularies.
        let built = catch_unwind(AssertUnwindSafe(|| factory(vocabulary, ends)));
        Self { factory: built.ok().flatten() }
    }

    /// Whether constraints can be made for this model.
    pub(crate) fn are_known(&self) -> bool {
        self.factory.is_some()
    }

    /// The constraint of a format; plain text has none.
    ///
    /// # Errors
    /// [`GenerateError::BadRequest`] saying what of a schema cannot be followed.
    pub(crate) fn constraint(
        &self,
        format: &ResponseFormat,
    ) -> Result<Option<Constraint>, GenerateError> {
        let schema = match format {
            ResponseFormat::Text => return Ok(None),
            ResponseFormat::JsonObject => parse(r#"{"type": "object"}"#)?,
            ResponseFormat::JsonSchema(schema) => parse(schema)?,
        };
        let Some(factory) = &self.factory else {
            let reason = "this model's tokenizer does not allow a `response_format`".to_owned();
            return Err(GenerateError::BadRequest(reason));
        };
        let grammar = TopLevelGrammar::from_json_schema(schema);
        let built = catch_unwind(AssertUnwindSafe(|| factory.create_parser(grammar)));
        let parser = match built {
            Ok(parser) => parser.map_err(|error| refusal(&error.to_string()))?,
            Err(_) => return Err(refusal("it is not understood")),
        };
        let mut constraint = Constraint { matcher: Matcher::new(Ok(parser)), allowed: None };
        constraint.compute()?;
        Ok(Some(constraint))
    }
}

impl Constraint {
    /// Computes what may come next, if it is not known yet: some microseconds to some milliseconds.
    ///
    /// # Errors
    /// [`GenerateError::BadRequest`] if the schema takes too much work.
    pub(crate) fn compute(&mut self) -> Result<&TokenSet, GenerateError> {
        let allowed = match self.allowed.take() {
            Some(allowed) => allowed,
            None => match self.matcher.compute_mask_or_eos() {
                Ok(mask) => TokenSet::new(mask.as_slice().to_vec()),
                Err(error) => return Err(self.failure(&error.to_string())),
            },
        };
        Ok(self.allowed.insert(allowed))
    }

    /// Goes on to the state after `token`.
    ///
    /// # Errors
    /// [`GenerateError::BadRequest`] if the token is not allowed or takes too much work.
    pub(crate) fn accept(&mut self, token: u32) -> Result<(), GenerateError> {
        self.allowed = None;
        let accepted = self.matcher.consume_token(token);
        accepted.map_err(|error| self.failure(&error.to_string()))
    }

    fn failure(&self, error: &str) -> GenerateError {
        match self.matcher.stop_reason() {
            StopReason::LexerTooComplex | StopReason::ParserTooComplex => {
                refusal("it takes too much work")
            }
            _ => refusal(error),
        }
    }
}

fn factory(vocabulary: &Vocabulary, ends: &[u32]) -> Option<ParserFactory> {
    if !vocabulary.is_exact() {
        return None;
    }
    let count = u32::try_from(vocabulary.len()).ok()?;
    let ends: Vec<u32> = ends.iter().copied().filter(|token| *token < count).collect();
    let info = TokRxInfo::new(count, *ends.first()?);
    let word = |token: u32| match vocabulary.is_special(token) {
        true => [&[TokTrie::SPECIAL_TOKEN_MARKER], vocabulary.bytes(token)].concat(),
        false => vocabulary.bytes(token).to_vec(),
    };
    let words: Vec<Vec<u8>> = (0..count).map(word).collect();
    let trie = TokTrie::from(&info, &words).with_eos_tokens(&ends);
    let environment: TokEnv = Arc::new(ApproximateTokEnv::new(trie));
    let mut factory =
        ParserFactory::new(&environment, InferenceCapabilities::default(), &[]).ok()?;
    factory.quiet();
    *factory.limits_mut() = ParserLimits {
        max_items_in_row: 2_000,
        initial_lexer_fuel: 250_000,
        step_lexer_fuel: 30_000,
        step_max_items: 50_000,
        // Some tens of megabytes.
        max_lexer_states: 20_000,
        max_grammar_size: 100_000,
        // Would run the largest expressions of a schema over the whole vocabulary.
        precompute_large_lexemes: false,
        verbose_errors: false,
    };
    Some(factory)
}

fn parse(schema: &str) -> Result<Value, GenerateError> {
    let mut schema = match serde_json::from_str(schema) {
        Ok(Value::Object(schema)) => schema,
        Ok(Value::Bool(true)) => serde_json::Map::new(),
        Ok(_) => return Err(refusal("it is not an object")),
        Err(error) => return Err(refusal(&error.to_string())),
    };
    if schema.contains_key(OPTIONS) {
        return Err(refusal(&format!("`{OPTIONS}` is not part of JSON Schema")));
    }
    let mut found = Expressions { patterns: 0, joined: Expressions::extends(&schema) };
    schema.iter().for_each(|(key, value)| found.count(key, value));
    if found.joined && found.patterns > MOST_INTERSECTED {
        let reason = "more than two patterns beside `allOf` or extended references";
        return Err(refusal(reason));
    }
    schema.insert(OPTIONS.to_owned(), json!({ "whitespace_pattern": WHITE_SPACE }));
    Ok(Value::Object(schema))
}

/// What of a schema may ask for intersections of regular expressions.
struct Expressions {
    patterns: usize,
    /// Whether anything makes several of them hold at once.
    joined: bool,
}

impl Expressions {
    /// Nesting is bounded by the parser of JSON.
    fn count(&mut self, key: &str, value: &Value) {
        match key {
            "pattern" => self.patterns += 1,
            "allOf" => self.joined = true,
            "patternProperties" => {
                self.patterns += value.as_object().map_or(0, serde_json::Map::len);
                self.joined = true;
            }
            _ => {}
        }
        match value {
            Value::Object(fields) => {
                self.joined |= Self::extends(fields);
                fields.iter().for_each(|(key, value)| self.count(key, value));
            }
            Value::Array(items) => items.iter().for_each(|item| self.count("", item)),
            _ => {}
        }
    }

    /// A reference with something beside it is both at once.
    fn extends(fields: &serde_json::Map<String, Value>) -> bool {
        fields.contains_key("$ref") && fields.contains_key("pattern")
    }
}

fn refusal(reason: &str) -> GenerateError {
    let line = reason.lines().next().unwrap_or_default();
    let end = line.floor_char_boundary(300);
    GenerateError::BadRequest(format!("the JSON schema cannot be followed: {}", &line[..end]))
}

#[cfg(test)]
#[path = "format_tests.rs"]
mod tests;
