//! From text to vectors: tokenizer, BERT, pooling, normalisation. It holds no queue.

use crate::LoadOptions;
use crate::candle_engine::bert::{Bert, spans};
use crate::candle_engine::thread_pool;
use crate::card::ModelCard;
use crate::load::error::LoadError;
use crate::load::files::ModelFiles;

use super::EmbedError;
use super::pooling::Pooling;
use super::tokens::Tokens;

/// Everything between a text and its vector.
pub(super) struct Encoder {
    card: ModelCard,
    tokens: Tokens,
    bert: Bert,
    pooling: Pooling,
    threads: rayon::ThreadPool,
}

impl Encoder {
    pub(super) fn load(options: &LoadOptions) -> Result<Self, LoadError> {
        let files = &mut ModelFiles::open(&options.dir)?;
        files.serve_as(options.id.as_deref())?;
        let threads = thread_pool(options.threads)?;
        let bert = threads.install(|| Bert::load(files))?;
        let tokens = Tokens::load(files, bert.config())?;
        let pooling = Pooling::load(files, bert.config().hidden)?;
        let card = ModelCard {
            id: files.model_id()?,
            revision: files.revision(),
            dtype: bert.stored,
            context_length: u32::try_from(tokens.limit()).unwrap_or(u32::MAX),
            parameters: bert.parameters,
            memory: bert.memory,
        };
        Ok(Self { card, tokens, bert, pooling, threads })
    }

    pub(super) fn card(&self) -> &ModelCard {
        &self.card
    }

    pub(super) fn dimensions(&self) -> usize {
        self.bert.config().hidden
    }

    /// The tokens of a text, cut off at the context; at least one.
    pub(super) fn tokenise(&self, text: &str) -> Result<Vec<u32>, EmbedError> {
        self.tokens.encode(text)
    }

    /// One vector per text; the texts come from [`Self::tokenise`].
    pub(super) fn encode(&self, texts: &[Vec<u32>]) -> Result<Vec<Vec<f32>>, EmbedError> {
        if texts.is_empty() {
            return Ok(Vec::new());
        }
        let states = self.threads.install(|| self.bert.forward(texts));
        let states = states.map_err(|error| EmbedError::Internal(error.to_string()))?;
        let width = self.dimensions();
        let rows = |span: std::ops::Range<usize>| &states[span.start * width..span.end * width];
        let pool = |span| self.pooling.pool(rows(span), width);
        Ok(spans(texts).into_iter().map(pool).collect())
    }
}
