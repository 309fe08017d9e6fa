//! The codec, the growing answer and stop strings, with the tokenizer of the parity fixture.

use std::path::Path;

use serde::Deserialize;

use super::answer::Answer;
use super::codec::Codec;
use crate::load::files::ModelFiles;
use crate::request::{ChatMessage, GenerateError, Prompt};

#[derive(Deserialize)]
struct Expected {
    messages: Vec<ChatMessage>,
    prompt_tokens: Vec<u32>,
}

fn directory() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/llama3")
}

fn codec() -> Codec {
    Codec::load(&mut ModelFiles::open(&directory()).unwrap()).unwrap()
}

/// What a reader sees after each token and at the end.
fn read(codec: &Codec, tokens: &[u32], stops: &[&str]) -> (Vec<String>, bool) {
    let mut answer = Answer::new(stops.iter().map(|stop| (*stop).to_owned()).collect());
    let (mut texts, mut ids) = (Vec::new(), Vec::new());
    for token in tokens {
        let progress = answer.push(*token, codec).unwrap();
        texts.push(progress.text);
        ids.extend(progress.token_ids);
        if progress.stopped {
            return (texts, true);
        }
    }
    let last = answer.finish(codec).unwrap();
    texts.push(last.text);
    ids.extend(last.token_ids);
    assert_eq!(ids, tokens, "every token is reported once");
    (texts, last.stopped)
}

#[test]
fn the_prompt_has_the_tokens_that_transformers_makes() {
    let content = std::fs::read(directory().join("expected.json")).unwrap();
    let expected: Expected = serde_json::from_slice(&content).unwrap();
    assert_eq!(
        codec().prompt(&Prompt::Chat(expected.messages), 128).unwrap(),
        expected.prompt_tokens
    );
}

#[test]
fn a_role_that_the_template_does_not_know_is_a_bad_request_in_its_words() {
    let message = ChatMessage { role: "oracle".to_owned(), content: "hi".to_owned() };
    let refused = codec().prompt(&Prompt::Chat(vec![message]), 128).unwrap_err();
    assert!(
        matches!(refused, GenerateError::BadRequest(text) if text.contains("system, user and assistant"))
    );
}

#[test]
fn a_prompt_beyond_the_context_is_refused_by_length_and_by_count() {
    let codec = codec();
    let ask = |content: String| {
        codec.prompt(&Prompt::Chat(vec![ChatMessage { role: "user".to_owned(), content }]), 128)
    };
    assert!(ask("a".repeat(120)).is_ok());
    for length in [128, 20_000, 50_000_000] {
        let refused = ask("a".repeat(length)).unwrap_err();
        assert!(matches!(refused, GenerateError::BadRequest(_)), "{length}: {refused:?}");
    }
}

#[test]
fn text_appears_in_whole_characters_and_joins_to_the_whole() {
    let codec = codec();
    let text = "the cactus 🌵 grüßt the 太陽 é!";
    let tokens = codec.tokenise(text, false).unwrap();
    let (texts, stopped) = read(&codec, &tokens, &[]);
    assert!(!stopped);
    assert_eq!(texts.concat(), text);
    assert!(texts.iter().all(|text| !text.contains('\u{fffd}')), "{texts:?}");
    let widest = texts.iter().position(|text| text.contains('🌵')).unwrap();
    assert_eq!(texts[widest - 1], "", "the bytes before the last are held back");
}

#[test]
fn a_character_that_never_completes_is_shown_as_broken_and_does_not_block_what_follows() {
    let codec = codec();
    let cactus = codec.tokenise("🌵", false).unwrap();
    let mut tokens = vec![cactus[0]; 12];
    tokens.extend(codec.tokenise(" sand", false).unwrap());
    let (texts, _) = read(&codec, &tokens, &[]);
    let text = texts.concat();
    assert!(text.starts_with('\u{fffd}') && text.ends_with(" sand"), "{text:?}");
    assert!(!texts[..10].concat().is_empty(), "a bounded number of tokens is held back");
    assert_eq!(read(&codec, &cactus[..2], &[]).0.concat().trim_matches('\u{fffd}'), "");
}

#[test]
fn a_stop_string_over_several_tokens_is_cut_off_and_never_shown_in_part() {
    let codec = codec();
    let tokens = codec.tokenise("the sun STOP and the sand", false).unwrap();
    let (texts, stopped) = read(&codec, &tokens, &["STOP"]);
    assert!(stopped);
    assert_eq!(texts.concat(), "the sun ");
    assert!(texts.iter().all(|text| !text.contains('S')), "{texts:?}");
}

#[test]
fn the_earliest_of_several_stop_strings_wins_and_a_false_start_is_shown_later() {
    let codec = codec();
    let tokens = codec.tokenise("STO STOX, ß STOP ZZ", false).unwrap();
    assert_eq!(read(&codec, &tokens, &["ZZ", "STOP", "ß ST"]).0.concat(), "STO STOX, ");
    let (texts, stopped) = read(&codec, &tokens, &["ZZZ", "P ZZ!"]);
    assert!(!stopped);
    assert_eq!(texts.concat(), "STO STOX, ß STOP ZZ");
    assert_eq!(
        texts.last().unwrap(),
        "P ZZ",
        "what could have become a stop string came at the end"
    );
}
