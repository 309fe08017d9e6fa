//! `cactus up`: a network that stays, in a directory of its own, with a funded wallet.

use crate::{args::UpArgs, helpful::Helpful, session::Session, signals, wallet};
use anyhow::{Context, Result};
use cactus_devnet::{Network, NetworkPlan, OrchestratorPlan};
use cactus_protocol::Octas;
use console::style;
use serde_json::json;
use std::net::{Ipv4Addr, TcpListener};

/// What a new wallet gets, and how much of it is deposited.
const COINS: Octas = Octas(10_000_000_000);
const DEPOSIT: Octas = Octas(5_000_000_000);

pub async fn run(session: &Session, args: UpArgs) -> Result<()> {
    let shutdown = signals::until_ctrl_c();
    let data_dir = args.data_dir.unwrap_or_else(|| session.home.join("network"));
    let model_dir = match args.shape.model {
        Some(model) => model,
        None => cactus_devnet::sprout(&data_dir)?,
    };
    let plan = NetworkPlan {
        data_dir,
        chain_listener: listen(args.chain_port, "--chain-port")?,
        router_listener: listen(args.router_port, "--router-port")?,
        model_dir,
        orchestrators: OrchestratorPlan::variety(args.shape.orchestrators),
    };
    let network = Network::start(plan).await?;
    let outcome = stay(session, &network, shutdown.cancelled()).await;
    eprintln!("stopping: running answers are finished first; Ctrl-C again to leave at once");
    outcome.and(network.shutdown().await)
}

async fn stay(session: &Session, network: &Network, stop: impl Future<Output = ()>) -> Result<()> {
    let key = wallet::load_or_create(&session.wallet_path())?;
    let deposit = network.ledger().client_balance(key.address()).await?;
    if deposit.available == Octas::ZERO {
        network.fund_client(&key, COINS, DEPOSIT).await.context("your wallet cannot be funded")?;
    }
    announce(session, network);
    stop.await;
    Ok(())
}

fn announce(session: &Session, network: &Network) {
    let (router, chain, contract) = (network.router_url(), network.chain_url(), network.contract());
    let wallet = session.wallet_path();
    if session.network.json {
        let ready =
            json!({ "router": router, "chain": chain, "contract": contract, "wallet": wallet });
        println!("{ready}");
        return;
    }
    println!("{}", style("The network is up.").green().bold());
    println!("  router        {router}/v1");
    println!("  chain         {chain}");
    println!("  contract      {contract}");
    println!("  wallet        {}", wallet.display());
    for operator in network.operators() {
        println!("  orchestrator  {} {}", operator.plan.name, operator.address);
    }
    println!("\nFrom another terminal:");
    println!("  cactus chat \"what is 17 + 25?\"");
    println!("  cactus key create        an API key for any OpenAI client");
    println!(
        "RUST_LOG=info shows what each part does. Ctrl-C stops it; the next `cactus up` goes on where it ended."
    );
}

fn listen(port: u16, flag: &str) -> Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(|e| {
        let help =
            format!("another network may be running; choose another port with {flag}, 0 for any");
        Helpful::error(format!("cannot listen on port {port}: {e}"), help)
    })
}
