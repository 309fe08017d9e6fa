//! Hostile GGUF files: an error that says what is wrong, never a panic, never a huge allocation.

use proptest::prelude::*;

use super::{Gguf, Value};

fn text(text: &str) -> Vec<u8> {
    let mut bytes = u64::try_from(text.len()).unwrap().to_le_bytes().to_vec();
    bytes.extend(text.as_bytes());
    bytes
}

fn header(tensors: u64, keys: u64) -> Vec<u8> {
    [b"GGUF".as_slice(), &3_u32.to_le_bytes(), &tensors.to_le_bytes(), &keys.to_le_bytes()].concat()
}

fn tensor(name: &str, sizes: &[u64], format: u32, offset: u64) -> Vec<u8> {
    let mut bytes = text(name);
    bytes.extend(u32::try_from(sizes.len()).unwrap().to_le_bytes());
    sizes.iter().for_each(|size| bytes.extend(size.to_le_bytes()));
    bytes.extend(format.to_le_bytes());
    bytes.extend(offset.to_le_bytes());
    bytes
}

/// One key of each kind, one list, two tensors.
fn good() -> Vec<u8> {
    let mut bytes = header(2, 4);
    for (key, kind, value) in [
        ("general.architecture", 8_u32, text("llama")),
        ("llama.block_count", 4, 2_u32.to_le_bytes().to_vec()),
        ("llama.rope.freq_base", 6, 5e5_f32.to_le_bytes().to_vec()),
    ] {
        bytes.extend(text(key));
        bytes.extend(kind.to_le_bytes());
        bytes.extend(value);
    }
    bytes.extend(text("tokenizer.ggml.tokens"));
    bytes.extend([9_u32.to_le_bytes(), 8_u32.to_le_bytes()].concat());
    bytes.extend(2_u64.to_le_bytes());
    bytes.extend([text("a"), text("ü")].concat());
    bytes.extend(tensor("token_embd.weight", &[32, 2], 8, 0));
    bytes.extend(tensor("output_norm.weight", &[8], 0, 96));
    bytes.resize(bytes.len().next_multiple_of(32) + 96 + 32, 7);
    bytes
}

fn refused(bytes: Vec<u8>) -> String {
    Gguf::parse(bytes).err().expect("a hostile file was parsed")
}

#[test]
fn an_honest_file_is_read_whole() {
    let gguf = Gguf::parse(good()).unwrap();
    assert_eq!(gguf.architecture(), Some("llama"));
    assert_eq!(gguf.value("llama.block_count"), Some(&Value::Integer(2)));
    assert_eq!(gguf.value("llama.rope.freq_base"), Some(&Value::Float(5e5)));
    let tokens = ["a", "ü"].map(|token| Value::Text(token.to_owned())).to_vec();
    assert_eq!(gguf.value("tokenizer.ggml.tokens"), Some(&Value::List(tokens)));
    let table = gguf.tensor("token_embd.weight").unwrap();
    assert_eq!((table.shape.as_slice(), table.bytes.len()), ([2, 32].as_slice(), 68));
    assert_eq!(gguf.bytes(gguf.tensor("output_norm.weight").unwrap()), [7; 32]);
}

#[test]
fn every_shorter_file_is_refused() {
    let good = good();
    for length in 0..good.len() - 1 {
        refused(good[..length].to_vec());
    }
}

#[test]
fn lying_lengths_are_refused_without_allocating_them() {
    let huge = u64::MAX;
    let long_name = [header(0, 1), huge.to_le_bytes().to_vec()].concat();
    let mut long_list = [header(0, 1), text("k")].concat();
    long_list.extend([9_u32.to_le_bytes(), 10_u32.to_le_bytes()].concat());
    long_list.extend((1_u64 << 40).to_le_bytes());
    let mut nested = [header(0, 1), text("k")].concat();
    nested.extend([9_u32.to_le_bytes(), 9_u32.to_le_bytes()].concat());
    for bytes in
        [header(huge, 0), header(0, huge), header(1 << 40, 0), long_name, long_list, nested]
    {
        refused(bytes);
    }
}

#[test]
fn lying_tensors_are_refused() {
    for (sizes, format, offset) in [
        (vec![u64::MAX, u64::MAX], 0, 0),
        (vec![1 << 32, 1 << 32], 8, 0),
        (vec![33], 8, 0),
        (vec![8], 0, u64::MAX),
        (vec![1 << 20], 0, 0),
        (vec![8], 99, 0),
        (vec![], 0, 0),
        (vec![1; 9], 0, 0),
    ] {
        let mut bytes = [header(1, 0), tensor("x", &sizes, format, offset)].concat();
        bytes.resize(bytes.len().next_multiple_of(32) + 64, 0);
        refused(bytes);
    }
}

#[derive(serde::Deserialize)]
struct SentencePiece {
    tokens: Vec<String>,
    scores: Vec<f32>,
    kinds: Vec<i32>,
    cases: Vec<(String, Vec<u32>)>,
}

fn list(key: &str, kind: u32, values: &[Vec<u8>]) -> Vec<u8> {
    let count = u64::try_from(values.len()).unwrap().to_le_bytes();
    let head = [text(key), 9_u32.to_le_bytes().to_vec(), kind.to_le_bytes().to_vec()].concat();
    [head, count.to_vec(), values.concat()].concat()
}

/// The fixture's vocabulary as GGUF has it; with these keys more.
fn sentencepiece(fixture: &SentencePiece, more: &[Vec<u8>]) -> Gguf {
    let keys = u64::try_from(4 + more.len()).unwrap();
    let mut bytes = header(0, keys);
    bytes.extend(
        [text("tokenizer.ggml.model"), 8_u32.to_le_bytes().to_vec(), text("llama")].concat(),
    );
    let tokens: Vec<_> = fixture.tokens.iter().map(|token| text(token)).collect();
    let scores: Vec<_> = fixture.scores.iter().map(|score| score.to_le_bytes().to_vec()).collect();
    let kinds: Vec<_> = fixture.kinds.iter().map(|kind| kind.to_le_bytes().to_vec()).collect();
    bytes.extend(list("tokenizer.ggml.tokens", 8, &tokens));
    bytes.extend(list("tokenizer.ggml.scores", 6, &scores));
    bytes.extend(list("tokenizer.ggml.token_type", 5, &kinds));
    bytes.extend(more.concat());
    bytes.resize(bytes.len().next_multiple_of(32), 0);
    Gguf::parse(bytes).unwrap()
}

#[test]
fn a_sentencepiece_vocabulary_has_the_tokens_of_sentencepiece_itself() {
    let fixture = include_str!("../../../tests/fixtures/sentencepiece.json");
    let fixture: SentencePiece = serde_json::from_str(fixture).unwrap();
    let gguf = sentencepiece(&fixture, &[]);
    let json = super::as_file(&gguf, "tokenizer.json").unwrap().expect("it can be rebuilt");
    let tokenizer = crate::text::codec::parse_tokenizer(&json).unwrap();
    assert!(fixture.cases.len() > 20);
    for (text, ids) in &fixture.cases {
        let found = tokenizer.encode_fast(text.as_str(), false).unwrap();
        assert_eq!(found.get_ids(), ids, "{text:?}");
        assert_eq!(&tokenizer.decode(ids, true).unwrap(), text);
    }
    let marked = tokenizer.encode_fast("</s>a", false).unwrap();
    assert_eq!(marked.get_ids()[0], 2, "control tokens are found in a text");
    let beginning =
        [text("tokenizer.ggml.bos_token_id"), [4_u32, 1].map(u32::to_le_bytes).concat()];
    let gguf = sentencepiece(&fixture, &[beginning.concat()]);
    let json = super::as_file(&gguf, "tokenizer.json").unwrap().unwrap();
    let tokenizer = crate::text::codec::parse_tokenizer(&json).unwrap();
    assert_eq!(tokenizer.encode_fast("", true).unwrap().get_ids(), [1]);
}

#[test]
fn a_sentencepiece_vocabulary_without_scores_is_not_guessed_and_a_wrong_one_is_refused() {
    let tokens = ["<unk>", "a", "aa"].map(str::to_owned).to_vec();
    let good = SentencePiece { tokens, scores: vec![0.0; 3], kinds: vec![2, 1, 1], cases: vec![] };
    assert!(super::as_file(&sentencepiece(&good, &[]), "tokenizer.json").unwrap().is_some());
    let scores = vec![0.0; 2];
    let short = SentencePiece { scores, ..good };
    assert!(super::as_file(&sentencepiece(&short, &[]), "tokenizer.json").is_err());
    let mut bytes = header(0, 2);
    bytes.extend(
        [text("tokenizer.ggml.model"), 8_u32.to_le_bytes().to_vec(), text("llama")].concat(),
    );
    bytes.extend(list("tokenizer.ggml.tokens", 8, &[text("a")]));
    bytes.resize(bytes.len().next_multiple_of(32), 0);
    let gguf = Gguf::parse(bytes).unwrap();
    assert_eq!(super::as_file(&gguf, "tokenizer.json").unwrap(), None);
}

proptest! {
    #[test]
    fn no_change_of_a_few_bytes_makes_it_panic(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = good();
        for (index, value) in changes {
            let index = index.index(bytes.len());
            bytes[index] = value;
        }
        if let Ok(gguf) = Gguf::parse(bytes) {
            for name in ["config.json", "tokenizer.json", "tokenizer_config.json"] {
                // Made or refused; what is made is checked where it is read.
                drop(super::as_file(&gguf, name));
            }
        }
    }
}
