//! What the fuzzers in `fuzz/` call: each takes one file that a stranger wrote. It is compiled for
//! them only, and judges nothing: a finding is a panic, a hang or a huge allocation.
#![expect(clippy::expect_used, clippy::missing_panics_doc, reason = "a fuzzer has nobody to tell")]

use std::path::{Path, PathBuf};
use std::sync::{Once, OnceLock};
use std::time::{Duration, Instant};

use crate::candle_engine::parse_directory;
use crate::load::files::ModelFiles;
use crate::load::gguf::{Gguf, as_file};
use crate::request::{ChatMessage, Prompt, ResponseFormat};
use crate::text::codec::Codec;

/// The files of the model in which one is replaced.
const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/llama3");
const FILES: [&str; 5] = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
];

/// A GGUF file: its headers, and what a directory would say in its place.
pub fn gguf(content: &[u8]) {
    if let Ok(gguf) = Gguf::parse(content.to_vec()) {
        for name in ["config.json", "tokenizer.json", "tokenizer_config.json"] {
            let _ = as_file(&gguf, name);
        }
    }
}

/// A whole GGUF file as a model: configuration, tokenizer and tensors.
pub fn gguf_model(content: &[u8]) {
    tolerate_caught_panics();
    let directory = directory("gguf", &[]);
    std::fs::write(directory.join("model.gguf"), content).expect("a temporary file");
    if let Ok(mut files) = ModelFiles::open(&directory) {
        parse_directory(&mut files);
        use_codec(&mut files);
    }
}

/// `config.json`, or the weights, of a directory.
pub fn weights(name: &str, content: &[u8]) {
    let directory = directory("weights", &["config.json"]);
    std::fs::write(directory.join(name), content).expect("a temporary file");
    if let Ok(mut files) = ModelFiles::open(&directory) {
        parse_directory(&mut files);
    }
}

/// A file of the text side of a directory.
pub fn text(name: &str, content: &[u8]) {
    tolerate_caught_panics();
    let directory = directory("text", &FILES);
    std::fs::write(directory.join(name), content).expect("a temporary file");
    if let Ok(mut files) = ModelFiles::open(&directory) {
        use_codec(&mut files);
    }
}

/// A JSON schema and the answer that it makes of a model that likes the lowest token ids.
pub fn schema(content: &[u8]) {
    static CODEC: OnceLock<Codec> = OnceLock::new();
    tolerate_caught_panics();
    let codec = CODEC.get_or_init(|| {
        let mut files = ModelFiles::open(Path::new(FIXTURE)).expect("the fixture is there");
        Codec::load(&mut files).expect("the fixture is whole")
    });
    let Ok(schema) = std::str::from_utf8(content) else { return };
    let format = ResponseFormat::JsonSchema(schema.to_owned());
    let Ok(Some(mut constraint)) = codec.constraint(&format, &[]) else { return };
    for _ in 0..20 {
        while !constraint.is_settled(Instant::now() + Duration::from_secs(1)) {}
        let Ok(allowed) = constraint.allowed() else { return };
        let next = (0..).take(codec.vocabulary()).find(|token| allowed.contains(*token));
        let Some(token) = next.filter(|token| !codec.is_end(*token)) else { return };
        constraint.accept(token);
    }
}

fn use_codec(files: &mut ModelFiles) {
    let Ok(codec) = Codec::load(files) else { return };
    let message = ChatMessage { role: "user".to_owned(), content: "Grüße, 12 suns".to_owned() };
    for prompt in [Prompt::Text("a <0x0A>\u{1f335} text".to_owned()), Prompt::Chat(vec![message])] {
        if let Ok(tokens) = codec.prompt(&prompt, 4096) {
            let _ = codec.decode(&tokens);
        }
    }
}

/// A directory of this process with the fixture's `files` in it.
fn directory(name: &str, files: &[&str]) -> PathBuf {
    let directory = std::env::temp_dir().join(format!("cactus-fuzz-{}-{name}", std::process::id()));
    if !directory.exists() {
        std::fs::create_dir(&directory).expect("a temporary directory");
        for file in files {
            std::fs::copy(Path::new(FIXTURE).join(file), directory.join(file))
                .expect("the fixture");
        }
    }
    directory
}

/// The fuzzer ends at any panic, but those of libraries that are caught are no findings.
fn tolerate_caught_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| std::panic::set_hook(Box::new(|_| ())));
}
