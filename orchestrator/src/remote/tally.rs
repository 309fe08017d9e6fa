//! What an engine delivered, counted by us, and held against what it says at the end. Pure. It
//! never lets more be billed than was delivered and counted.

use super::chunk::Piece;
use cactus_inference::{FinishReason, GenerateEvent};
use cactus_protocol::UNKNOWN_TOKEN;

/// The most text per token, in bytes, that the routing server takes.
const BYTES_PER_TOKEN: usize = 4096;
/// The longest answer that the routing server takes, in bytes.
const MAX_TEXT_BYTES: usize = 16 << 20;
/// Tokens without any text that the routing server pays for when their ids are not told.
const MAX_SILENT_TOKENS: usize = 16;

/// The engine contradicts itself or the request; nothing is signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Contradiction {
    #[error("more than the {0} tokens that were asked for came")]
    TooManyTokens(u32),
    #[error("more text came than the tokens that were asked for can hold")]
    TooMuchText,
    #[error("{logprobs} log probabilities came for {tokens} tokens")]
    Logprobs { logprobs: usize, tokens: usize },
    #[error("its usage says {told} output tokens, but {counted} were delivered")]
    Usage { told: u32, counted: u32 },
    #[error(
        "it stopped for length after {output} of {limit} tokens with a prompt of {prompt} and a \
         context of {context}; if its context is shorter, say so with --engine-context"
    )]
    EarlyLength { output: u32, limit: u32, prompt: u32, context: u32 },
    #[error("it ended by `{0}`")]
    Reason(String),
    #[error("its answer has no end")]
    NoEnd,
}

/// What bounds an answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    pub(super) max_tokens: u32,
    pub(super) context_length: u32,
    /// Log probabilities were asked for by the task, with so many alternatives.
    pub(super) logprobs: Option<u8>,
    /// Every token's id is promised, so a token without one is not billed.
    pub(super) ids_promised: bool,
}

/// The count so far.
#[derive(Debug)]
pub(super) struct Tally {
    terms: Terms,
    counted: u32,
    text_bytes: usize,
    prompt_tokens: Option<u32>,
    told: Option<u32>,
    finish: Option<String>,
}

/// The account of a whole answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Account {
    /// Tokens that only the usage told of.
    pub(super) silent_tokens: Vec<u32>,
    pub(super) reason: FinishReason,
    pub(super) prompt_tokens: u32,
    pub(super) output_tokens: u32,
}

impl Tally {
    pub(super) fn new(terms: Terms) -> Self {
        Self { terms, counted: 0, text_bytes: 0, prompt_tokens: None, told: None, finish: None }
    }

    /// The prompt's length, at least: one token when the engine has not told yet, so that an
    /// answer that is cut now is not billed for more.
    pub(super) fn prompt_tokens(&self) -> u32 {
        let room = self.terms.context_length.saturating_sub(self.counted).max(1);
        self.prompt_tokens.unwrap_or(1).clamp(1, room)
    }

    /// Whether the engine said why it ended.
    pub(super) fn has_finished(&self) -> bool {
        self.finish.is_some()
    }

    /// Counts a piece; what is to be delivered of it.
    pub(super) fn take(&mut self, piece: Piece) -> Result<Option<GenerateEvent>, Contradiction> {
        self.prompt_tokens = piece.prompt_tokens.or(self.prompt_tokens);
        let told_before = self.told.unwrap_or(0);
        self.told = piece.completion_tokens.or(self.told);
        if let Some(finish) = piece.finish {
            self.finish.get_or_insert(finish);
        }
        let token_ids = match (piece.token_ids, &piece.logprobs) {
            (Some(ids), _) => ids,
            _ if self.terms.ids_promised => Vec::new(),
            (None, Some(logprobs)) => vec![UNKNOWN_TOKEN; logprobs.len()],
            (None, None) if self.terms.logprobs.is_some() || piece.text.is_empty() => Vec::new(),
            // A chunk is one token, unless a running usage says how many.
            (None, None) => {
                let running =
                    piece.completion_tokens.map_or(1, |told| told - told_before.min(told));
                vec![UNKNOWN_TOKEN; usize::try_from(running).unwrap_or(0).min(64)]
            }
        };
        let logprobs = match (self.terms.logprobs, piece.logprobs) {
            (None, _) => Vec::new(),
            (Some(most), found) => {
                let mut found = found.unwrap_or_default();
                found.iter_mut().for_each(|token| token.top.truncate(usize::from(most)));
                found
            }
        };
        if self.terms.logprobs.is_some() && logprobs.len() != token_ids.len() {
            let (logprobs, tokens) = (logprobs.len(), token_ids.len());
            return Err(Contradiction::Logprobs { logprobs, tokens });
        }
        self.add(token_ids.len(), piece.text.len())?;
        let nothing = piece.text.is_empty() && token_ids.is_empty();
        let text = piece.text;
        Ok((!nothing).then_some(GenerateEvent::Delta { text, token_ids, logprobs }))
    }

    fn add(&mut self, tokens: usize, bytes: usize) -> Result<(), Contradiction> {
        let limit = self.terms.max_tokens;
        let counted = u32::try_from(tokens).ok().and_then(|more| self.counted.checked_add(more));
        self.counted =
            counted.filter(|all| *all <= limit).ok_or(Contradiction::TooManyTokens(limit))?;
        self.text_bytes = self.text_bytes.saturating_add(bytes);
        let room = usize::try_from(limit).unwrap_or(usize::MAX).saturating_mul(BYTES_PER_TOKEN);
        if self.text_bytes > room.min(MAX_TEXT_BYTES) {
            return Err(Contradiction::TooMuchText);
        }
        Ok(())
    }

    /// The account, once the engine has ended.
    pub(super) fn close(&mut self) -> Result<Account, Contradiction> {
        let finish = self.finish.take().ok_or(Contradiction::NoEnd)?;
        let silent = self.silent_tokens()?;
        self.counted += silent;
        let reason = match finish.as_str() {
            "length" => FinishReason::Length,
            "abort" | "error" => return Err(Contradiction::Reason(finish)),
            // `tool_calls`, `content_filter` and whatever else: the model ended by itself.
            _ => FinishReason::Stop,
        };
        let (prompt, output) = (self.prompt_tokens(), self.counted);
        let (limit, context) = (self.terms.max_tokens, self.terms.context_length);
        let reached = output == limit || prompt.saturating_add(output) == context;
        if reason == FinishReason::Length && !reached {
            return Err(Contradiction::EarlyLength { output, limit, prompt, context });
        }
        let silent_tokens = vec![UNKNOWN_TOKEN; usize::try_from(silent).unwrap_or(0)];
        Ok(Account { silent_tokens, reason, prompt_tokens: prompt, output_tokens: output })
    }

    /// How many tokens the usage tells of beyond those that were counted, as far as they can be
    /// billed: none where ids or log probabilities are owed with each.
    fn silent_tokens(&self) -> Result<u32, Contradiction> {
        let Some(told) = self.told else { return Ok(0) };
        let counted = self.counted;
        let more = told.checked_sub(counted).ok_or(Contradiction::Usage { told, counted })?;
        if self.terms.ids_promised || self.terms.logprobs.is_some() {
            return Ok(0);
        }
        let by_text = u32::try_from(self.text_bytes + MAX_SILENT_TOKENS).unwrap_or(u32::MAX);
        let room = self.terms.max_tokens.min(by_text).saturating_sub(counted);
        Ok(more.min(room))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cactus_inference::{TokenLogprob, TokenLogprobs};
    use proptest::prelude::*;

    const TERMS: Terms =
        Terms { max_tokens: 10, context_length: 100, logprobs: None, ids_promised: false };

    fn text(text: &str) -> Piece {
        Piece { text: text.into(), ..Piece::default() }
    }

    fn end(finish: &str, prompt: u32, output: u32) -> Piece {
        Piece {
            finish: Some(finish.into()),
            prompt_tokens: Some(prompt),
            completion_tokens: Some(output),
            ..Piece::default()
        }
    }

    fn account(terms: Terms, pieces: Vec<Piece>) -> Result<Account, Contradiction> {
        let mut tally = Tally::new(terms);
        for piece in pieces {
            tally.take(piece)?;
        }
        tally.close()
    }

    #[test]
    fn usage_settles_what_chunks_do_not_tell() {
        let account = account(TERMS, vec![text("ab"), text("c"), end("stop", 7, 5)]).unwrap();
        assert_eq!((account.prompt_tokens, account.output_tokens), (7, 5));
        assert_eq!(account.silent_tokens, [UNKNOWN_TOKEN; 3]);
    }

    #[test]
    fn an_engine_that_contradicts_itself_gets_nothing_signed() {
        let few = account(TERMS, vec![text("a"), text("b"), end("stop", 7, 1)]);
        assert_eq!(few, Err(Contradiction::Usage { told: 1, counted: 2 }));
        let many = account(TERMS, vec![text("a"); 11]);
        assert_eq!(many, Err(Contradiction::TooManyTokens(10)));
        let long = account(TERMS, vec![text(&"x".repeat(10 * BYTES_PER_TOKEN + 1))]);
        assert_eq!(long, Err(Contradiction::TooMuchText));
        assert_eq!(account(TERMS, vec![text("a")]), Err(Contradiction::NoEnd));
        let early = account(TERMS, vec![text("a"), end("length", 7, 1)]);
        assert!(matches!(early, Err(Contradiction::EarlyLength { .. })));
        let aborted = account(TERMS, vec![text("a"), end("abort", 7, 1)]);
        assert!(matches!(aborted, Err(Contradiction::Reason(_))));
    }

    #[test]
    fn a_boastful_usage_bills_no_more_than_limit_and_text_allow() {
        let boast = account(TERMS, vec![text("a"), end("stop", 7, 1_000_000)]).unwrap();
        assert_eq!(boast.output_tokens, 10);
        let terms = Terms { max_tokens: 1000, ..TERMS };
        let boast = account(terms, vec![text("abc"), end("stop", u32::MAX, 900)]).unwrap();
        assert_eq!((boast.output_tokens, boast.prompt_tokens), (19, 81));
        let promised = Terms { ids_promised: true, ..TERMS };
        let mut piece = text("a");
        piece.token_ids = Some(vec![7]);
        assert_eq!(account(promised, vec![piece, end("stop", 7, 9)]).unwrap().output_tokens, 1);
    }

    #[test]
    fn length_is_told_when_the_limit_or_the_context_is_reached() {
        let at_limit = account(TERMS, [vec![text("a"); 10], vec![end("length", 7, 10)]].concat());
        assert_eq!(at_limit.unwrap().reason, FinishReason::Length);
        let at_context = account(TERMS, vec![text("a"), text("b"), end("length", 98, 2)]);
        assert_eq!(at_context.unwrap().reason, FinishReason::Length);
    }

    #[test]
    fn log_probabilities_that_were_asked_for_are_owed_with_each_token() {
        let asked = Terms { logprobs: Some(0), ..TERMS };
        let chosen = TokenLogprob { token_id: 1, bytes: b"a".to_vec(), logprob: -1.0 };
        let with = TokenLogprobs { top: vec![chosen.clone()], chosen };
        let mut piece = text("a");
        piece.logprobs = Some(vec![with]);
        let mut tally = Tally::new(asked);
        let Ok(Some(GenerateEvent::Delta { logprobs, token_ids, .. })) = tally.take(piece) else {
            panic!("a delta");
        };
        assert_eq!((logprobs.len(), logprobs[0].top.len(), token_ids.len()), (1, 0, 1));
        let mut bare = text("b");
        bare.token_ids = Some(vec![3]);
        assert!(matches!(tally.take(bare), Err(Contradiction::Logprobs { .. })));
    }

    impl Clone for Piece {
        fn clone(&self) -> Self {
            Self {
                text: self.text.clone(),
                token_ids: self.token_ids.clone(),
                logprobs: self.logprobs.clone(),
                finish: self.finish.clone(),
                ..*self
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_billed_is_what_was_delivered_and_within_every_bound(
            pieces in prop::collection::vec(
                ("[a-z]{0,5}", prop::option::of(prop::collection::vec(0u32..9, 0..4)),
                 prop::option::of(0u32..40), prop::option::of(0u32..200)),
                0..12,
            ),
            promised in any::<bool>(),
        ) {
            let terms = Terms { ids_promised: promised, ..TERMS };
            let mut tally = Tally::new(terms);
            let mut delivered = 0;
            for (text, token_ids, completion_tokens, prompt_tokens) in pieces {
                let piece =
                    Piece { text, token_ids, completion_tokens, prompt_tokens, ..Piece::default() };
                match tally.take(piece) {
                    Ok(Some(GenerateEvent::Delta { token_ids, .. })) => {
                        prop_assert!(!promised || !token_ids.contains(&UNKNOWN_TOKEN));
                        delivered += token_ids.len();
                    }
                    Ok(_) => {}
                    Err(_) => return Ok(()),
                }
            }
            tally.take(end("stop", 3, 200)).unwrap();
            let account = tally.close().unwrap();
            delivered += account.silent_tokens.len();
            prop_assert_eq!(u32::try_from(delivered), Ok(account.output_tokens));
            prop_assert!(account.output_tokens <= terms.max_tokens);
            prop_assert!(account.prompt_tokens >= 1);
            prop_assert!(account.prompt_tokens + account.output_tokens <= terms.context_length);
        }
    }
}
