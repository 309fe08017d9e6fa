//! The bytes that each token stands for, read off a tokenizer once. It never tokenises.

use std::collections::HashMap;

use tokenizers::{DecoderWrapper, Tokenizer};

/// How a tokenizer writes bytes as characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spelling {
    /// One character for each byte, as GPT-2 began it.
    ByteLevel,
    /// Characters as they are, `▁` for a space and `<0x0A>` for a single byte.
    ByteFallback,
    /// Characters as they are.
    Plain,
}

/// The bytes of every token.
pub(crate) struct Vocabulary {
    bytes: Vec<Vec<u8>>,
    special: Vec<bool>,
    spelling: Spelling,
}

impl Vocabulary {
    pub(crate) fn new(tokenizer: &Tokenizer) -> Self {
        let spelling = tokenizer.get_decoder().map_or(Spelling::Plain, spelling);
        let characters = byte_characters();
        let added = tokenizer.get_added_tokens_decoder();
        let highest = tokenizer.get_vocab(true).into_values().max();
        let count = highest.and_then(|id| usize::try_from(id).ok()).map_or(0, |id| id + 1);
        let (mut bytes, mut special) = (vec![Vec::new(); count], vec![false; count]);
        for (text, token) in tokenizer.get_vocab(true) {
            let Ok(index) = usize::try_from(token) else { continue };
            let added = added.get(&token);
            special[index] = added.is_some_and(|added| added.special);
            bytes[index] = match spelling {
                _ if special[index] => text.into_bytes(),
                Spelling::ByteLevel => spelled(&text, &characters),
                Spelling::ByteFallback if added.is_none() => fallback(&text),
                Spelling::ByteFallback | Spelling::Plain => text.into_bytes(),
            };
        }
        Self { bytes, special, spelling }
    }

    /// One more than the highest token id.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether the bytes of a text are the bytes of its tokens.
    pub(crate) fn is_exact(&self) -> bool {
        self.spelling != Spelling::Plain
    }

    /// What a token stands for; of a special token its name, and nothing of an unknown one.
    pub(crate) fn bytes(&self, token: u32) -> &[u8] {
        let index = usize::try_from(token).unwrap_or(usize::MAX);
        self.bytes.get(index).map_or(&[], Vec::as_slice)
    }

    /// Whether a token has a meaning and no text.
    pub(crate) fn is_special(&self, token: u32) -> bool {
        let index = usize::try_from(token).unwrap_or(usize::MAX);
        self.special.get(index).copied().unwrap_or(false)
    }

    /// The text of tokens, special ones left out, if joining their bytes is all there is to it.
    pub(crate) fn join(&self, tokens: &[u32]) -> Option<String> {
        if self.spelling != Spelling::ByteLevel {
            return None;
        }
        let mut joined = Vec::new();
        for token in tokens.iter().filter(|token| !self.is_special(**token)) {
            joined.extend_from_slice(self.bytes(*token));
        }
        Some(
            String::from_utf8(joined)
                .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
        )
    }
}

fn spelling(decoder: &DecoderWrapper) -> Spelling {
    match decoder {
        DecoderWrapper::ByteLevel(_) => Spelling::ByteLevel,
        DecoderWrapper::ByteFallback(_) | DecoderWrapper::Metaspace(_) => Spelling::ByteFallback,
        DecoderWrapper::Sequence(sequence) => {
            let parts = sequence.get_decoders().iter().map(spelling);
            // A sequence around the byte level would do more than join bytes.
            let special = parts.into_iter().find(|part| *part != Spelling::Plain);
            special.filter(|part| *part == Spelling::ByteFallback).unwrap_or(Spelling::Plain)
        }
        _ => Spelling::Plain,
    }
}

/// GPT-2's character for each byte: printable ones stand for themselves, the others for the
/// characters from U+0100 on.
fn byte_characters() -> HashMap<char, u8> {
    let printable = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let own = (0..=u8::MAX).filter(|byte| printable(*byte)).map(|byte| (char::from(byte), byte));
    let others = (0..=u8::MAX).filter(|byte| !printable(*byte));
    ('\u{100}'..).zip(others).chain(own).collect()
}

/// The bytes behind the characters; text that is not spelled so stands for itself.
fn spelled(text: &str, characters: &HashMap<char, u8>) -> Vec<u8> {
    let bytes: Option<Vec<u8>> =
        text.chars().map(|character| characters.get(&character).copied()).collect();
    bytes.unwrap_or_else(|| text.as_bytes().to_vec())
}

fn fallback(text: &str) -> Vec<u8> {
    let hexadecimal = text.strip_prefix("<0x").and_then(|rest| rest.strip_suffix('>'));
    let byte = hexadecimal.filter(|digits| digits.len() == 2);
    match byte.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
        Some(byte) => vec![byte],
        None => text.replace('▁', " ").into_bytes(),
    }
}
