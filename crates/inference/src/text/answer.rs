//! From tokens to the text that a reader may see: whole characters only, and nothing of a stop
//! string. It holds no more than what a later token could still change.

use super::codec::Codec;
use crate::request::GenerateError;

/// A character has at most four bytes, hence at most four byte tokens; whatever is still broken
/// after this many tokens stays broken.
const PENDING_LIMIT: usize = 8;
/// Tokens without text that are kept together; bounds the work per token.
const SILENT_LIMIT: usize = 64;

/// The text of one answer as it grows.
pub(crate) struct Answer {
    /// Tokens whose text may still change, after those that give them context.
    window: Vec<u32>,
    /// How many of `window` are context: their text was taken already.
    context: usize,
    /// Text taken from tokens but held back: the beginning of a possible stop string.
    held: String,
    stops: Vec<String>,
    unreported: Vec<u32>,
}

/// Text and tokens to report.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) text: String,
    pub(crate) token_ids: Vec<u32>,
    /// A stop string appeared: nothing may follow.
    pub(crate) stopped: bool,
}

impl Answer {
    pub(crate) fn new(stops: Vec<String>) -> Self {
        Self { window: Vec::new(), context: 0, held: String::new(), stops, unreported: Vec::new() }
    }

    /// Adds a token of the answer. Its id is reported with the next text, or at the end.
    pub(crate) fn push(&mut self, token: u32, codec: &Codec) -> Result<Progress, GenerateError> {
        self.unreported.push(token);
        self.window.push(token);
        let fresh = self.fresh_text(codec, false)?;
        Ok(self.release(&fresh))
    }

    /// Counts a token that has no text, such as the end of the turn.
    pub(crate) fn push_silent(&mut self, token: u32) {
        self.unreported.push(token);
    }

    /// Counts all tokens so far as reported, without the text that is held back.
    pub(crate) fn mark_reported(&mut self) {
        self.unreported.clear();
    }

    /// Everything left, broken characters included; a last stop string is still cut off.
    pub(crate) fn finish(&mut self, codec: &Codec) -> Result<Progress, GenerateError> {
        let fresh = self.fresh_text(codec, true)?;
        let mut progress = self.release(&fresh);
        if !progress.stopped {
            progress.text.push_str(&std::mem::take(&mut self.held));
        }
        progress.token_ids.append(&mut self.unreported);
        Ok(progress)
    }

    /// The text that the tokens after the context add, once it ends with a whole character.
    fn fresh_text(&mut self, codec: &Codec, last: bool) -> Result<String, GenerateError> {
        let before = codec.decode(&self.window[..self.context])?;
        let after = codec.decode(&self.window)?;
        let pending = self.window.len() - self.context;
        let overdue = last || pending >= PENDING_LIMIT;
        if after.ends_with(char::REPLACEMENT_CHARACTER) && !overdue {
            return Ok(String::new());
        }
        // Decoders that treat the first token differently only agree with themselves given context.
        let fresh = match after.strip_prefix(&before) {
            Some(fresh) => fresh.to_owned(),
            None if overdue => codec.decode(&self.window[self.context..])?,
            None => String::new(),
        };
        if !fresh.is_empty() || pending >= SILENT_LIMIT {
            self.window.drain(..self.context);
            self.context = self.window.len();
        }
        Ok(fresh)
    }

    /// Passes `fresh` on, short of a stop string or what may become one.
    fn release(&mut self, fresh: &str) -> Progress {
        self.held.push_str(fresh);
        let found = self.stops.iter().filter_map(|stop| self.held.find(stop.as_str())).min();
        let (end, stopped) = match found {
            Some(start) => (start, true),
            None => (self.held.len() - self.possible_stop(), false),
        };
        let text: String = self.held.drain(..end).collect();
        if stopped {
            self.held.clear();
        }
        let token_ids =
            if text.is_empty() { Vec::new() } else { std::mem::take(&mut self.unreported) };
        Progress { text, token_ids, stopped }
    }

    /// Length of the longest end of the held text that begins a stop string.
    fn possible_stop(&self) -> usize {
        let longest = |stop: &String| {
            let lengths = stop.char_indices().map(|(length, _)| length).rev();
            lengths
                .take_while(|length| *length > 0)
                .find(|length| self.held.ends_with(&stop[..*length]))
        };
        self.stops.iter().filter_map(longest).max().unwrap_or(0)
    }
}
