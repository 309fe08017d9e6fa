//! What was published where, as JSON and as lines for a shell. Never holds a key.

use std::fmt::Write;

use aptos_sdk::types::AccountAddress;
use serde::Serialize;

use super::network::Network;
use super::package::Package;

/// A transaction that was committed.
#[derive(Serialize)]
pub struct Transaction {
    pub hash: String,
    pub gas_octas: u64,
}

/// The outcome of a publication.
#[derive(Serialize)]
pub struct Report {
    network: String,
    chain_id: u8,
    chain_url: String,
    contract: String,
    admin: String,
    modules: Vec<String>,
    /// Whether modules were there before.
    upgraded: bool,
    /// None if the chain held these very modules already.
    transactions: Vec<Transaction>,
    gas_octas: u64,
}

impl Report {
    pub fn new(
        network: &Network,
        contract: AccountAddress,
        admin: String,
        package: &Package,
        upgraded: bool,
        transactions: Vec<Transaction>,
    ) -> Self {
        Self {
            network: network.name.clone(),
            chain_id: network.chain_id,
            chain_url: network.url.clone(),
            contract: contract.to_long_string(),
            admin,
            modules: package.order.clone(),
            upgraded,
            gas_octas: transactions.iter().map(|one| one.gas_octas).sum(),
            transactions,
        }
    }

    /// Assignments that the programs of this project read, and comments.
    pub fn as_env(&self) -> String {
        let mut text = String::new();
        let what = match (self.transactions.is_empty(), self.upgraded) {
            (true, _) => "unchanged",
            (false, true) => "upgraded",
            (false, false) => "published",
        };
        let count = self.modules.len();
        let _ =
            writeln!(text, "# {} (chain {}): {count} modules {what}", self.network, self.chain_id);
        let _ = writeln!(text, "# admin {}, gas {} octas", self.admin, self.gas_octas);
        for transaction in &self.transactions {
            let _ = writeln!(text, "# transaction {}", transaction.hash);
        }
        for program in ["CACTUS", "CACTUS_ROUTER", "CACTUS_ORCHESTRATOR"] {
            let _ = writeln!(text, "{program}_CHAIN_URL={}", self.chain_url);
            let _ = writeln!(text, "{program}_CONTRACT={}", self.contract);
        }
        text
    }
}
