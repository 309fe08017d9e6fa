//! `cargo xtask contracts publish`: brings the contracts to a network under the publisher's own
//! address and says where they are, or writes the calls down for a multisig owner to propose.
//! Never sends anything to mainnet: see `docs/publishing.md`.

mod chunks;
mod network;
mod package;
mod proposal;
mod report;

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use aptos_sdk::account::Ed25519Account;
use aptos_sdk::types::AccountAddress;
use clap::Args;

use self::network::Network;
use self::package::Package;
use self::report::Report;

#[derive(Args)]
pub struct Options {
    /// `localnet`, `devnet`, `testnet`, or the URL of a node's REST API; `mainnet` to propose
    #[arg(long)]
    network: String,
    /// The publisher's key, as `cactus wallet create` writes it; its address gets the contracts
    #[arg(long, value_name = "FILE", required_unless_present = "propose")]
    key_file: Option<PathBuf>,
    /// Send nothing: write the calls into this folder, for `aptos multisig create-transaction`
    #[arg(long, value_name = "FOLDER", requires = "address", conflicts_with = "key_file")]
    propose: Option<PathBuf>,
    /// The multisig account that will get the contracts
    #[arg(long, requires = "propose")]
    address: Option<String>,
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
    if let (Some(folder), Some(address)) = (&options.propose, &options.address) {
        return runtime.block_on(propose(options, folder, address));
    }
    let report = runtime.block_on(publish(options))?;
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{}", report.as_env());
    }
    Ok(())
}

/// Writes the calls down instead of sending them.
async fn propose(options: &Options, folder: &Path, address: &str) -> anyhow::Result<()> {
    let publisher = AccountAddress::from_hex(address)?;
    let package = Package::for_address(&super::root(), publisher)?;
    if options.rebuild {
        check_rebuild(&package, publisher)?;
    }
    let network = Network::connect(&options.network, None).await?;
    let module = options.large_packages(&network, &package)?;
    for path in proposal::write(folder, &chunks::calls(&package, module)?)? {
        println!("{}", path.display());
    }
    Ok(())
}

impl Options {
    /// The `large_packages` module to go through, if any.
    fn large_packages(
        &self,
        network: &Network,
        package: &Package,
    ) -> anyhow::Result<Option<AccountAddress>> {
        let given = self.large_packages.as_deref().map(AccountAddress::from_hex).transpose()?;
        Ok(given.or_else(|| network.large_packages(package)))
    }
}

async fn publish(options: &Options) -> anyhow::Result<Report> {
    let key_file = options.key_file.as_deref().context("no key file is given")?;
    let key = cactus_ledger::key_file::load(key_file)?;
    let account = Ed25519Account::from_private_key_bytes(key.seed().as_slice())?;
    let publisher = account.address();
    let package = Package::for_address(&super::root(), publisher)?;
    if options.rebuild {
        check_rebuild(&package, publisher)?;
    }
    let network = Network::connect(&options.network, options.faucet_url.as_deref()).await?;
    network.ensure_not_mainnet()?;
    if options.fund {
        network.fund(publisher).await?;
    }
    let published = network.published(publisher, &package).await?;
    let mut transactions = Vec::new();
    if published != package.modules {
        let chunked = options.large_packages(&network, &package)?;
        if let Some(module) = chunked
            && network.has_leftovers(publisher, module).await?
        {
            let cleanup = chunks::clean_up(module);
            transactions.push(network.execute(&account, &cleanup).await?);
        }
        for call in chunks::calls(&package, chunked)? {
            transactions.push(network.execute(&account, &call).await?);
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
