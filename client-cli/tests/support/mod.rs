//! A network in this process and a client with money in it.
#![allow(clippy::unwrap_used, dead_code)] // a failed step fails the test

use anyhow::Result;
use cactus_cli::{
    TaskView, account::Account, args::NetworkArgs, ask, session::Session, wait_until_final, wallet,
};
use cactus_devnet::{Network, NetworkPlan, OrchestratorPlan};
use cactus_protocol::{Octas, Price, TaskId};
use serde_json::{Value, json};
use std::net::{Ipv4Addr, TcpListener};
use tempfile::TempDir;

pub const COINS: Octas = Octas(1_000_000_000);
pub const DEPOSIT: Octas = Octas(500_000_000);
pub const MAX_COST: Octas = Octas(10_000_000);

pub struct World {
    pub network: Network,
    dir: TempDir,
}

/// An orchestrator that writes at most so many tokens a second.
pub fn orchestrator(name: &str, tokens_per_second_limit: Option<f64>) -> OrchestratorPlan {
    OrchestratorPlan {
        name: name.to_owned(),
        stake: Octas(10_000_000_000),
        price: Price { prompt: Octas(10_000), output: Octas(40_000) },
        slots: 2,
        tokens_per_second_limit,
    }
}

impl World {
    pub async fn start(orchestrators: Vec<OrchestratorPlan>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let free_port = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let plan = NetworkPlan {
            data_dir: dir.path().to_owned(),
            chain_listener: free_port(),
            router_listener: free_port(),
            model_dir: cactus_devnet::sprout(dir.path()).unwrap(),
            orchestrators,
        };
        let network = Network::start(plan).await.unwrap();
        Self { network, dir }
    }

    /// A client with coins and a deposit.
    pub async fn funded_client(&self) -> Account {
        let account = self.client("client").await;
        self.network.fund_client(&account.key, COINS, DEPOSIT).await.unwrap();
        account
    }

    /// A client with a wallet and nothing in it.
    pub async fn poor_client(&self) -> Account {
        self.client("poor").await
    }

    async fn client(&self, name: &str) -> Account {
        let network = NetworkArgs {
            router: self.network.router_url().to_owned(),
            chain: self.network.chain_url().to_owned(),
            contract: Some(self.network.contract()),
            home: Some(self.dir.path().join(name)),
            json: false,
        };
        let session = Session::new(network).unwrap();
        wallet::load_or_create(&session.wallet_path()).unwrap();
        Account::open(&session).await.unwrap()
    }

    pub async fn stop(self) {
        self.network.shutdown().await.unwrap();
        self.dir.close().unwrap();
    }
}

/// OpenAI's request for one question.
pub fn question(text: &str, max_tokens: u32) -> Value {
    json!({
        "model": "sprout",
        "messages": [{ "role": "user", "content": text }],
        "max_tokens": max_tokens,
        "temperature": 0,
    })
}

/// Asks and returns the answer's text and task.
pub async fn answer(account: &Account, text: &str) -> Result<(String, TaskId)> {
    let answer = ask(account, question(text, 32), MAX_COST, &mut |_| Ok(())).await?;
    let task = answer.cactus["task"].as_str().unwrap().parse()?;
    Ok((answer.text, task))
}

/// The task when its money has come to rest.
pub async fn at_rest(account: &Account, task: TaskId) -> TaskView {
    wait_until_final(&account.router, &task.to_string()).await.unwrap()
}
