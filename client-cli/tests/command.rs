//! The real binary, as a person or a script runs it.
#![allow(clippy::unwrap_used)] // a failed step fails the test

use serde_json::Value;
use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

fn cactus(home: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cactus"));
    command.env_clear().arg("--home").arg(home).args(words);
    command
}

fn output(home: &Path, words: &[&str]) -> Output {
    cactus(home, words).output().unwrap()
}

fn json(output: &Output) -> Value {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    serde_json::from_slice(&output.stdout).expect("one JSON document and nothing else")
}

/// `cactus up` on free ports, killed when dropped.
struct Up {
    process: Child,
    router: String,
    chain: String,
}

impl Up {
    fn start(home: &Path) -> Self {
        let words = ["up", "--json", "--router-port", "0", "--chain-port", "0"];
        let words = [words.as_slice(), &["--orchestrators", "1"]].concat();
        let mut process =
            cactus(home, &words).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).expect("one line of JSON when ready");
        let text = |field: &str| ready[field].as_str().unwrap().to_owned();
        Self { process, router: text("router"), chain: text("chain") }
    }

    fn run(&self, home: &Path, words: &[&str]) -> Value {
        let network = ["--json", "--router", &self.router, "--chain", &self.chain];
        json(&output(home, &[network.as_slice(), words].concat()))
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn the_demonstration_verifies_and_pays_every_answer() {
    let home = tempfile::tempdir().unwrap();
    let report = json(&output(home.path(), &["demo", "--json"]));
    let answers = report["answers"].as_array().unwrap();
    assert!(answers.len() >= 8);
    for answer in answers {
        assert_eq!(answer["verdict"], "verified", "{answer}");
        assert_eq!(answer["candidates"].as_array().unwrap().len(), 3);
        assert!(answer["payment"]["orchestrator_octas"].as_u64().unwrap() > 0);
        assert!(answer["payment"]["transaction"].as_str().unwrap().starts_with("0x"));
        assert!(!answer["text"].as_str().unwrap().is_empty());
    }
    assert_eq!(report["conserved"], true);
    assert_eq!(report["balances"]["after"]["total"], report["balances"]["after"]["supply"]);
}

#[test]
fn the_help_names_every_command_and_gives_examples() {
    let home = tempfile::tempdir().unwrap();
    let help = cactus(home.path(), &["--help"]).env("COLUMNS", "100").output().unwrap();
    insta::assert_snapshot!(String::from_utf8(help.stdout).unwrap());
}

#[test]
fn a_wallet_is_made_once_and_shown_without_its_secret() {
    let home = tempfile::tempdir().unwrap();
    let created = json(&output(home.path(), &["wallet", "create", "--json"]));
    let shown = json(&output(home.path(), &["wallet", "show", "--json"]));
    assert_eq!(shown["address"], created["address"]);
    assert_eq!(shown["secret_key"], Value::Null);
    let again = output(home.path(), &["wallet", "create"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stderr).contains("help:"));
}

#[test]
fn failures_say_what_to_do_next_and_have_their_exit_codes() {
    let home = tempfile::tempdir().unwrap();
    let unreachable = ["--router", "http://127.0.0.1:9", "--chain", "http://127.0.0.1:9/v1"];
    let cases: [(&[&str], i32, &str); 10] = [
        (&["balance"], 1, "cactus wallet create"),
        (&["nodes"], 1, "cactus up"),
        (&["deposit", "a lot"], 2, "1.5apt"),
        (&["task", "0xzz"], 2, "hex digits"),
        (&["admin", "show"], 1, "cactus up"),
        (&["admin", "authorize-server", "0xzz"], 2, "hex digits"),
        (&["case", "open", "0x1"], 2, "--evidence"),
        (&["withdraw"], 2, "--claim"),
        (&["withdraw", "1", "--cancel"], 2, "cannot be used with"),
        (&["withdraw", "--claim"], 1, "cactus wallet create"),
    ];
    for (words, code, help) in cases {
        let output = output(home.path(), &[unreachable.as_slice(), words].concat());
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {errors}");
        assert!(errors.contains(help), "{words:?}: {errors}");
    }
}

#[test]
fn a_network_answers_from_another_terminal_and_goes_on_where_a_kill_ended_it() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path();
    let mut tasks: Vec<String> = Vec::new();
    for round in 0..4 {
        let up = Up::start(home);
        for earlier in &tasks {
            wait_until_settled(&up, home, earlier);
        }
        let balance = up.run(home, &["balance"]);
        assert_eq!(balance["deposit"]["locked"], 0, "round {round}");
        let prompt = format!("What is {round} + 40?");
        let answer = up.run(home, &["chat", &prompt]);
        assert!(answer["text"].as_str().unwrap().contains(&(round + 40).to_string()), "{answer}");
        tasks.push(answer["cactus"]["task"].as_str().unwrap().to_owned());
        // Killed (dropped) with the payment anywhere between decided and confirmed.
    }
    let up = Up::start(home);
    let mut spent = 0;
    for task in &tasks {
        let view = wait_until_settled(&up, home, task);
        for part in ["orchestrator_octas", "fee_octas"] {
            spent += view["payment"][part].as_u64().unwrap();
        }
    }
    let balance = up.run(home, &["balance"]);
    let deposited = 5_000_000_000_u64;
    assert_eq!(balance["deposit"]["available"].as_u64(), Some(deposited - spent));
}

/// Longer than a transaction lives: whatever a kill left in doubt is known by then.
const SETTLE_LIMIT: Duration = Duration::from_secs(90);

fn wait_until_settled(up: &Up, home: &Path, task: &str) -> Value {
    let started = Instant::now();
    loop {
        let view = up.run(home, &["task", task]);
        match view["state"].as_str() {
            Some("settled") => return view,
            Some("refunded") => panic!("an answered task was refunded: {view}"),
            _ => assert!(started.elapsed() < SETTLE_LIMIT, "task {task} does not settle: {view}"),
        }
    }
}

/// Requests for a batch, one per line.
fn write_batch(home: &Path, lines: usize) -> String {
    let line = |n: usize| {
        let body = serde_json::json!({
            "model": "sprout", "max_tokens": 32, "temperature": 0,
            "messages": [{"role": "user", "content": format!("What is {n} + 40?")}],
        });
        let url = "/v1/chat/completions";
        format!(
            "{}\n",
            serde_json::json!({
                "custom_id": format!("sum-{n}"), "method": "POST", "url": url, "body": body,
            })
        )
    };
    let file = home.join("batch.jsonl");
    std::fs::write(&file, (0..lines).map(line).collect::<String>()).unwrap();
    file.to_str().unwrap().to_owned()
}

#[test]
fn a_batch_goes_on_where_a_kill_ended_it_and_pays_for_each_line_once() {
    const LINES: usize = 40;
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path();
    let file = write_batch(home, LINES);
    let up = Up::start(home);
    let submitted = up.run(home, &["batch", "submit", &file, "--budget", "5"]);
    let id = submitted["id"].as_str().unwrap().to_owned();
    // Killed (dropped) with some lines answered, some under way and some not begun.
    drop(up);
    let up = Up::start(home);
    let batch = up.run(home, &["batch", "wait", &id]);
    assert_eq!(batch["request_counts"]["completed"], LINES, "{batch}");
    let output = home.join("output.jsonl");
    let place = output.to_str().unwrap();
    up.run(home, &["batch", "download", &id, "--output", place]);
    let (mut spent, answers) = (0, std::fs::read_to_string(&output).unwrap());
    for (n, answer) in answers.lines().enumerate() {
        let answer: Value = serde_json::from_str(answer).unwrap();
        assert_eq!(answer["custom_id"], format!("sum-{n}"));
        let body = &answer["response"]["body"];
        let text = body["choices"][0]["message"]["content"].as_str().unwrap();
        assert!(text.contains(&(n + 40).to_string()), "{answer}");
        let view = wait_until_settled(&up, home, body["cactus"]["task"].as_str().unwrap());
        for part in ["orchestrator_octas", "fee_octas"] {
            spent += view["payment"][part].as_u64().unwrap();
        }
    }
    assert_eq!(answers.lines().count(), LINES);
    // Locks of lines that the kill cut off come back.
    let started = Instant::now();
    let balance = loop {
        let balance = up.run(home, &["balance"]);
        if balance["deposit"]["locked"] == 0 {
            break balance;
        }
        assert!(started.elapsed() < SETTLE_LIMIT, "{balance}");
    };
    assert_eq!(balance["deposit"]["available"].as_u64(), Some(5_000_000_000 - spent));
    let status = up.run(home, &["batch", "status", &id]);
    assert_eq!(status["status"], "completed");
}

#[test]
fn a_quote_names_prices_and_what_is_not_on_offer_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path();
    let up = Up::start(home);
    let quote = up.run(home, &["quote", "What is 2 + 2?"]);
    assert!(quote["choices"][0]["most_octas"].as_u64().unwrap() > 0, "{quote}");
    let network = ["--router", &up.router, "--chain", &up.chain];
    let refused = output(home, &[network.as_slice(), &["embed", "x"]].concat());
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("cactus models"));
    let empty = home.join("empty.jsonl");
    std::fs::write(&empty, "").unwrap();
    let words = ["batch", "submit", empty.to_str().unwrap()];
    let refused = output(home, &[network.as_slice(), &words].concat());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("not empty"));
}
