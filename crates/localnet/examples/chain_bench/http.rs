//! Transactions over HTTP, as clients send them.

use serde_json::{Value, json};
use std::time::Duration;

/// A node's API.
#[derive(Clone)]
pub struct Api {
    client: reqwest::Client,
    root: String,
}

impl Api {
    pub fn new(root: &str) -> Self {
        Self { client: reqwest::Client::new(), root: root.to_owned() }
    }

    /// Waits until the node answers.
    pub async fn first_answer(&self) {
        let answer = self.client.get(format!("{}/v1", self.root)).send().await.unwrap();
        assert!(answer.status().is_success());
    }

    /// The last version.
    pub async fn version(&self) -> u64 {
        let answer = self.client.get(format!("{}/v1", self.root)).send().await.unwrap();
        let body: Value = answer.json().await.unwrap();
        body["ledger_version"].as_str().unwrap().parse().unwrap()
    }

    /// Gives an account coins and waits until it has them.
    pub async fn fund(&self, address: aptos_sdk::types::AccountAddress, octas: u64) {
        let url = format!("{}/mint?address={address}&amount={octas}", self.root);
        let answer = self.client.post(url).send().await.unwrap();
        assert!(answer.status().is_success());
    }

    /// Hands a transaction in, again while the mempool is full or when the connection broke, as a
    /// careful client does; answers its hash.
    pub async fn submit(&self, signed: &[u8]) -> String {
        loop {
            let request = self
                .client
                .post(format!("{}/v1/transactions", self.root))
                .header("content-type", "application/x.aptos.signed_transaction+bcs")
                .body(signed.to_vec());
            let answer = match request.send().await {
                Ok(answer) => answer,
                Err(error) => {
                    eprintln!("{error:?}");
                    continue;
                }
            };
            if answer.status().as_u16() == 507 {
                tokio::time::sleep(Duration::from_millis(1)).await;
                continue;
            }
            let status = answer.status();
            let body: Value = answer.json().await.unwrap();
            assert_eq!(status, 202, "{body}");
            return body["hash"].as_str().unwrap().to_owned();
        }
    }

    /// Waits until a transaction is durable; it must have succeeded.
    pub async fn committed(&self, hash: &str) {
        loop {
            let url = format!("{}/v1/transactions/wait_by_hash/{hash}", self.root);
            let found: Value = self.client.get(url).send().await.unwrap().json().await.unwrap();
            if found["type"] == "user_transaction" {
                assert_eq!(found["success"], json!(true), "{}", found["vm_status"]);
                return;
            }
        }
    }

    /// Hands a transaction in and waits until it is durable.
    pub async fn run(&self, signed: &[u8]) {
        let hash = self.submit(signed).await;
        self.committed(&hash).await;
    }
}
