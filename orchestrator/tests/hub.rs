//! Models from a hub that breaks off, lies, is busy or is away; and the cache that needs none.

mod support;

use cactus_orchestrator::{Hub, HubConfig, HubError, HubLimits, ModelReference};
use sha2::{Digest, Sha256};
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};
use support::{COMMIT, FakeHub, Mishap};

fn hub(cache: &Path, url: Option<&str>) -> Hub {
    hub_that(false, cache, url)
}

fn hub_that(update: bool, cache: &Path, url: Option<&str>) -> Hub {
    let limits = HubLimits {
        attempts: 4,
        first_pause: Duration::from_millis(1),
        stall: Duration::from_millis(500),
        ..HubLimits::default()
    };
    let cache = cache.to_owned();
    Hub::new(HubConfig { url: url.map(str::to_owned), token: None, cache, update, limits })
        .expect("a client can be made")
}

fn model() -> ModelReference {
    "owner/name".parse().expect("an id")
}

async fn fetch(cache: &Path, server: &FakeHub) -> Result<PathBuf, HubError> {
    let (hub, model) = (hub(cache, Some(&server.url)), model());
    tokio::time::timeout(support::PATIENCE, hub.fetch(&model)).await.expect("an outcome")
}

#[tokio::test]
async fn a_model_lies_where_the_hubs_own_tools_look_and_is_fetched_once() {
    let (server, cache) = (FakeHub::start().await, tempfile::tempdir().unwrap());
    let directory = fetch(cache.path(), &server).await.unwrap();
    let folder = cache.path().join("models--owner--name");
    assert_eq!(directory, folder.join("snapshots").join(COMMIT));
    assert_eq!(fs::read(directory.join("model.safetensors")).unwrap(), server.weights);
    assert_eq!(fs::read_to_string(folder.join("refs/main")).unwrap(), COMMIT);
    assert!(!directory.join("evil.py").exists(), "code is not fetched");
    let record = fs::read_to_string(folder.join(format!("cactus/{COMMIT}.json"))).unwrap();
    assert!(record.contains(&hex::encode(Sha256::digest(&server.weights))), "{record}");
    fetch(cache.path(), &server).await.unwrap();
    assert_eq!(server.count("/resolve/"), 3);
}

#[tokio::test]
async fn whatever_goes_wrong_on_the_way_the_right_bytes_arrive() {
    let wrong: [&[Mishap]; 7] = [
        &[Mishap::Redirect],
        &[Mishap::CutAfter(100_000), Mishap::CutAfter(50_000)],
        &[Mishap::OtherBytes],
        &[Mishap::TooMany],
        &[Mishap::Status(503), Mishap::Status(429)],
        &[Mishap::CutAfter(100_000), Mishap::IgnoresRange],
        &[Mishap::CutAfter(100_000), Mishap::OtherBytes],
    ];
    for mishaps in wrong {
        let (server, cache) = (FakeHub::start().await, tempfile::tempdir().unwrap());
        server.mishaps.lock().unwrap().extend(mishaps);
        let directory = fetch(cache.path(), &server).await.unwrap();
        let there = fs::read(directory.join("model.safetensors")).unwrap();
        assert!(there == server.weights, "{mishaps:?}");
    }
}

#[tokio::test]
async fn a_download_goes_on_where_an_earlier_run_stopped() {
    let (server, cache) = (FakeHub::start().await, tempfile::tempdir().unwrap());
    server.mishaps.lock().unwrap().extend([Mishap::CutAfter(100_000), Mishap::Status(401)]);
    assert!(matches!(fetch(cache.path(), &server).await, Err(HubError::Forbidden)));
    fetch(cache.path(), &server).await.unwrap();
    assert_eq!(server.count("range: bytes=100000-"), 2, "the refused one and the last");
}

#[tokio::test]
async fn a_hub_that_goes_on_lying_is_given_up_and_nothing_of_it_is_used() {
    for (mishap, count) in [(Mishap::OtherBytes, 4), (Mishap::TooMany, 4), (Mishap::Status(500), 4)]
    {
        let (server, cache) = (FakeHub::start().await, tempfile::tempdir().unwrap());
        server.mishaps.lock().unwrap().extend(vec![mishap; count]);
        let error = fetch(cache.path(), &server).await.unwrap_err();
        let expected = matches!(error, HubError::WrongHash(_) | HubError::Busy { .. });
        assert!(expected, "{mishap:?}: {error}");
        let snapshot = cache.path().join("models--owner--name/snapshots").join(COMMIT);
        assert!(!snapshot.join("model.safetensors").exists());
        fetch(cache.path(), &server).await.expect("an honest hub mends it");
    }
    let (server, cache) = (FakeHub::start().await, tempfile::tempdir().unwrap());
    server.mishaps.lock().unwrap().extend([Mishap::CutAfter(9), Mishap::WrongRange]);
    assert!(matches!(fetch(cache.path(), &server).await, Err(HubError::Odd(_))));
}

#[tokio::test]
async fn damage_in_the_cache_is_found_and_mended() {
    let (server, cache) = (FakeHub::start().await, tempfile::tempdir().unwrap());
    let directory = fetch(cache.path(), &server).await.unwrap();
    let folder = cache.path().join("models--owner--name");
    let weights = fs::canonicalize(directory.join("model.safetensors")).unwrap();
    fs::write(&weights, vec![7; server.weights.len()]).unwrap();
    // Another tool wrote it: nothing is known of it.
    fs::remove_dir_all(folder.join("cactus")).unwrap();
    fetch(cache.path(), &server).await.unwrap();
    assert!(fs::read(&weights).unwrap() == server.weights);
    fs::write(&weights, b"short").unwrap();
    fetch(cache.path(), &server).await.unwrap();
    assert!(fs::read(&weights).unwrap() == server.weights);
}

#[tokio::test]
async fn what_is_cached_needs_no_hub_and_what_is_not_says_so() {
    let (server, cache) = (FakeHub::start().await, tempfile::tempdir().unwrap());
    let offline = hub(cache.path(), None);
    assert!(matches!(offline.fetch(&model()).await, Err(HubError::Offline(_))));
    let directory = fetch(cache.path(), &server).await.unwrap();
    assert_eq!(offline.fetch(&model()).await.unwrap(), directory);
    let pinned = format!("owner/name@{COMMIT}").parse().unwrap();
    assert_eq!(offline.fetch(&pinned).await.unwrap(), directory);
    let other = "owner/name@v2".parse().unwrap();
    assert!(matches!(offline.fetch(&other).await, Err(HubError::Offline(_))));
    server.die();
    assert_eq!(fetch(cache.path(), &server).await.unwrap(), directory, "the hub is away");
}

#[tokio::test]
async fn a_model_that_does_not_exist_is_named() {
    let (server, cache) = (FakeHub::start().await, tempfile::tempdir().unwrap());
    let hub = hub(cache.path(), Some(&server.url));
    let error = hub.fetch(&"owner/other@v1".parse().unwrap()).await.unwrap_err();
    assert_eq!(error.to_string(), "the hub has no owner/other@v1");
}

#[tokio::test]
async fn a_model_stays_at_its_first_revision_until_it_is_told_to_move_on() {
    let (server, cache) = (FakeHub::start().await, tempfile::tempdir().unwrap());
    let first = fetch(cache.path(), &server).await.unwrap();
    let lock = fs::read_to_string(cache.path().join("cactus-models.lock")).unwrap();
    assert!(lock.contains("owner/name@main") && lock.contains(COMMIT), "{lock}");
    assert!(lock.contains(&hex::encode(Sha256::digest(&server.weights))), "{lock}");
    let newer = "d00d".repeat(10);
    server.move_to(&newer);
    assert_eq!(fetch(cache.path(), &server).await.unwrap(), first);
    let moved = hub_that(true, cache.path(), Some(&server.url)).fetch(&model()).await.unwrap();
    assert!(moved.ends_with(&newer), "{}", moved.display());
    assert_eq!(fetch(cache.path(), &server).await.unwrap(), moved, "held from now on");
    assert_eq!(hub(cache.path(), None).fetch(&model()).await.unwrap(), moved, "and offline");
}

#[tokio::test]
async fn a_hub_that_changes_what_a_commit_holds_is_found_out() {
    let (honest, cache) = (FakeHub::start().await, tempfile::tempdir().unwrap());
    fetch(cache.path(), &honest).await.unwrap();
    let other = FakeHub::start_with((0..9_u8).collect()).await;
    let error = fetch(cache.path(), &other).await.unwrap_err();
    assert!(matches!(error, HubError::NotAsHeld { .. }), "{error}");
    fetch(cache.path(), &honest).await.expect("nothing of it was kept");
    hub_that(true, cache.path(), Some(&other.url)).fetch(&model()).await.expect("by --update");
}

#[tokio::test]
async fn a_damaged_lock_is_named_and_not_replaced() {
    let (server, cache) = (FakeHub::start().await, tempfile::tempdir().unwrap());
    let path = cache.path().join("cactus-models.lock");
    let escape = r#"{"models": {"owner/name@main": {"commit": "../../x", "files": {}}}}"#;
    for damage in ["", "[]", r#"{"models": {}, "more": 1}"#, escape] {
        fs::write(&path, damage).unwrap();
        let error = fetch(cache.path(), &server).await.unwrap_err();
        assert!(matches!(error, HubError::BadLock { .. }), "{damage}: {error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), damage);
    }
}
