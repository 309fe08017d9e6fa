//! Where the models come from: directories on this machine, or an engine behind the OpenAI API.
//! It never loads one.

use crate::{args::Settings, config::ConfigError, remote::RemoteLimits};
use reqwest::{Url, header::HeaderValue};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// No key file is longer, in bytes.
const MAX_KEY_BYTES: u64 = 64 * 1024;

/// What [`crate::run`] serves.
#[derive(Debug, Clone)]
pub enum Source {
    /// Models that are computed here.
    Local(Vec<PathBuf>),
    /// Models of a server with the OpenAI API.
    Engine(EngineSource),
}

/// A server with the OpenAI API.
#[derive(Debug, Clone)]
pub struct EngineSource {
    /// The API's base.
    pub url: String,
    /// The whole `Authorization` header; never printed.
    pub key: Option<HeaderValue>,
    /// The ids of the models there.
    pub models: Vec<String>,
    /// The context that is sold, in tokens.
    pub context_length: Option<u32>,
    /// How long it may take.
    pub limits: RemoteLimits,
}

impl Source {
    /// Whether there is anything to serve.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Local(directories) => directories.is_empty(),
            Self::Engine(engine) => engine.models.is_empty(),
        }
    }

    /// Directories, or ids at the engine.
    pub fn names(&self) -> Vec<String> {
        match self {
            Self::Local(directories) => {
                directories.iter().map(|path| path.display().to_string()).collect()
            }
            Self::Engine(engine) => engine.models.clone(),
        }
    }

    /// The engine's address; a user name and password in it are left out.
    pub fn engine_url(&self) -> Option<&str> {
        match self {
            Self::Local(_) => None,
            Self::Engine(engine) => Some(&engine.url),
        }
    }

    pub(crate) fn of_settings(settings: &Settings) -> Result<Self, ConfigError> {
        let models = settings.model.clone().unwrap_or_default();
        let Some(url) = &settings.engine_url else {
            for (given, flag) in [
                (settings.engine_key_file.is_some(), "--engine-key-file"),
                (settings.engine_context.is_some(), "--engine-context"),
            ] {
                if given {
                    return Err(ConfigError::value(flag, "needs --engine-url"));
                }
            }
            return Ok(Self::Local(models.into_iter().map(PathBuf::from).collect()));
        };
        if settings.engine_context.is_some_and(|tokens| tokens < 2) {
            return Err(ConfigError::value("--engine-context", "must be at least 2"));
        }
        Ok(Self::Engine(EngineSource {
            url: checked_url(url)?,
            key: settings.engine_key_file.as_deref().map(read_key).transpose()?,
            models,
            context_length: settings.engine_context,
            limits: RemoteLimits::default(),
        }))
    }
}

fn checked_url(text: &str) -> Result<String, ConfigError> {
    let wrong = |reason: &str| ConfigError::value("--engine-url", reason);
    let url = Url::parse(text).map_err(|error| wrong(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(wrong("must start with http:// or https://"));
    }
    if url.password().is_some() || !url.username().is_empty() {
        return Err(wrong("must not hold a password; use --engine-key-file"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("must be the base of the API, such as http://127.0.0.1:8000/v1"));
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

fn read_key(path: &Path) -> Result<HeaderValue, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable { path: path.into(), source };
    if fs::metadata(path).map_err(unreadable)?.len() > MAX_KEY_BYTES {
        return Err(ConfigError::value("--engine-key-file", "is too long for a key"));
    }
    let text = fs::read_to_string(path).map_err(unreadable)?;
    let header = HeaderValue::try_from(format!("Bearer {}", text.trim()));
    let mut header = header
        .map_err(|_| ConfigError::value("--engine-key-file", "must hold one line of plain text"))?;
    header.set_sensitive(true);
    Ok(header)
}
