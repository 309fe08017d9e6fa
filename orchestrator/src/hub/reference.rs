//! Names of models on a hub: `owner/name`, `owner/name@revision`, or a short name of ours. It never
//! asks the hub.

use std::{fmt, path::Path, str::FromStr};

/// Short names. The first download takes the newest revision, and the lock file holds it from then
/// on; whoever wants another names it behind an @.
const ALIASES: [(&str, &str); 5] = [
    ("minilm", "sentence-transformers/all-MiniLM-L6-v2"),
    ("qwen3-0.6b", "Qwen/Qwen3-0.6B"),
    ("qwen2.5-7b", "Qwen/Qwen2.5-7B-Instruct"),
    ("llama3.1-8b", "meta-llama/Llama-3.1-8B-Instruct"),
    ("mistral-7b", "mistralai/Mistral-7B-Instruct-v0.3"),
];
/// What a hub calls its newest revision.
const NEWEST: &str = "main";
/// The longest part of a reference, in bytes.
const MAX_PART_BYTES: usize = 96;

/// A model on a hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelReference {
    owner: String,
    name: String,
    /// A branch, a tag or a commit.
    pub(super) revision: String,
}

/// The text names no model on a hub.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no model id such as owner/name or owner/name@revision")]
pub struct BadReference(String);

impl ModelReference {
    /// What `--model` means when it is not a directory that exists: a short name, or something
    /// that looks like an id and not like a path.
    pub(crate) fn guess(text: &str) -> Option<Self> {
        if Path::new(text).exists() {
            return None;
        }
        let (base, revision) = text.split_once('@').unwrap_or((text, NEWEST));
        match ALIASES.iter().find(|(alias, _)| *alias == base) {
            Some((_, id)) => format!("{id}@{revision}").parse().ok(),
            None => text.parse().ok(),
        }
    }

    /// `owner/name`: the id under which it is served.
    pub fn id(&self) -> String {
        format!("{}/{}", self.owner, self.name)
    }

    /// The same model at another revision.
    pub(super) fn at(&self, revision: &str) -> Self {
        Self { revision: revision.to_owned(), ..self.clone() }
    }

    /// Its folder in the cache, as every tool of the hub names it.
    pub(super) fn folder(&self) -> String {
        format!("models--{}--{}", self.owner, self.name)
    }
}

impl FromStr for ModelReference {
    type Err = BadReference;
    fn from_str(text: &str) -> Result<Self, BadReference> {
        let bad = || BadReference(text.chars().take(120).collect());
        let (id, revision) = text.split_once('@').unwrap_or((text, NEWEST));
        let (owner, name) = id.split_once('/').ok_or_else(bad)?;
        let plain = |part: &str| {
            let letters = part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
            letters && (1..=MAX_PART_BYTES).contains(&part.len()) && !part.starts_with('.')
        };
        if ![owner, name, revision].into_iter().all(plain) {
            return Err(bad());
        }
        let [owner, name, revision] = [owner, name, revision].map(str::to_owned);
        Ok(Self { owner, name, revision })
    }
}

impl fmt::Display for ModelReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}@{}", self.owner, self.name, self.revision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_revisions_and_short_names_are_understood() {
        let read = |text| ModelReference::guess(text).map(|model| model.to_string());
        assert_eq!(read("Qwen/Qwen3-0.6B").unwrap(), "Qwen/Qwen3-0.6B@main");
        assert_eq!(read("a/b@v1.0").unwrap(), "a/b@v1.0");
        assert_eq!(read("minilm@abc").unwrap(), "sentence-transformers/all-MiniLM-L6-v2@abc");
        for (alias, id) in ALIASES {
            assert_eq!(read(alias).unwrap(), format!("{id}@main"));
        }
    }

    #[test]
    fn paths_are_no_ids() {
        for text in ["../b", "./a/b", "/a/b", "a/b/c", "a/..", "plain", "a/b@../x", "a/b@", "~/x"] {
            assert_eq!(ModelReference::guess(text), None, "{text}");
        }
        assert_eq!(ModelReference::guess("src/hub"), None, "a directory that exists");
    }
}
