//! What was learned of nodes, kept over a restart in a file of the data directory: a liar stays in
//! quarantine, and nobody has to earn trust again because this server was updated. It is written
//! beside requests, never for one, and a file that cannot be read is as good as none.

use crate::{app::App, link::unix_ms};
use cactus_dispatch::{Fleet, Memory};
use serde::{Deserialize, Serialize};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

const FILE: &str = "nodes.json";
/// Other versions are not read.
const VERSION: u32 = 1;
/// Between two writes.
const PERIOD: Duration = Duration::from_secs(20);
/// The most nodes that are written: some hundred bytes each.
const MOST_NODES: usize = 65_536;
/// The longest file that is read, in bytes.
const MOST_BYTES: u64 = 128 << 20;

#[derive(Serialize, Deserialize)]
struct Contents {
    version: u32,
    /// When it was taken down, by the Unix clock.
    unix_ms: u64,
    nodes: Vec<Memory>,
}

/// Why a file says nothing.
#[derive(Debug, thiserror::Error)]
enum Unreadable {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Malformed(#[from] serde_json::Error),
    #[error("it is longer than {MOST_BYTES} bytes")]
    TooLong,
    #[error("it has version {0}, this server reads {VERSION}")]
    OtherVersion(u32),
}

/// Recalls what an earlier run left.
pub fn recall(fleet: &Fleet, data_dir: &Path) {
    match read(&data_dir.join(FILE)) {
        Ok(contents) => {
            let away = Duration::from_millis(unix_ms().saturating_sub(contents.unix_ms));
            let nodes = fleet.recall(&contents.nodes, away, Instant::now());
            tracing::info!(nodes, ?away, "what was learned of nodes is recalled");
        }
        Err(Unreadable::Io(error)) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => tracing::warn!(%error, "what was learned of nodes is lost"),
    }
}

fn read(file: &Path) -> Result<Contents, Unreadable> {
    if std::fs::metadata(file)?.len() > MOST_BYTES {
        return Err(Unreadable::TooLong);
    }
    let contents: Contents = serde_json::from_slice(&std::fs::read(file)?)?;
    match contents.version {
        VERSION => Ok(contents),
        other => Err(Unreadable::OtherVersion(other)),
    }
}

/// Writes now and then until `stop`, and once more then.
pub async fn keep(app: Arc<App>, stop: CancellationToken) {
    let mut period = tokio::time::interval(PERIOD);
    period.tick().await;
    loop {
        let goes_on = stop.run_until_cancelled(period.tick()).await.is_some();
        let app = Arc::clone(&app);
        let writing = tokio::task::spawn_blocking(move || {
            let nodes = app.nodes.fleet.memories(MOST_NODES, Instant::now());
            let contents = Contents { version: VERSION, unix_ms: unix_ms(), nodes };
            write(&app.config.data_dir.join(FILE), &contents)
        });
        if let Ok(Err(error)) = writing.await {
            tracing::warn!(%error, "what was learned of nodes cannot be kept");
        }
        if !goes_on {
            return;
        }
    }
}

/// Whole or not at all: a reader never sees half of it.
fn write(file: &Path, contents: &Contents) -> io::Result<()> {
    let mut new = PathBuf::from(file);
    new.set_extension("new");
    std::fs::write(&new, serde_json::to_vec(contents)?)?;
    std::fs::rename(&new, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Option<Unreadable> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(FILE);
        std::fs::write(&file, text).unwrap();
        read(&file).err()
    }

    #[test]
    fn what_cannot_be_read_is_as_good_as_none() {
        assert!(matches!(check("{\"version\":1,\"unix_"), Some(Unreadable::Malformed(_))));
        let other = "{\"version\":2,\"unix_ms\":0,\"nodes\":[]}";
        assert!(matches!(check(other), Some(Unreadable::OtherVersion(2))));
        assert!(check(&other.replace("2,", "1,")).is_none());
    }
}
