//! What the network adds to the engine: the same questions, asked in turn of a model in this
//! process and of a whole network (client, HTTP, routing server, link, orchestrator, the same
//! model), greedy, one at a time. Prints one JSON document.
//!
//! `cargo run --release -p cactus-cli --example network_latency -- 200`

use anyhow::{Context, Result};
use cactus_cli::{account::Account, args::NetworkArgs, ask, session::Session, wallet};
use cactus_devnet::{Network, NetworkPlan, OrchestratorPlan};
use cactus_inference::{
    ChatMessage, GenerateEvent, GenerateRequest, LoadOptions, Model, Prompt, Sampling,
};
use cactus_protocol::Octas;
use serde_json::{Value, json};
use std::{
    env,
    net::{Ipv4Addr, TcpListener},
    path::Path,
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

const QUESTION: &str = "Write the numbers from 31 to 40.";
const MAX_TOKENS: u32 = 64;
const WARM_UP: usize = 10;

/// From asking to the first text, and to the end.
struct Times {
    first: Vec<Duration>,
    total: Vec<Duration>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let rounds: usize = env::args().nth(1).as_deref().unwrap_or("200").parse()?;
    let dir = tempfile::tempdir()?;
    let model_dir = cactus_devnet::sprout(dir.path())?;
    let started = Instant::now();
    let network = start(dir.path(), &model_dir).await?;
    let ready = started.elapsed();
    let account = client(&network, dir.path()).await?;
    let asked = Instant::now();
    through_network(&account).await?;
    let first_answer = asked.elapsed();
    let model = Model::load(LoadOptions::new(&model_dir))?;

    let mut direct = Times { first: Vec::new(), total: Vec::new() };
    let mut network_times = Times { first: Vec::new(), total: Vec::new() };
    for round in 0..rounds + WARM_UP {
        let alone = through_engine(&model).await?;
        let whole = through_network(&account).await?;
        if round >= WARM_UP {
            for (times, (first, total)) in [(&mut direct, alone), (&mut network_times, whole)] {
                times.first.push(first);
                times.total.push(total);
            }
        }
    }
    network.shutdown().await?;
    let document = json!({
        "rounds": rounds,
        "network_ready_ms": ms(ready),
        "first_answer_ms": ms(first_answer),
        "engine": describe(&mut direct),
        "network": describe(&mut network_times),
        "added_ttft_p50_ms": ms(middle(&network_times.first)) - ms(middle(&direct.first)),
        "added_total_p50_ms": ms(middle(&network_times.total)) - ms(middle(&direct.total)),
    });
    println!("{document}");
    Ok(())
}

async fn start(dir: &Path, model_dir: &Path) -> Result<Network> {
    let free_port = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let mut orchestrators = OrchestratorPlan::variety(1);
    for plan in &mut orchestrators {
        plan.tokens_per_second_limit = None;
    }
    Network::start(NetworkPlan {
        data_dir: dir.to_owned(),
        chain_listener: free_port()?,
        router_listener: free_port()?,
        model_dir: model_dir.to_owned(),
        orchestrators,
    })
    .await
}

async fn client(network: &Network, dir: &Path) -> Result<Account> {
    let session = Session::new(NetworkArgs {
        router: network.router_url().to_owned(),
        chain: network.chain_url().to_owned(),
        contract: Some(network.contract()),
        home: Some(dir.join("client")),
        json: false,
    })?;
    wallet::load_or_create(&session.wallet_path())?;
    let account = Account::open(&session).await?;
    network.fund_client(&account.key, Octas(10_000_000_000), Octas(9_000_000_000)).await?;
    Ok(account)
}

async fn through_network(account: &Account) -> Result<(Duration, Duration)> {
    let request: Value = json!({
        "model": "sprout",
        "messages": [{ "role": "user", "content": QUESTION }],
        "max_tokens": MAX_TOKENS,
        "temperature": 0,
    });
    let answer = ask(account, request, Octas(10_000_000), &mut |_| Ok(())).await?;
    Ok((answer.ttft.context("no text came")?, answer.elapsed))
}

async fn through_engine(model: &Model) -> Result<(Duration, Duration)> {
    let message = ChatMessage { role: "user".into(), content: QUESTION.into() };
    let request = GenerateRequest {
        sampling: Sampling::greedy(),
        max_tokens: MAX_TOKENS,
        ..GenerateRequest::new(Prompt::Chat(vec![message]))
    };
    let started = Instant::now();
    let mut events = model.generate(request, CancellationToken::new())?;
    let mut first = None;
    while let Some(event) = events.recv().await {
        match event {
            GenerateEvent::Delta { text, .. } if !text.is_empty() => {
                first.get_or_insert_with(|| started.elapsed());
            }
            GenerateEvent::Failed(error) => return Err(error.into()),
            _ => {}
        }
    }
    Ok((first.context("no text came")?, started.elapsed()))
}

fn describe(times: &mut Times) -> Value {
    times.first.sort();
    times.total.sort();
    let late = |sorted: &[Duration]| ms(sorted[(sorted.len() - 1) * 99 / 100]);
    json!({
        "ttft_p50_ms": ms(middle(&times.first)),
        "ttft_p99_ms": late(&times.first),
        "total_p50_ms": ms(middle(&times.total)),
        "total_p99_ms": late(&times.total),
    })
}

/// Of sorted times.
fn middle(sorted: &[Duration]) -> Duration {
    sorted[sorted.len() / 2]
}

fn ms(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}
