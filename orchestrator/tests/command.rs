//! The real command: where settings come from, exit codes, messages.
#![allow(clippy::unwrap_used, reason = "what a test sets up itself cannot fail quietly")]

use std::{fs, path::Path, process::Command};

struct Output {
    code: Option<i32>,
    out: String,
    err: String,
}

fn cactus(home: &Path, args: &[&str], environment: &[(&str, &str)]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_cactus-orchestrator"))
        .args(args)
        .env_clear()
        .env("HOME", home)
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    Output {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

const BASICS: [&str; 5] = ["check", "--router", "ws://127.0.0.1:1", "--model", "m"];

fn summary(home: &Path, more: &[&str], environment: &[(&str, &str)]) -> serde_json::Value {
    let output = cactus(home, &[&BASICS, more].concat(), environment);
    assert_eq!(output.code, Some(0), "{}", output.err);
    serde_json::from_str(&output.out).unwrap()
}

#[test]
fn flags_win_over_the_environment_over_the_file_over_defaults() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("orchestrator.toml");
    fs::write(&file, "slots = 2\nqueue = 2\nregion = \"file\"\nstake = \"3 APT\"\n").unwrap();
    let file = file.to_str().unwrap();
    let environment = [("CACTUS_ORCHESTRATOR_SLOTS", "3"), ("CACTUS_ORCHESTRATOR_QUEUE", "3")];
    let summary = summary(home.path(), &["--config", file, "--slots", "4"], &environment);
    assert_eq!(summary["slots"], 4, "flag");
    assert_eq!(summary["queue"], 3, "environment");
    assert_eq!(summary["region"], "file");
    assert_eq!(summary["stake_octas"], 300_000_000_u64, "file");
    assert_eq!(summary["heartbeat_seconds"], 5, "default");
}

#[test]
fn the_environment_alone_is_enough_and_lists_are_separated_by_commas() {
    let home = tempfile::tempdir().unwrap();
    let environment = [
        ("CACTUS_ORCHESTRATOR_ROUTER", "ws://127.0.0.1:1,wss://r.example"),
        ("CACTUS_ORCHESTRATOR_MODEL", "a,b"),
    ];
    let output = cactus(home.path(), &["check"], &environment);
    let summary: serde_json::Value = serde_json::from_str(&output.out).unwrap();
    assert_eq!(summary["routers"][1], "wss://r.example/v1/link");
    assert_eq!(summary["models"][1], "b");
}

#[test]
fn keys_are_made_once_and_never_printed() {
    let home = tempfile::tempdir().unwrap();
    let first = summary(home.path(), &[], &[]);
    let second = summary(home.path(), &[], &[]);
    assert_eq!(first["operator"], second["operator"]);
    assert_eq!(first["node"], second["node"]);
    let key = fs::read_to_string(home.path().join(".cactus/orchestrator/operator.key")).unwrap();
    assert!(!first.to_string().contains(key.trim()));
}

#[test]
fn wrong_settings_end_with_code_2_and_name_the_flag() {
    let home = tempfile::tempdir().unwrap();
    let check = |args: &[&str], expect: &str| {
        let output = cactus(home.path(), args, &[]);
        assert_eq!(output.code, Some(2), "{args:?}: {}", output.err);
        assert!(output.err.contains(expect), "{args:?}: {}", output.err);
    };
    let with = |more: &[&'static str]| [&BASICS, more].concat();
    check(&["check", "--model", "m"], "--router");
    check(&["check", "--router", "ws://127.0.0.1:1"], "--model");
    check(&["check", "--router", "r.example"], "must start with ws://");
    check(&with(&["--slots", "0"]), "--slots");
    check(&with(&["--tokens-per-second", "-1"]), "--tokens-per-second");
    check(&with(&["--price-output", "10001 APT"]), "--price-output");
    check(&with(&["--metadata-uri", ""]), "--metadata-uri");
    check(&with(&["--heartbeat", "0"]), "--heartbeat");
    check(&with(&["--heartbeat", "600"]), "--heartbeat");
    check(&with(&["--stake", "1e5"]), "--stake");
    check(&with(&["--config", "absent.toml"]), "absent.toml");
    check(&["--no-such-flag"], "--no-such-flag");
    check(&with(&["--engine-context", "100"]), "needs --engine-url");
    check(&with(&["--engine-url", "127.0.0.1:8000"]), "--engine-url");
    check(&with(&["--engine-url", "ftp://x/v1"]), "must start with http");
    check(&with(&["--engine-url", "http://me:secret@x/v1"]), "must not hold a password");
    let on_hub = ["check", "--router", "ws://127.0.0.1:1", "--model", "owner/name"];
    check(&[&on_hub[..], &["--hub-url", "hub.example"]].concat(), "--hub-url");
    check(&[&on_hub[..], &["--offline", "perhaps"]].concat(), "--offline");
    let engine = ["--engine-url", "http://127.0.0.1:1/v1"];
    check(&with(&[&engine[..], &["--engine-context", "1"]].concat()), "--engine-context");
    check(&with(&[&engine[..], &["--engine-key-file", "absent"]].concat()), "absent");
}

#[test]
fn ids_and_short_names_of_a_hub_are_told_from_directories() {
    let home = tempfile::tempdir().unwrap();
    let models = ["--model", "owner/name@v1", "--model", "minilm", "--model", "./owner/name"];
    let environment = [("HF_HUB_OFFLINE", "1"), ("HF_TOKEN", "hf_very_secret")];
    let summary = summary(home.path(), &models, &environment);
    let names = ["m", "owner/name@v1", "sentence-transformers/all-MiniLM-L6-v2@main"];
    assert_eq!(summary["models"].as_array().unwrap()[..3], names);
    assert_eq!(summary["models"][3], "./owner/name");
    assert!(!summary.to_string().contains("secret"));
}

#[test]
fn a_model_of_a_hub_that_may_not_be_asked_is_reported() {
    let home = tempfile::tempdir().unwrap();
    let flags = ["--router", "ws://127.0.0.1:1", "--model", "owner/name", "--offline"];
    let output = cactus(home.path(), &flags, &[]);
    assert_eq!(output.code, Some(1), "{}", output.err);
    assert!(output.err.contains("not in the cache"), "{}", output.err);
}

#[test]
fn an_engine_may_be_sold_instead_and_its_key_is_never_printed() {
    let home = tempfile::tempdir().unwrap();
    let key = home.path().join("engine.key");
    fs::write(&key, "sk-very-secret\n").unwrap();
    let key = key.to_str().unwrap();
    let flags = ["--engine-url", "http://127.0.0.1:8000/v1/", "--engine-key-file", key];
    let summary = summary(home.path(), &flags, &[]);
    assert_eq!(summary["engine_url"], "http://127.0.0.1:8000/v1");
    assert_eq!(summary["models"][0], "m");
    assert!(!summary.to_string().contains("secret"));
}

#[test]
fn a_file_with_an_unknown_or_malformed_setting_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("orchestrator.toml");
    for (text, expect) in [
        ("slotz = 2", "slotz"),
        ("stake = \"much\"", "much"),
        ("router = [\"ftp://x\"]", "ftp://x"),
        ("slots = ", "TOML"),
    ] {
        fs::write(&path, text).unwrap();
        let output = cactus(
            home.path(),
            &[&BASICS, &["--config", path.to_str().unwrap()][..]].concat(),
            &[],
        );
        assert_eq!(output.code, Some(2), "{text}");
        assert!(output.err.contains(expect), "{text}: {}", output.err);
    }
}

#[test]
fn help_shows_examples_and_exit_codes() {
    let home = tempfile::tempdir().unwrap();
    let output = cactus(home.path(), &["--help"], &[]);
    assert_eq!(output.code, Some(0));
    for part in ["Examples:", "Exit codes:", "generate", "CACTUS_ORCHESTRATOR_ROUTER"] {
        assert!(output.out.contains(part), "{part}");
    }
}

#[test]
fn a_missing_model_is_reported_and_nothing_is_printed_as_an_answer() {
    let home = tempfile::tempdir().unwrap();
    let output = cactus(home.path(), &["generate", "--model", "absent", "hello"], &[]);
    assert_eq!(output.code, Some(1));
    assert_eq!(output.out, "");
    assert!(output.err.contains("absent"), "{}", output.err);
}
