//! A network that gets the contracts, through aptos-sdk. Never decides what is published.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use aptos_sdk::account::Ed25519Account;
use aptos_sdk::transaction::{TransactionBuilder, TransactionPayload};
use aptos_sdk::types::{AccountAddress, ChainId};
use aptos_sdk::{Aptos, AptosConfig, AptosError};
use serde_json::Value;

use super::chunks::{CHUNK_MAX, Call};
use super::package::Package;
use super::report::Transaction;

const MAINNET_CHAIN_ID: u8 = 1;
const TESTNET_CHAIN_ID: u8 = 2;
const LOCALNET_CHAIN_ID: u8 = 4;
/// Where `cactus up` and `cactus localnet` serve unless told otherwise: REST API and faucet.
const LOCALNET_URL: &str = "http://127.0.0.1:8788/v1";
/// Most gas units of one transaction on Aptos.
const GAS_UNITS_MAX: u64 = 2_000_000;
const OCTAS_PER_APT: u64 = 100_000_000;
/// Seconds that a transaction has to commit; after them it never will.
const EXPIRY_SECONDS: u64 = 120;
/// How long to ask for a transaction: until it is committed or dead, and some time for a slow node.
const PATIENCE: Duration = Duration::from_secs(EXPIRY_SECONDS + 30);
/// Where Aptos keeps `large_packages`: on mainnet and testnet, and elsewhere.
const LARGE_PACKAGES: [&str; 2] =
    ["0x0e1ca3011bdd07246d4d16d909dbb2d6953a86c4735d5acf5865d962c630cce7", "0x7"];

/// A node that answered.
pub struct Network {
    /// As the user named it.
    pub name: String,
    /// The node's REST API.
    pub url: String,
    /// Which chain it is.
    pub chain_id: u8,
    aptos: Aptos,
}

impl Network {
    /// Asks the node which chain it is. Refuses a node of another network than was asked for.
    pub async fn connect(name: &str, faucet_url: Option<&str>) -> anyhow::Result<Self> {
        let (mut config, expected) = match name {
            "devnet" => (AptosConfig::devnet(), None),
            "testnet" => (AptosConfig::testnet(), Some(TESTNET_CHAIN_ID)),
            "localnet" => (AptosConfig::custom(LOCALNET_URL)?, Some(LOCALNET_CHAIN_ID)),
            url if url.contains("://") => (AptosConfig::custom(url)?, None),
            "mainnet" => (AptosConfig::mainnet(), Some(MAINNET_CHAIN_ID)),
            other => bail!("{other} is no network: say localnet, devnet, testnet or a URL"),
        };
        let faucet_url =
            faucet_url.or((name == "localnet").then(|| LOCALNET_URL.trim_end_matches("/v1")));
        if let Some(url) = faucet_url {
            config = config.with_faucet_url(url)?;
        }
        let url = config.fullnode_url().to_string();
        let aptos = Aptos::new(config)?;
        let answer = aptos.fullnode().get_ledger_info().await;
        let chain_id = answer.with_context(|| format!("no node answers at {url}"))?.data.chain_id;
        ensure!(
            expected.is_none_or(|expected| expected == chain_id),
            "{url} is chain {chain_id}, not {name}"
        );
        Ok(Self { name: name.to_owned(), url, chain_id, aptos })
    }

    /// Contracts on mainnet belong to several people, none of whom publishes alone.
    pub fn ensure_not_mainnet(&self) -> anyhow::Result<()> {
        ensure!(
            self.chain_id != MAINNET_CHAIN_ID,
            "{} is mainnet, where a multisig account publishes: see docs/publishing.md",
            self.url
        );
        Ok(())
    }

    /// Has the faucet bring an account to at least 1 APT.
    pub async fn fund(&self, account: AccountAddress) -> anyhow::Result<()> {
        if self.balance(account).await? < OCTAS_PER_APT {
            let funded = self.aptos.fund_account(account, 5 * OCTAS_PER_APT).await;
            funded.with_context(|| format!("the faucet gave {account} nothing"))?;
        }
        Ok(())
    }

    async fn balance(&self, account: AccountAddress) -> anyhow::Result<u64> {
        Ok(self.aptos.get_balance(account).await?)
    }

    /// The modules of the package that are there already, by name.
    pub async fn published(
        &self,
        publisher: AccountAddress,
        package: &Package,
    ) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
        let mut found = BTreeMap::new();
        for name in &package.order {
            match self.aptos.fullnode().get_account_module(publisher, name).await {
                Ok(module) => {
                    let digits = module.data.bytecode;
                    let bytes = hex::decode(digits.trim_start_matches("0x"))?;
                    found.insert(name.clone(), bytes);
                }
                Err(AptosError::Api { status_code: 404, .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(found)
    }

    /// Where the package goes through if one transaction cannot carry it.
    pub fn large_packages(&self, package: &Package) -> Option<AccountAddress> {
        if package.size() <= CHUNK_MAX {
            return None;
        }
        let [public, elsewhere] = LARGE_PACKAGES;
        let address = if self.chain_id <= TESTNET_CHAIN_ID { public } else { elsewhere };
        AccountAddress::from_hex(address).ok()
    }

    /// Whether an interrupted publication left something in the staging area.
    pub async fn has_leftovers(
        &self,
        publisher: AccountAddress,
        module: AccountAddress,
    ) -> anyhow::Result<bool> {
        let area = format!("{module}::large_packages::StagingArea");
        match self.aptos.fullnode().get_account_resource(publisher, &area).await {
            Ok(_) => Ok(true),
            Err(AptosError::Api { status_code: 404, .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Signs, sends and waits. An error after sending names the transaction.
    pub async fn execute(
        &self,
        account: &Ed25519Account,
        call: &Call,
    ) -> anyhow::Result<Transaction> {
        let sender = account.address();
        let price = self.aptos.fullnode().estimate_gas_price().await?.data.recommended();
        let affordable = self.balance(sender).await? / price.max(1);
        ensure!(
            affordable > 0,
            "{sender} has no APT on {}: fund it, or try --fund where there is a faucet",
            self.name
        );
        let signed = TransactionBuilder::new()
            .sender(sender)
            .sequence_number(self.sequence_number(sender).await?)
            .payload(TransactionPayload::EntryFunction(call.entry_function()?))
            .max_gas_amount(GAS_UNITS_MAX.min(affordable))
            .gas_unit_price(price)
            .chain_id(ChainId::new(self.chain_id))
            .expiration_from_now(EXPIRY_SECONDS)
            .build_and_sign(account)?;
        let hash = signed.hash()?.to_hex();
        let done = self.aptos.submit_and_wait(&signed, Some(PATIENCE)).await;
        let done = done.with_context(|| format!("transaction {hash}"))?.data;
        ensure!(done["success"] == Value::Bool(true), "transaction {hash}: {}", done["vm_status"]);
        let gas_units = done["gas_used"].as_str().and_then(|text| text.parse::<u64>().ok());
        let gas_octas = gas_units.and_then(|units| units.checked_mul(price));
        let gas_octas = gas_octas.with_context(|| format!("transaction {hash} has no gas"))?;
        Ok(Transaction { hash, gas_octas })
    }

    async fn sequence_number(&self, account: AccountAddress) -> anyhow::Result<u64> {
        match self.aptos.get_sequence_number(account).await {
            // An account that only ever received has no resource yet.
            Err(AptosError::Api { status_code: 404, .. }) => Ok(0),
            other => Ok(other?),
        }
    }

    /// Who administers the contracts: shows that they were initialised.
    pub async fn admin(&self, publisher: AccountAddress) -> anyhow::Result<String> {
        let function = format!("{publisher}::config::admin");
        let values = self.aptos.view(&function, Vec::new(), Vec::new()).await?;
        let admin = values.first().and_then(Value::as_str);
        Ok(admin.context("the contracts name no admin")?.to_owned())
    }
}
