//! One file from a hub into the cache: resumed where it stopped, bounded by its size, and in its
//! place only when its hash is right.

use super::{
    Hub, HubError,
    listing::{FileHash, RemoteFile},
    progress::Progress,
};
use reqwest::{Response, StatusCode, header};
use sha1::{Digest as _, Sha1};
use sha2::{Digest as _, Sha256};
use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    path::Path,
    time::Duration,
};
use tokio::time::timeout;

/// Read at once while hashing what is there already, in bytes.
const BUFFER: usize = 1 << 20;

/// Both hashes of a content as it comes.
pub(super) struct Hashes {
    sha256: Sha256,
    git: Sha1,
    bytes: u64,
}

impl Hashes {
    pub(super) fn new(length: u64) -> Self {
        let git = Sha1::new().chain_update(format!("blob {length}\0"));
        Self { sha256: Sha256::new(), git, bytes: 0 }
    }

    fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        self.git.update(bytes);
        self.bytes = self.bytes.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
    }

    /// The SHA-256 of the content, if it is the one that was announced.
    fn matching(self, file: &RemoteFile) -> Option<String> {
        let sha256 = hex::encode(self.sha256.finalize());
        let is_right = self.bytes == file.bytes
            && match &file.hash {
                FileHash::Sha256(expected) => *expected == sha256,
                FileHash::GitBlob(expected) => *expected == hex::encode(self.git.finalize()),
            };
        is_right.then_some(sha256)
    }
}

/// The SHA-256 of a file on disk, if its content is the one that was announced.
pub(super) fn verified(path: &Path, file: &RemoteFile) -> io::Result<Option<String>> {
    let mut hashes = Hashes::new(file.bytes);
    read_into(&mut hashes, &mut File::open(path)?)?;
    Ok(hashes.matching(file))
}

fn read_into(hashes: &mut Hashes, file: &mut File) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(()),
            read => hashes.update(&buffer[..read]),
        }
    }
}

/// Brings a file to `target`; `partial` keeps what has come of it. Its SHA-256.
pub(super) async fn fetch(
    hub: &Hub,
    url: &str,
    file: &RemoteFile,
    (partial, target): (&Path, &Path),
    progress: &mut Progress,
) -> Result<String, HubError> {
    let mut failures = 0;
    loop {
        let fault = match attempt(hub, url, file, partial, progress).await {
            Ok(sha256) => {
                std::fs::rename(partial, target).map_err(|error| HubError::disk(target, error))?;
                return Ok(sha256);
            }
            Err(fault) => fault,
        };
        failures += 1;
        if !fault.may_pass() || failures >= hub.limits.attempts {
            return Err(fault);
        }
        tracing::warn!(file = file.name, %fault, "trying again");
        hub.pause(failures, &fault).await;
    }
}

async fn attempt(
    hub: &Hub,
    url: &str,
    file: &RemoteFile,
    partial: &Path,
    progress: &mut Progress,
) -> Result<String, HubError> {
    let disk = |error| HubError::disk(partial, error);
    let open = || OpenOptions::new().read(true).append(true).create(true).open(partial);
    let mut kept = open().map_err(disk)?;
    if kept.try_lock().is_err() {
        return Err(HubError::InUse(partial.to_owned()));
    }
    let mut hashes = Hashes::new(file.bytes);
    read_into(&mut hashes, &mut kept).map_err(disk)?;
    if hashes.bytes > file.bytes {
        kept.set_len(0).map_err(disk)?;
        hashes = Hashes::new(file.bytes);
    }
    if hashes.bytes < file.bytes || file.bytes == 0 {
        let response = ask(hub, url, hashes.bytes).await?;
        if hashes.bytes > 0 && response.status() != StatusCode::PARTIAL_CONTENT {
            // The hub starts over.
            kept.set_len(0).map_err(disk)?;
            hashes = Hashes::new(file.bytes);
        }
        progress.at(hashes.bytes);
        receive(hub, response, (&mut kept, &mut hashes), (file, progress)).await?;
        kept.sync_all().map_err(disk)?;
    }
    let sha256 = hashes.matching(file);
    if sha256.is_none() {
        // Nothing of it can be trusted.
        kept.set_len(0).map_err(disk)?;
    }
    sha256.ok_or_else(|| HubError::WrongHash(file.name.clone()))
}

async fn ask(hub: &Hub, url: &str, from: u64) -> Result<Response, HubError> {
    let mut request = hub.request(url)?;
    if from > 0 {
        request = request.header(header::RANGE, format!("bytes={from}-"));
    }
    let response = hub.send(request).await?;
    let range = response.headers().get(header::CONTENT_RANGE);
    let starts = range.and_then(|range| range.to_str().ok()).map(str::to_owned);
    let is_right = starts.is_none_or(|range| range.starts_with(&format!("bytes {from}-")));
    if response.status() == StatusCode::PARTIAL_CONTENT && !is_right {
        return Err(HubError::Odd("it sends another part than was asked for".to_owned()));
    }
    Ok(response)
}

async fn receive(
    hub: &Hub,
    mut response: Response,
    (kept, hashes): (&mut File, &mut Hashes),
    (file, progress): (&RemoteFile, &mut Progress),
) -> Result<(), HubError> {
    let stall: Duration = hub.limits.stall;
    loop {
        let part = timeout(stall, response.chunk()).await;
        let part = part.map_err(|_| HubError::Unreachable("it stalled".to_owned()))?;
        let Some(bytes) = part.map_err(|error| HubError::of_request(&error))? else { break };
        let room = file.bytes.saturating_sub(hashes.bytes);
        if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > room {
            return Err(HubError::WrongHash(file.name.clone()));
        }
        kept.write_all(&bytes).map_err(HubError::Disk)?;
        hashes.update(&bytes);
        progress.at(hashes.bytes);
    }
    if hashes.bytes < file.bytes {
        return Err(HubError::Unreachable(format!("{} ended early", file.name)));
    }
    Ok(())
}
