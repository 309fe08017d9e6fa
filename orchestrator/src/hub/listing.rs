//! What a hub says is in a repository: which commit, which files, how long, with which hash. Every
//! name is hostile until it is checked.

use super::HubError;
use serde::Deserialize;
use std::path::{Component, Path};

/// The most files of one repository that are looked at.
const MAX_FILES: usize = 10_000;
/// No single file is longer, in bytes: larger models come in parts.
const MAX_FILE_BYTES: u64 = 64 << 30;
/// What loading reads, beside the weights.
const WANTED: [&str; 11] = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "model.safetensors.index.json",
    "modules.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "1_Pooling/config.json",
];

/// The content of a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listing {
    pub(super) commit: String,
    pub(super) files: Vec<RemoteFile>,
}

/// A file of a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RemoteFile {
    pub(super) name: String,
    pub(super) bytes: u64,
    pub(super) hash: FileHash,
}

/// What a file's content must hash to, in lower-case hex.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FileHash {
    /// Large files.
    Sha256(String),
    /// Small ones: SHA-1 of `blob <length>\0` and the content, as git has it.
    GitBlob(String),
}

impl FileHash {
    /// The name of the content in the cache.
    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Sha256(hex) | Self::GitBlob(hex) => hex,
        }
    }
}

#[derive(Deserialize)]
struct Raw {
    sha: String,
    #[serde(default)]
    siblings: Vec<RawFile>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawFile {
    rfilename: String,
    size: Option<u64>,
    blob_id: Option<String>,
    lfs: Option<RawLarge>,
}

#[derive(Deserialize)]
struct RawLarge {
    sha256: String,
    size: u64,
}

impl Listing {
    /// Reads the hub's answer and keeps what loading needs.
    pub(super) fn parse(body: &[u8]) -> Result<Self, HubError> {
        let odd = |reason: String| HubError::Odd(reason);
        let raw: Raw = serde_json::from_slice(body).map_err(|error| odd(error.to_string()))?;
        if !is_hex(&raw.sha, 40) {
            return Err(odd("its commit is no hash".to_owned()));
        }
        if raw.siblings.len() > MAX_FILES {
            return Err(odd(format!("the repository has {} files", raw.siblings.len())));
        }
        let wanted = raw.siblings.into_iter().filter(|file| is_wanted(&file.rfilename));
        let files: Vec<RemoteFile> = wanted.map(checked).collect::<Result<_, _>>()?;
        let has = |suffix: &str| files.iter().any(|file| file.name.ends_with(suffix));
        if !has("config.json") || !has(".safetensors") || !has("tokenizer.json") {
            return Err(HubError::NoModel);
        }
        Ok(Self { commit: raw.sha, files })
    }

    /// All files together, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.files.iter().fold(0, |all, file| all.saturating_add(file.bytes))
    }
}

fn is_wanted(name: &str) -> bool {
    let weights = name.ends_with(".safetensors") && !name.contains('/');
    // Some repositories carry the same weights twice, for another program.
    WANTED.contains(&name) || (weights && !name.starts_with("consolidated"))
}

fn checked(file: RawFile) -> Result<RemoteFile, HubError> {
    let name = file.rfilename;
    let plain = |part| matches!(part, Component::Normal(_));
    if !Path::new(&name).components().all(plain) || name.contains(['\\', '\0']) {
        return Err(HubError::Odd(format!("a file is called {name:?}")));
    }
    let (bytes, hash) = match (file.lfs, file.size, file.blob_id) {
        (Some(large), ..) if is_hex(&large.sha256, 64) => {
            (large.size, FileHash::Sha256(large.sha256))
        }
        (None, Some(size), Some(blob)) if is_hex(&blob, 40) => (size, FileHash::GitBlob(blob)),
        _ => return Err(HubError::Odd(format!("{name} has no size and hash"))),
    };
    if bytes > MAX_FILE_BYTES {
        return Err(HubError::Odd(format!("{name} has {bytes} bytes")));
    }
    Ok(RemoteFile { name, bytes, hash })
}

pub(super) fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn file(name: &str) -> Value {
        json!({"rfilename": name, "size": 3, "blobId": "a".repeat(40)})
    }

    fn parse(siblings: &[Value]) -> Result<Listing, HubError> {
        let body = json!({"sha": "c".repeat(40), "siblings": siblings}).to_string();
        Listing::parse(body.as_bytes())
    }

    #[test]
    fn only_what_loading_needs_is_listed() {
        let names = [
            "config.json",
            "tokenizer.json",
            "model.safetensors",
            "README.md",
            "pytorch_model.bin",
            "onnx/model.onnx",
            "consolidated.safetensors",
            "original/x.safetensors",
            "run.py",
        ];
        let listing = parse(&names.map(file)).unwrap();
        let names: Vec<_> = listing.files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(names, ["config.json", "tokenizer.json", "model.safetensors"]);
        assert_eq!(listing.bytes(), 9);
    }

    #[test]
    fn a_repository_without_safe_weights_is_refused() {
        let error = parse(&["config.json", "tokenizer.json", "x.bin"].map(file)).unwrap_err();
        assert!(matches!(error, HubError::NoModel));
    }

    #[test]
    fn no_file_leaves_the_cache_and_none_comes_without_a_hash() {
        let with = |odd: Value| parse(&[file("config.json"), file("tokenizer.json"), odd]);
        let bad = [
            json!({"rfilename": "..\\x.safetensors", "size": 3, "blobId": "a".repeat(40)}),
            json!({"rfilename": "m.safetensors", "size": 3}),
            json!({"rfilename": "m.safetensors", "size": 3, "blobId": "../../x"}),
            json!({"rfilename": "m.safetensors", "lfs": {"sha256": "zz", "size": 3}}),
            json!({"rfilename": "m.safetensors",
                "lfs": {"sha256": "a".repeat(64), "size": u64::MAX}}),
        ];
        for odd in bad {
            assert!(matches!(with(odd.clone()), Err(HubError::Odd(_))), "{odd}");
        }
        assert!(Listing::parse(b"{\"sha\": \"../..\"}").is_err());
    }
}
