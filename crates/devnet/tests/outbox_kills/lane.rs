//! One routing server with its own key, database, client and operator, through its lives.

use std::process::Stdio;
use std::time::Duration;

use cactus_ledger::{Availability, Call};
use cactus_protocol::{Octas, SecretKey};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, BufReader};
use tokio::process::Command;

use super::plan::{Cast, Place, Plan, VARIABLE};
use super::world::World;

/// Everybody's coins at the start, what the client has in the escrow, and a bond.
const ENDOWMENT: Octas = Octas(100_000_000_000);
pub const DEPOSIT: Octas = Octas(10_000_000_000);
const BOND: Octas = Octas(200_000_000);
/// Most decisions in a life, and how often it passes a place at most before it dies there.
const DECISIONS: u32 = 8;
const PASSINGS: u32 = 3;
/// One life in so many is killed from outside, at most so long after it began.
const FROM_OUTSIDE: u32 = 5;
const LONGEST: Duration = Duration::from_millis(120);
/// After this a process has hung.
const HUNG: Duration = Duration::from_secs(60);

/// How a life ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Death {
    /// It did all it had to.
    None,
    /// At a place, by its own hand.
    At(Place),
    /// By SIGKILL, anywhere.
    Sigkill,
}

pub struct Lane {
    pub number: u8,
    pub cast: Cast,
    directory: TempDir,
    random: StdRng,
}

impl Lane {
    /// Registers everyone on the chain.
    pub async fn found(world: &World, number: u8, seed: u64) -> Self {
        let cast = Cast::of(number);
        let (ledger, admin) = (world.ledger().await, world.admin().await);
        let (server, client, operator) = (cast.server(), cast.client(), cast.operator());
        for account in [admin.address(), server.address(), client.address(), operator.address()] {
            ledger.fund(account, ENDOWMENT).await.unwrap();
        }
        let (node_public_key, proof) = cast.node_proof(world.contract());
        let url = "http://127.0.0.1".to_owned();
        let calls: [(&SecretKey, Call); 6] = [
            (&server, Call::RegisterServer { url, public_key: server.public(), bond: BOND }),
            (&operator, Call::RegisterOrchestrator { metadata_uri: "https:".into() }),
            (&operator, Call::AddNode { node_public_key, specs_uri: "{}".into(), proof }),
            (&operator, Call::SetStatus { status: Availability::Online }),
            (&operator, Call::Bond { amount: BOND }),
            (&client, Call::Deposit { amount: DEPOSIT }),
        ];
        for (key, call) in calls {
            ledger.submit_and_wait(key, call).await.unwrap();
        }
        admin.authorize_server(server.address(), Duration::ZERO).await.unwrap();
        admin.admit_operator(operator.address(), Duration::ZERO).await.unwrap();
        let directory = TempDir::new().unwrap();
        Self { number, cast, directory, random: StdRng::seed_from_u64(seed) }
    }

    pub fn database(&self) -> std::path::PathBuf {
        self.directory.path().join("server.db")
    }

    /// One life, which ends at one of these places if it gets there.
    pub async fn live(&mut self, world: &World, places: &[Place]) -> Death {
        let decisions = self.random.random_range(1..=DECISIONS);
        let place = *places.choose(&mut self.random).unwrap();
        let dies_at = (place, self.random.random_range(1..=PASSINGS));
        let limit = LONGEST.mul_f64(self.random.random::<f64>());
        if self.random.random_range(0..FROM_OUTSIDE) == 0 {
            self.run(world, decisions, None, limit).await
        } else {
            self.run(world, decisions, Some(dies_at), HUNG).await
        }
    }

    /// A life of many decisions at once, which nobody ends.
    pub async fn work(&self, world: &World, decisions: u32) {
        assert_eq!(self.run(world, decisions, None, HUNG).await, Death::None);
    }

    /// The last life, which nobody ends.
    pub async fn finish(&mut self, world: &World) {
        assert_eq!(self.run(world, 0, None, HUNG).await, Death::None);
    }

    async fn run(
        &self,
        world: &World,
        decisions: u32,
        dies_at: Option<(Place, u32)>,
        limit: Duration,
    ) -> Death {
        let plan = Plan {
            url: format!("{}/v1", world.post.url()),
            contract: world.contract(),
            database: self.database(),
            lane: self.number,
            decisions,
            dies_at,
            now_seconds: world.now_seconds(),
        };
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "child_lives_until_killed", "--nocapture"])
            .env(VARIABLE, serde_json::to_string(&plan).unwrap())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut output = String::new();
        let mut reader = BufReader::new(process.stdout.take().unwrap());
        let ended = tokio::time::timeout(limit, reader.read_to_string(&mut output)).await;
        if ended.is_err() {
            assert!(limit < HUNG, "server {} hangs: {plan:?}", self.number);
            process.kill().await.unwrap();
            return Death::Sigkill;
        }
        let status = process.wait().await.unwrap();
        let place = output.lines().find_map(|line| line.strip_prefix("died "));
        match place {
            Some(place) => Death::At(serde_json::from_str(place).unwrap()),
            None => {
                assert!(status.success(), "server {}: {status}\n{output}", self.number);
                Death::None
            }
        }
    }
}
