//! The outbox of a routing server, killed as a process some hundreds of times while it carries
//! payments to a real local chain over HTTP: at every point where something outlives the process,
//! and at random moments, over a network that delivers some submissions late. In the end each intent happened exactly once, and the chain's balances
//! are right to the octa.
//!
//! `CACTUS_KILLS` is how many lives each of the routing servers gets, `CACTUS_KILLS_SEED` repeats
//! a run's decisions: which points, which moments, what is decided. It does not repeat the
//! operating system's timing.
#![allow(clippy::unwrap_used)] // A test that cannot go on should panic.

mod child;
mod lane;
mod plan;
mod post;
mod verdict;
mod world;

use std::collections::BTreeMap;
use std::time::Instant;

use cactus_ledger::outbox::Point;
use rand::{RngExt, SeedableRng, rngs::StdRng};

use lane::{Death, Lane};
use plan::Place;
use world::World;

/// Routing servers that live and die at the same time, each with its own key and database.
const LANES: u8 = 4;
/// Lives of each, unless `CACTUS_KILLS` says otherwise.
const LIVES: u32 = 90;
/// Once in so many rounds the chain's time leaps past the expiry of all that was signed.
const LEAP_EVERY: u32 = 6;

/// What a round is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Season {
    Usual,
    /// Processes leave signed transactions behind that nobody sent.
    BeforeLeap,
    /// Those are expired.
    AfterLeap,
}

impl Season {
    fn of(round: u32) -> Self {
        match LEAP_EVERY - round % LEAP_EVERY {
            2 => Self::BeforeLeap,
            1 => Self::AfterLeap,
            _ => Self::Usual,
        }
    }

    /// Where processes die.
    fn places(self) -> Vec<Place> {
        let releasing = [Point::BeforeReleasing, Point::AfterReleasing].map(Place::of);
        match self {
            Self::Usual => Place::all().filter(|place| !releasing.contains(place)).collect(),
            Self::BeforeLeap => {
                [Point::AfterStoring, Point::BeforeSubmitting].map(Place::of).into()
            }
            Self::AfterLeap => releasing.into(),
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap())
}

#[test]
#[ignore = "the process that the other test starts and kills"]
fn child_lives_until_killed() {
    child::run();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payments_of_a_busy_server_share_transactions() {
    let world = World::start(1).await;
    let lane = Lane::found(&world, 0, 1).await;
    let lanes = [lane];
    let before = verdict::Balances::read(&world, &lanes).await;
    let started = Instant::now();
    lanes[0].work(&world, 240).await;
    let elapsed = started.elapsed().as_secs_f64();
    world.post.deliver().await;
    let summary = verdict::reach(&world, &lanes, before).await;
    println!("{elapsed:.1} s: {summary}");
    assert!(summary.shares_transactions(), "{summary}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_anywhere_pays_everyone_exactly_once() {
    let seed = number("CACTUS_KILLS_SEED").unwrap_or_else(rand::random);
    let lives = number("CACTUS_KILLS").map_or(LIVES, |lives| u32::try_from(lives).unwrap());
    println!("CACTUS_KILLS_SEED={seed} CACTUS_KILLS={lives}");
    let started = Instant::now();
    let mut world = World::start(seed).await;
    let mut random = StdRng::seed_from_u64(seed);
    let mut lanes = Vec::new();
    for number in 0..LANES {
        lanes.push(Lane::found(&world, number, random.random()).await);
    }
    let before = verdict::Balances::read(&world, &lanes).await;
    let mut deaths: BTreeMap<Death, u32> = BTreeMap::new();
    for round in 0..lives {
        let season = Season::of(round);
        if season == Season::AfterLeap {
            world.leap().await;
        }
        let places = season.places();
        let round = lanes.iter_mut().map(|lane| lane.live(&world, &places));
        let round = futures::future::join_all(round);
        // What was late may arrive while others live, or after them.
        let (round, ()) = futures::join!(round, world.post.deliver());
        for death in round {
            *deaths.entry(death).or_default() += 1;
        }
    }
    for lane in &mut lanes {
        lane.finish(&world).await;
    }
    world.post.deliver().await;
    let summary = verdict::reach(&world, &lanes, before).await;
    let kills: u32 =
        deaths.iter().filter(|(death, _)| **death != Death::None).map(|one| one.1).sum();
    let (late, unanswered) = world.post.faults();
    println!("{late} submissions arrived late, {unanswered} were not answered");
    assert!(lives < LIVES || (late > 0 && unanswered > 0), "the network was too good");
    println!("{kills} kills in {:.1} s: {deaths:?}; {summary}", started.elapsed().as_secs_f64());
    if lives >= LIVES {
        let places = Place::all().map(Death::At).chain([Death::Sigkill]);
        let missed: Vec<_> = places.filter(|at| !deaths.contains_key(at)).collect();
        assert!(missed.is_empty(), "nobody was killed at {missed:?}");
        assert!(summary.shares_transactions(), "no payments shared a transaction");
    }
}
