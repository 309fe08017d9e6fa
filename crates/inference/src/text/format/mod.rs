//! Answers in JSON: which tokens may come next, so that the whole is what a schema accepts. Schemas
//! come from strangers: what cannot be followed in bounded time and memory is refused. It never
//! chooses a token.

mod constraint;
mod schema;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use llguidance::api::{ParserLimits, TopLevelGrammar};
use llguidance::toktrie::{ApproximateTokEnv, InferenceCapabilities, TokEnv, TokRxInfo, TokTrie};
use llguidance::{Matcher, ParserFactory};
use serde_json::Value;

pub(crate) use self::constraint::Constraint;
use self::constraint::{Outcome, advance};
use super::vocabulary::Vocabulary;
use super::workers::Workers;
use crate::request::{GenerateError, ResponseFormat};

/// Threads that compile and follow schemas: what a hostile one can take of the machine.
const THREADS: usize = 4;

/// Makes constraints for the tokens of one model.
pub(crate) struct Formats {
    /// `None` if nothing is known of what the tokens stand for.
    factory: Option<Arc<ParserFactory>>,
    workers: Arc<Workers>,
}

impl Formats {
    /// `ends` are the tokens that end a turn.
    pub(crate) fn new(vocabulary: &Vocabulary, ends: &[u32]) -> Self {
        // The library asserts what it takes for granted about vocabularies.
        let built = catch_unwind(AssertUnwindSafe(|| factory(vocabulary, ends)));
        let workers = Arc::new(Workers::new(THREADS));
        Self { factory: built.ok().flatten().map(Arc::new), workers }
    }

    /// Whether constraints can be made for this model.
    pub(crate) fn are_known(&self) -> bool {
        self.factory.is_some()
    }

    /// The constraint of a format on what follows the tokens `after`; plain text has none. It is
    /// compiled in the background, where a schema that cannot be followed is found out.
    ///
    /// # Errors
    /// [`GenerateError::BadRequest`] saying what of a schema is too much.
    pub(crate) fn constraint(
        &self,
        format: &ResponseFormat,
        after: Vec<u32>,
    ) -> Result<Option<Constraint>, GenerateError> {
        let schema = match format {
            ResponseFormat::Text => return Ok(None),
            ResponseFormat::JsonObject => schema::parse(r#"{"type": "object"}"#)?,
            ResponseFormat::JsonSchema(schema) => schema::parse(schema)?,
        };
        let Some(factory) = self.factory.clone() else {
            let reason = "this model's tokenizer does not allow a `response_format`".to_owned();
            return Err(GenerateError::BadRequest(reason));
        };
        Ok(Some(Constraint::begin(&self.workers, move || compile(&factory, schema, &after))))
    }
}

fn compile(factory: &ParserFactory, schema: Value, after: &[u32]) -> Outcome {
    let parser = factory.create_parser(TopLevelGrammar::from_json_schema(schema));
    let parser = parser.map_err(|error| refusal(&error.to_string()))?;
    advance(Box::new(Matcher::new(Ok(parser)).into_cancellable()), after)
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

fn refusal(reason: &str) -> GenerateError {
    let line = reason.lines().next().unwrap_or_default();
    let end = line.floor_char_boundary(300);
    GenerateError::BadRequest(format!("the JSON schema cannot be followed: {}", &line[..end]))
}

#[cfg(test)]
mod tests;
