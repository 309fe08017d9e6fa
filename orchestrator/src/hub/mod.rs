//! Models from a hub that speaks Hugging Face's API, into the cache that all its tools share. What
//! comes is used only when its hash is what the hub announced, and what the lock file holds from
//! the first download on; a cached revision needs no network. It never runs anything from a repository and fetches weights in safetensors only.

mod download;
mod listing;
mod lock;
mod progress;
mod reference;

pub use reference::{BadReference, ModelReference};

use crate::backoff::jittered;
use listing::{Listing, RemoteFile};
use lock::{Held, Lock};
use progress::Progress;
use reqwest::{
    RequestBuilder, Response, StatusCode,
    header::{AUTHORIZATION, HeaderValue, RETRY_AFTER},
};
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{task::spawn_blocking, time::timeout};

/// The longest listing, in bytes.
const MAX_LISTING_BYTES: usize = 8 << 20;
/// No hub makes us wait longer between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Where models come from and where they are kept.
#[derive(Debug, Clone)]
pub struct HubConfig {
    /// The hub's address; without one, only what is cached is served.
    pub url: Option<String>,
    /// The whole `Authorization` header, for models that need one.
    pub token: Option<HeaderValue>,
    /// The folder of all models, `hub` in `HF_HOME`.
    pub cache: PathBuf,
    /// Take what branches point to now, and hold that from now on.
    pub update: bool,
    /// How long things may take.
    pub limits: HubLimits,
}

/// How long a hub may take, and how often it is asked.
#[derive(Debug, Clone)]
pub struct HubLimits {
    /// To accept a connection.
    pub connect: Duration,
    /// To begin an answer.
    pub answer: Duration,
    /// Between two parts of a file.
    pub stall: Duration,
    /// Times that a file is tried.
    pub attempts: u32,
    /// Before the second attempt; doubles from there.
    pub first_pause: Duration,
}

impl Default for HubLimits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            answer: Duration::from_secs(30),
            stall: Duration::from_secs(30),
            attempts: 6,
            first_pause: Duration::from_secs(1),
        }
    }
}

/// Why a model is not there.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// Name the hub, or fetch the model on a machine that may.
    #[error("{0} is not in the cache, and no hub may be asked; set HF_ENDPOINT or --hub-url")]
    Offline(String),
    /// Try later.
    #[error("the hub cannot be reached: {0}")]
    Unreachable(String),
    /// Try later; the hub says when.
    #[error("the hub is busy ({status})")]
    Busy {
        /// Its answer.
        status: u16,
        /// When it wants to be asked again.
        after: Option<Duration>,
    },
    /// Accept the model's terms on the hub and give a token.
    #[error("the hub wants a token for this model; see --hub-token-file")]
    Forbidden,
    /// Check the spelling.
    #[error("the hub has no {0}")]
    Missing(String),
    /// Choose another model.
    #[error("the repository has no config.json, tokenizer.json and safetensors weights")]
    NoModel,
    /// The hub or something on the way is broken, or hostile.
    #[error("the hub's answer makes no sense: {0}")]
    Odd(String),
    /// The same.
    #[error("{0} is not what the hub announced: its size or hash is wrong")]
    WrongHash(String),
    /// Ask the model's makers; `--update` takes what the hub has now.
    #[error("{file} of {model} is not the one that cactus-models.lock holds")]
    NotAsHeld {
        /// The model.
        model: String,
        /// The file.
        file: String,
    },
    /// Mend or remove the file.
    #[error("{} cannot be read: {reason}", path.display())]
    BadLock {
        /// The lock file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Wait for the other program.
    #[error("another program is downloading {}", .0.display())]
    InUse(PathBuf),
    /// Make room, or check the permissions.
    #[error("cannot write to the cache: {0}")]
    Disk(#[source] io::Error),
}

impl HubError {
    fn disk(path: &Path, error: io::Error) -> Self {
        Self::Disk(io::Error::new(error.kind(), format!("{}: {error}", path.display())))
    }

    fn of_request(error: &reqwest::Error) -> Self {
        let cause = std::error::Error::source(error).map(ToString::to_string);
        Self::Unreachable(format!("{error}: {}", cause.unwrap_or_default()))
    }

    fn may_pass(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Busy { .. } | Self::WrongHash(_))
    }
}

/// A hub and its cache.
#[derive(Debug, Clone)]
pub struct Hub {
    http: reqwest::Client,
    config: HubConfig,
    limits: HubLimits,
}

impl Hub {
    /// A hub.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(config: HubConfig) -> Result<Self, HubError> {
        // Fails only when a provider is installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // Redirects are followed; the token stays with the host that it is for.
        let http = reqwest::Client::builder()
            .connect_timeout(config.limits.connect)
            .user_agent(concat!("cactus-orchestrator/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| HubError::of_request(&error))?;
        let limits = config.limits.clone();
        Ok(Self { http, config, limits })
    }

    /// The directory of a model's files, downloaded as far as needed.
    ///
    /// # Errors
    /// [`HubError`] by what the operator can do.
    pub async fn fetch(&self, model: &ModelReference) -> Result<PathBuf, HubError> {
        let lock = Lock::read(&self.config.cache)?;
        let held = lock.held(model).filter(|_| !self.config.update);
        let asked = held.map_or_else(|| model.clone(), |held| model.at(&held.commit));
        let folder = self.config.cache.join(model.folder());
        let cached = cached(&folder, &asked.revision);
        if self.config.url.is_none() {
            return cached.ok_or_else(|| HubError::Offline(asked.to_string()));
        }
        let listing = match (self.list(&asked).await, cached) {
            (Ok(listing), _) => listing,
            (Err(fault), Some(directory)) if fault.may_pass() => {
                tracing::warn!(%model, %fault, "serving the cached revision");
                return Ok(directory);
            }
            (Err(fault), _) => return Err(fault),
        };
        if held.is_some_and(|held| held.commit != listing.commit) {
            return Err(HubError::Odd(format!("asked for {asked}, it shows {}", listing.commit)));
        }
        let (directory, files) = self.download(&asked, &folder, (&listing, held)).await?;
        let commit = listing.commit;
        lock::hold(&self.config.cache, model, Held { commit, files })?;
        Ok(directory)
    }

    async fn list(&self, model: &ModelReference) -> Result<Listing, HubError> {
        let path = format!("api/models/{}/revision/{}?blobs=true", model.id(), model.revision);
        let mut failures = 0;
        loop {
            let asked = async {
                let mut response = self.send(self.request(&self.at(&path))?).await?;
                let mut body = Vec::new();
                while let Some(bytes) =
                    response.chunk().await.map_err(|error| HubError::of_request(&error))?
                {
                    if body.len() + bytes.len() > MAX_LISTING_BYTES {
                        return Err(HubError::Odd("the listing has no end".to_owned()));
                    }
                    body.extend_from_slice(&bytes);
                }
                Listing::parse(&body)
            };
            let limit = self.limits.answer;
            let asked = timeout(limit, asked).await;
            let fault = match asked.unwrap_or_else(|_| Err(HubError::Unreachable("silent".into())))
            {
                Err(HubError::Missing(_)) => return Err(HubError::Missing(model.to_string())),
                Err(fault) if fault.may_pass() => fault,
                outcome => return outcome,
            };
            failures += 1;
            if failures >= self.limits.attempts {
                return Err(fault);
            }
            self.pause(failures, &fault).await;
        }
    }

    async fn download(
        &self,
        model: &ModelReference,
        folder: &Path,
        (listing, held): (&Listing, Option<&Held>),
    ) -> Result<(PathBuf, BTreeMap<String, String>), HubError> {
        let snapshot = folder.join("snapshots").join(&listing.commit);
        let record = folder.join("cactus").join(format!("{}.json", listing.commit));
        let known: BTreeMap<String, String> = fs::read(&record)
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok())
            .unwrap_or_default();
        let mut hashes = BTreeMap::new();
        let mut progress = Progress::new(model.id(), listing.bytes());
        for file in &listing.files {
            progress.start_file(&file.name);
            let known = known.get(&file.name);
            let sha256 = self.bring(model, (folder, listing), (file, known), &mut progress).await?;
            progress.end_file(file.bytes);
            if held.is_some_and(|held| held.contradicts(&file.name, &sha256)) {
                let (model, file) = (model.to_string(), file.name.clone());
                return Err(HubError::NotAsHeld { model, file });
            }
            link(folder, &snapshot, file)?;
            hashes.insert(file.name.clone(), sha256);
        }
        progress.end();
        let text = serde_json::to_vec_pretty(&hashes).unwrap_or_default();
        write(&record, &text)?;
        write(&folder.join("refs").join(&model.revision), listing.commit.as_bytes())?;
        tracing::info!(%model, commit = listing.commit, bytes = listing.bytes(), "model is here");
        Ok((snapshot, hashes))
    }

    /// Makes sure that a file's content is in the cache; its SHA-256.
    async fn bring(
        &self,
        model: &ModelReference,
        (folder, listing): (&Path, &Listing),
        (file, known): (&RemoteFile, Option<&String>),
        progress: &mut Progress,
    ) -> Result<String, HubError> {
        let blobs = folder.join("blobs");
        fs::create_dir_all(&blobs).map_err(|error| HubError::disk(&blobs, error))?;
        let target = blobs.join(file.hash.as_str());
        let length = fs::metadata(&target).map(|metadata| metadata.len()).ok();
        if length == Some(file.bytes) {
            // What was verified once, or is verified now, whoever wrote it.
            let sha256 = match known {
                Some(known) => Some(known.clone()),
                None => hash_of(&target, file).await?,
            };
            if let Some(sha256) = sha256 {
                return Ok(sha256);
            }
            tracing::warn!(file = file.name, "the cached file is damaged; fetching it again");
        }
        let url = self.at(&format!("{}/resolve/{}/{}", model.id(), listing.commit, file.name));
        let partial = blobs.join(format!("{}.incomplete", file.hash.as_str()));
        download::fetch(self, &url, file, (&partial, &target), progress).await
    }

    fn at(&self, path: &str) -> String {
        let base = self.config.url.as_deref().unwrap_or_default();
        format!("{}/{path}", base.trim_end_matches('/'))
    }

    fn request(&self, url: &str) -> Result<RequestBuilder, HubError> {
        let request = self.http.get(url);
        Ok(match &self.config.token {
            Some(token) => request.header(AUTHORIZATION, token),
            None => request,
        })
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, HubError> {
        let sent = timeout(self.limits.answer, request.send()).await;
        let response = sent.map_err(|_| HubError::Unreachable("it does not answer".to_owned()))?;
        let response = response.map_err(|error| HubError::of_request(&error))?;
        let status = response.status();
        match status {
            _ if status.is_success() => Ok(response),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(HubError::Forbidden),
            StatusCode::NOT_FOUND => Err(HubError::Missing(response.url().path().to_owned())),
            _ if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() => {
                let after = response.headers().get(RETRY_AFTER);
                let after = after.and_then(|after| after.to_str().ok()?.parse().ok());
                Err(HubError::Busy {
                    status: status.as_u16(),
                    after: after.map(Duration::from_secs),
                })
            }
            _ => Err(HubError::Odd(status.to_string())),
        }
    }

    async fn pause(&self, failures: u32, fault: &HubError) {
        let doubled = 1u32.checked_shl(failures - 1).unwrap_or(u32::MAX);
        let usual = jittered(self.limits.first_pause.saturating_mul(doubled), rand::random());
        let asked = match fault {
            HubError::Busy { after: Some(after), .. } => *after,
            _ => Duration::ZERO,
        };
        tokio::time::sleep(usual.max(asked).min(LONGEST_PAUSE)).await;
    }
}

/// The files of a revision that is here already: named by a commit, or by what a branch was last.
fn cached(folder: &Path, revision: &str) -> Option<PathBuf> {
    let named = fs::read_to_string(folder.join("refs").join(revision)).ok();
    let commit = named.as_deref().map_or(revision, str::trim);
    let is_plain = commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    let snapshot = folder.join("snapshots").join(commit);
    (is_plain && snapshot.join("config.json").exists()).then_some(snapshot)
}

async fn hash_of(path: &Path, file: &RemoteFile) -> Result<Option<String>, HubError> {
    let (owned, file) = (path.to_owned(), file.clone());
    let hashing = spawn_blocking(move || download::verified(&owned, &file)).await;
    let hashed = hashing.map_err(|error| HubError::Disk(io::Error::other(error)))?;
    hashed.map_err(|error| HubError::disk(path, error))
}

/// Links a file of a snapshot to its content, as the hub's own tools do.
fn link(folder: &Path, snapshot: &Path, file: &RemoteFile) -> Result<(), HubError> {
    let place = snapshot.join(&file.name);
    let up = "../".repeat(2 + file.name.matches('/').count());
    let content = format!("{up}blobs/{}", file.hash.as_str());
    if fs::read_link(&place).is_ok_and(|there| there == Path::new(&content)) {
        return Ok(());
    }
    let parent = place.parent().unwrap_or(folder);
    fs::create_dir_all(parent).map_err(|error| HubError::disk(parent, error))?;
    let _ = fs::remove_file(&place);
    std::os::unix::fs::symlink(&content, &place).map_err(|error| HubError::disk(&place, error))
}

/// Writes a small file so that it is never seen half.
fn write(path: &Path, content: &[u8]) -> Result<(), HubError> {
    let disk = |error| HubError::disk(path, error);
    fs::create_dir_all(path.parent().unwrap_or(path)).map_err(disk)?;
    let new = path.with_extension("new");
    fs::write(&new, content).map_err(disk)?;
    fs::rename(&new, path).map_err(disk)
}
