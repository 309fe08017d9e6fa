//! `cargo xtask contracts publish`: brings the contracts to a network under the publisher's own
//! address and says where they are. Never publishes on mainnet: there the owner is a multisig
//! account, see `docs/publishing.md`.

mod chunks;
mod network;
mod package;
mod report;

use std::path::PathBuf;

use anyhow::{Context, ensure};
use aptos_sdk::account::Ed25519Account;
use aptos_sdk::types::AccountAddress;
use clap::Args;

use self::network::Network;
use self::package::Package;
use self::report::Report;

#[derive(Args)]
pub struct Options {
    /// `localnet`, `devnet`, `testnet`, or the URL of a node's REST API
    #[arg(long)]
    network: String,
    /// The publisher's key, as `cactus wallet create` writes it; its address gets the contracts
    #[arg(long, value_name = "FILE")]
    key_file: PathBuf,
    /// Ask the network's faucet for APT first if the publisher has less than 1 APT
    #[arg(long)]
    fund: bool,
    /// The faucet, for a network given by URL
    #[arg(long, value_name = "URL")]
    faucet_url: Option<String>,
    /// Compile the sources for this address as well and refuse if the result differs
    #[arg(long)]
    rebuild: bool,
    /// Publish in chunks through the `large_packages` module at this address, whatever the size
    #[arg(long, value_name = "ADDRESS")]
    large_packages: Option<String>,
    /// Print one JSON document instead of lines for a shell
    #[arg(long)]
    json: bool,
}

pub fn run(options: &Options) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(publish(options))?;
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{}", report.as_env());
    }
    Ok(())
}

async fn publish(options: &Options) -> anyhow::Result<Report> {
    let key = cactus_ledger::key_file::load(&options.key_file)?;
    let account = Ed25519Account::from_private_key_bytes(key.seed().as_slice())?;
    let publisher = account.address();
    let package = Package::for_address(&super::root(), publisher)?;
    if options.rebuild {
        check_rebuild(&package, publisher)?;
    }
    let network = Network::connect(&options.network, options.faucet_url.as_deref()).await?;
    if options.fund {
        network.fund(publisher).await?;
    }
    let published = network.published(publisher, &package).await?;
    let mut transactions = Vec::new();
    if published != package.modules {
        let chunked =
            options.large_packages.as_deref().map(AccountAddress::from_hex).transpose()?;
        let chunked = chunked.or_else(|| network.large_packages(&package));
        if let Some(module) = chunked
            && network.has_leftovers(publisher, module).await?
        {
            let cleanup = chunks::clean_up(module)?;
            transactions.push(network.execute(&account, cleanup).await?);
        }
        for payload in chunks::payloads(&package, chunked)? {
            transactions.push(network.execute(&account, payload).await?);
        }
        let now = network.published(publisher, &package).await?;
        ensure!(now == package.modules, "the chain holds other modules than were sent");
    }
    let admin = network.admin(publisher).await?;
    let upgraded = !published.is_empty();
    Ok(Report::new(&network, publisher, admin, &package, upgraded, transactions))
}

/// The committed bytecode, moved to `publisher`, is what the compiler makes for that address.
fn check_rebuild(package: &Package, publisher: AccountAddress) -> anyhow::Result<()> {
    let files = super::compile_at(&publisher.to_long_string())?;
    for (name, bytes) in &package.modules {
        let rebuilt = files.get(&format!("cactus/{name}.mv"));
        let rebuilt = rebuilt.with_context(|| format!("the sources have no module {name}"))?;
        ensure!(rebuilt == bytes, "the module {name} differs from a rebuild of the sources");
    }
    Ok(())
}
