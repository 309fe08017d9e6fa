//! The conformance suite of the Rust SDK: drives a running localnet and prints one JSON object per
//! case. `scripts/conformance` starts it. Never starts a chain and never reads a chain's files.

mod cases;
mod keys;
mod shared;
mod signers;
mod state;
mod world;

use std::sync::Arc;

use serde_json::json;
use world::{APT, Cases, Outcome, World};

/// Arguments: the chain's URL, the faucet's, the contracts' address, the folder of the shared cases.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [chain, faucet, _contract, folder] = arguments.as_slice() else {
        return Err("arguments: CHAIN_URL FAUCET_URL CONTRACT FOLDER".into());
    };
    let world = Arc::new(World::new(chain, faucet, folder)?);
    world.aptos.fund_account(world.me.address(), 1_000 * APT).await?;
    let mut cases = Cases::default();
    shared::add(&mut cases, &world)?;
    cases::add(&mut cases);
    signers::add(&mut cases);
    keys::add(&mut cases);
    state::add(&mut cases);
    for case in cases.0 {
        let outcome = (case.run)(Arc::clone(&world)).await;
        let detail = outcome.err().map(|error| error.to_string()).unwrap_or_default();
        let ok = detail.is_empty();
        let line = json!({ "area": case.area, "name": case.name, "ok": ok, "detail": detail });
        println!("{line}");
    }
    println!("end");
    Ok(())
}
