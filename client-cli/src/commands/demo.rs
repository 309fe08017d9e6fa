//! `cactus demo`: the main job from start to finish, on a network of its own. It succeeds only if
//! every answer was verified and paid, and no coin was lost.

mod render;
mod report;

use crate::{
    account::Account,
    args::{DemoArgs, NetworkArgs},
    commands::{
        chat::{self, Answer},
        task::{self, TaskView},
    },
    helpful::Helpful,
    session::Session,
    wallet,
};
use anyhow::{Context, Result};
use cactus_devnet::{Network, NetworkPlan, OrchestratorPlan};
use cactus_protocol::Octas;
use render::Names;
use report::{AnswerReport, Balanced, Conversation, Report};
pub use report::{Candidate, Payment};
use serde_json::json;
use std::{
    io::{Write, stdout},
    net::{Ipv4Addr, TcpListener},
    path::Path,
    time::Instant,
};

/// The client's coins, and how much of them it deposits.
const COINS: Octas = Octas(1_000_000_000);
const DEPOSIT: Octas = Octas(500_000_000);
/// The most that one answer may cost.
const MAX_COST: Octas = Octas(10_000_000);
const MAX_TOKENS: u32 = 96;

pub async fn run(args: DemoArgs, json: bool) -> Result<()> {
    let started = Instant::now();
    let dir = tempfile::tempdir().context("cannot make a temporary directory")?;
    let network = start_network(&args, dir.path()).await?;
    if !json {
        render::network(&network, started.elapsed().as_secs_f64());
    }
    let session = client_of(&network, dir.path())?;
    let outcome = Demonstration::new(&network, &session, json).await?.run(started).await;
    let stopped = network.shutdown().await;
    let report = outcome?;
    stopped.context("the network did not stop cleanly")?;
    if json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        render::summary(&report);
    }
    if report.succeeded() {
        return Ok(());
    }
    let help = "run `RUST_LOG=info cactus demo` to see what each part did";
    Err(Helpful::error("not every answer was verified and paid", help))
}

async fn start_network(args: &DemoArgs, dir: &Path) -> Result<Network> {
    let model_dir = match &args.shape.model {
        Some(model) => model.clone(),
        None => cactus_devnet::sprout(dir)?,
    };
    let free_port = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let plan = NetworkPlan {
        data_dir: dir.to_owned(),
        chain_listener: free_port()?,
        router_listener: free_port()?,
        model_dir,
        orchestrators: OrchestratorPlan::variety(args.shape.orchestrators),
    };
    Network::start(plan).await
}

/// A user of the network, with a home and a wallet, as the command line has it.
fn client_of(network: &Network, dir: &Path) -> Result<Session> {
    let session = Session::new(NetworkArgs {
        router: network.router_url().to_owned(),
        chain: network.chain_url().to_owned(),
        contract: Some(network.contract()),
        home: Some(dir.join("client")),
        json: false,
    })?;
    wallet::load_or_create(&session.wallet_path())?;
    Ok(session)
}

struct Demonstration<'a> {
    network: &'a Network,
    account: Account,
    names: Names,
    json: bool,
}

impl<'a> Demonstration<'a> {
    async fn new(network: &'a Network, session: &Session, json: bool) -> Result<Self> {
        let account = Account::open(session).await?;
        network.fund_client(&account.key, COINS, DEPOSIT).await?;
        let operators = network.operators().iter();
        let names = operators.map(|o| (o.address.to_string(), o.plan.name.clone())).collect();
        Ok(Self { network, account, names, json })
    }

    async fn run(&self, started: Instant) -> Result<Report> {
        let client = self.account.key.address();
        let before = self.network.balances(client).await?;
        let conversations: Vec<Conversation> = cactus_devnet::DEMONSTRATION
            .lines()
            .map(serde_json::from_str)
            .collect::<Result<_, _>>()
            .context("the model's demonstration prompts cannot be read")?;
        let mut answers = Vec::new();
        for (index, conversation) in conversations.iter().enumerate() {
            answers.push(self.show(index, conversations.len(), conversation).await?);
        }
        let after = self.network.balances(client).await?;
        let conserved = before.conserved() && after.conserved();
        let seconds = started.elapsed().as_secs_f64();
        Ok(Report { answers, balances: Balanced { before, after }, conserved, seconds })
    }

    /// Asks one question and follows its money to the end.
    async fn show(
        &self,
        index: usize,
        count: usize,
        conversation: &Conversation,
    ) -> Result<AnswerReport> {
        let prompt = conversation.prompt();
        if !self.json {
            render::question(index, count, prompt);
        }
        let model = chat::first_model(&self.account).await?;
        let body = json!({
            "model": model,
            "messages": conversation.messages,
            "max_tokens": MAX_TOKENS,
            "temperature": 0,
        });
        let mut show = |text: &str| {
            if !self.json {
                print!("{text}");
                stdout().flush()?;
            }
            Ok(())
        };
        let answer = chat::ask(&self.account, body, MAX_COST, &mut show).await?;
        let id = answer.cactus["task"].as_str().context("the answer names no task")?.to_owned();
        let view = task::wait_until_final(&self.account.router, &id).await?;
        let report = describe(prompt, model, answer, view);
        if !self.json {
            render::answer(&report, &self.names);
        }
        Ok(report)
    }
}

fn describe(prompt: &str, model: String, answer: Answer, view: TaskView) -> AnswerReport {
    let ttft = answer.ttft.unwrap_or(answer.elapsed);
    AnswerReport {
        task: view.id,
        model,
        prompt: prompt.to_owned(),
        ttft_ms: u64::try_from(ttft.as_millis()).unwrap_or(u64::MAX),
        output_tokens: answer.usage["completion_tokens"].as_u64().unwrap_or_default(),
        tokens_per_s: answer.tokens_per_second(),
        text: answer.text,
        node: view.node,
        operator: view.operator,
        candidates: view.candidates,
        verdict: view.verdict.unwrap_or_else(|| "none".to_owned()),
        payment: view.payment,
    }
}
