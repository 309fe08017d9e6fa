//! Where the models come from: directories on this machine, a hub, or an engine behind the OpenAI
//! API. It never loads one.

use crate::{
    args::Settings,
    config::ConfigError,
    hub::{HubConfig, HubLimits, ModelReference},
    remote::RemoteLimits,
};
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
    Local(Vec<LocalModel>),
    /// Models of a server with the OpenAI API.
    Engine(EngineSource),
}

/// A model that is computed here.
#[derive(Debug, Clone)]
pub enum LocalModel {
    /// A directory or a GGUF file; its name is the model's id.
    Directory(PathBuf),
    /// A model of a hub, downloaded when it is not in the cache.
    Hub(ModelReference, Box<HubConfig>),
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
            Self::Local(models) => models.is_empty(),
            Self::Engine(engine) => engine.models.is_empty(),
        }
    }

    /// Directories, or ids at the engine.
    pub fn names(&self) -> Vec<String> {
        match self {
            Self::Local(models) => models.iter().map(LocalModel::name).collect(),
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
            return local(settings, &models);
        };
        if settings.device.is_some() {
            let reason = "is for models that are computed here and not by --engine-url";
            return Err(ConfigError::value("--device", reason));
        }
        if settings.engine_context.is_some_and(|tokens| tokens < 2) {
            return Err(ConfigError::value("--engine-context", "must be at least 2"));
        }
        let key = settings.engine_key_file.as_deref();
        let key = key.map(|path| read_key("--engine-key-file", path)).transpose()?;
        Ok(Self::Engine(EngineSource {
            url: checked_url("--engine-url", url)?,
            key,
            models,
            context_length: settings.engine_context,
            limits: RemoteLimits::default(),
        }))
    }
}

impl LocalModel {
    fn name(&self) -> String {
        match self {
            Self::Directory(path) => path.display().to_string(),
            Self::Hub(model, _) => model.to_string(),
        }
    }
}

fn local(settings: &Settings, models: &[String]) -> Result<Source, ConfigError> {
    let mut hub = None;
    let mut found = Vec::new();
    for text in models {
        found.push(match ModelReference::guess(text) {
            None => LocalModel::Directory(PathBuf::from(text)),
            Some(model) => {
                let config = match &hub {
                    Some(config) => HubConfig::clone(config),
                    None => hub.insert(hub_config(settings)?).clone(),
                };
                LocalModel::Hub(model, Box::new(config))
            }
        });
    }
    Ok(Source::Local(found))
}

fn hub_config(settings: &Settings) -> Result<HubConfig, ConfigError> {
    let home = match &settings.hub_home {
        Some(home) => home.clone(),
        None => std::env::home_dir()
            .ok_or_else(|| ConfigError::value("--hub-home", "this account has no home directory"))?
            .join(".cache/huggingface"),
    };
    let offline = settings.offline.unwrap_or(false);
    let url = settings.hub_url.as_deref().filter(|_| !offline);
    let usual = home.join("token");
    let token = match (&settings.hub_token_file, std::env::var("HF_TOKEN")) {
        (Some(path), _) => Some(read_key("--hub-token-file", path)?),
        (None, Ok(token)) => Some(bearer("HF_TOKEN", &token)?),
        (None, Err(_)) if usual.exists() => Some(read_key("--hub-token-file", &usual)?),
        (None, Err(_)) => None,
    };
    Ok(HubConfig {
        url: url.map(|url| checked_url("--hub-url", url)).transpose()?,
        token,
        cache: home.join("hub"),
        update: settings.update.unwrap_or(false),
        limits: HubLimits::default(),
    })
}

fn checked_url(setting: &'static str, text: &str) -> Result<String, ConfigError> {
    let wrong = |reason: &str| ConfigError::value(setting, reason);
    let url = Url::parse(text).map_err(|error| wrong(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(wrong("must start with http:// or https://"));
    }
    if url.password().is_some() || !url.username().is_empty() {
        return Err(wrong("must not hold a password; name a file with the key instead"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("must be the base of the API, such as http://127.0.0.1:8000/v1"));
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

fn read_key(setting: &'static str, path: &Path) -> Result<HeaderValue, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable { path: path.into(), source };
    if fs::metadata(path).map_err(unreadable)?.len() > MAX_KEY_BYTES {
        return Err(ConfigError::value(setting, "is too long for a key"));
    }
    let text = fs::read_to_string(path).map_err(unreadable)?;
    bearer(setting, &text)
}

/// The header that shows a secret; it is never printed.
fn bearer(setting: &'static str, secret: &str) -> Result<HeaderValue, ConfigError> {
    let header = HeaderValue::try_from(format!("Bearer {}", secret.trim()));
    let mut header =
        header.map_err(|_| ConfigError::value(setting, "must hold one line of plain text"))?;
    header.set_sensitive(true);
    Ok(header)
}
