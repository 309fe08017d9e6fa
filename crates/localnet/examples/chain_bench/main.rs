//! Measures a chain on this machine and prints JSON: `speed COUNT` (transfers and settlements per
//! second, and how long a commit takes at a given load), `boot COUNT` (the time to the first answer
//! with that many transactions on disk, after a clean stop and after a kill), `soak MINUTES`
//! (memory under load, one line a minute). `serve DIRECTORY` is the chain's own process for the
//! latter two. `cargo xtask bench` runs all of them; for one core, put `taskset -c 0` in front.
//! Judges nothing.
#![allow(clippy::unwrap_used)] // A measurement that cannot go on should say where.

mod boot;
mod http;
mod network;
mod process;
mod soak;
mod speed;
mod workload;

use std::path::Path;

#[tokio::main]
async fn main() {
    // The SDK installs the TLS provider that reqwest asks for even without TLS.
    drop(aptos_sdk::Aptos::local().unwrap());
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["speed", count] => speed::run(count.parse().unwrap()).await,
        ["boot", count] => boot::run(count.parse().unwrap()).await,
        ["soak", minutes] => soak::run(minutes.parse().unwrap()).await,
        ["serve", directory] => process::serve(Path::new(directory)).await,
        _ => panic!("arguments: speed COUNT | boot COUNT | soak MINUTES | serve DIRECTORY"),
    }
}
