//! Clients that write their transactions in JSON: what the node prints of a transaction is what it
//! takes, and means the same bytes.
#![allow(clippy::unwrap_used)] // A test that cannot go on should panic.

mod support;

use aptos_sdk::account::{
    Account, AnyPrivateKey, Ed25519Account, Ed25519SingleKeyAccount, MultiEd25519Account,
    MultiKeyAccount, Secp256k1Account,
};
use aptos_sdk::crypto::{Ed25519PrivateKey, Secp256k1PrivateKey};
use aptos_sdk::transaction::builder::{
    sign_fee_payer_transaction, sign_multi_agent_transaction, sign_transaction,
};
use aptos_sdk::transaction::types::{
    FeePayerRawTransaction, MultiAgentRawTransaction, SignedTransaction,
};
use serde_json::{Value, json};
use support::{APT, MAX_GAS, Node, raw, somebody, transfer};

async fn post(node: &Node, path: &str, body: &Value) -> (u16, Value) {
    let request = reqwest::Client::new().post(node.url(path)).json(body);
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

/// A transaction that waits for an earlier one is printed, and handed in again as printed.
async fn check_same_in_json(node: &Node, parked: &SignedTransaction) {
    let hash = node.aptos.submit_transaction(parked).await.unwrap().data.hash;
    let printed = node.aptos.fullnode().get_transaction_by_hash(&hash).await.unwrap().data;
    assert_eq!(printed["type"], json!("pending_transaction"));
    let (status, again) = post(node, "/v1/transactions", &printed).await;
    assert_eq!((status, &again), (202, &printed));
    // The same transaction with another expiry has no valid signature.
    let mut changed = printed.clone();
    changed["expiration_timestamp_secs"] = json!("9999999999");
    let (status, refused) = post(node, "/v1/transactions", &changed).await;
    assert_eq!((status, &refused["vm_error_code"]), (400, &json!(1)), "{refused}");
}

async fn check_account(node: &Node, account: &impl Account) {
    node.aptos.fund_account(account.address(), APT).await.unwrap();
    let call = raw(account.address(), 1, transfer(somebody(), 7));
    check_same_in_json(node, &sign_transaction(&call, account).unwrap()).await;
}

fn three_keys() -> Vec<AnyPrivateKey> {
    vec![
        AnyPrivateKey::ed25519(Ed25519PrivateKey::generate()),
        AnyPrivateKey::secp256k1(Secp256k1PrivateKey::generate()),
        AnyPrivateKey::ed25519(Ed25519PrivateKey::generate()),
    ]
}

#[tokio::test]
async fn what_is_printed_of_a_transaction_can_be_handed_in() {
    let node = Node::start();
    check_account(&node, &Ed25519Account::generate()).await;
    check_account(&node, &Ed25519SingleKeyAccount::generate()).await;
    check_account(&node, &Secp256k1Account::generate()).await;
    let keys = (0..3).map(|_| Ed25519PrivateKey::generate()).collect();
    check_account(&node, &MultiEd25519Account::new(keys, 2).unwrap()).await;
    check_account(&node, &MultiKeyAccount::new(three_keys(), 2).unwrap()).await;
    node.stop().await;
}

#[tokio::test]
async fn several_signers_can_be_written_in_json() {
    let node = Node::start();
    let (alice, bob) = (node.funded(APT).await, node.funded(APT).await);
    let call = || raw(alice.address(), 1, transfer(somebody(), 7));
    let together = MultiAgentRawTransaction::new(call(), vec![bob.address()]);
    let together = sign_multi_agent_transaction(&together, &alice, &[&bob]).unwrap();
    check_same_in_json(&node, &together).await;
    let carol = node.funded(APT).await;
    let call = raw(carol.address(), 1, transfer(somebody(), 7));
    let sponsored = FeePayerRawTransaction::new(call, Vec::new(), bob.address());
    let sponsored = sign_fee_payer_transaction(&sponsored, &carol, &[], &bob).unwrap();
    check_same_in_json(&node, &sponsored).await;
    node.stop().await;
}

fn request(sender: &Ed25519Account, more: &Value) -> Value {
    let expiry = raw(sender.address(), 0, transfer(somebody(), 1)).expiration_timestamp_secs;
    let mut request = json!({
        "sender": sender.address().to_string(),
        "max_gas_amount": MAX_GAS.to_string(),
        "gas_unit_price": "100",
        "expiration_timestamp_secs": expiry.to_string(),
        "payload": { "type": "entry_function_payload", "function": "0x1::aptos_account::transfer",
            "type_arguments": [], "arguments": [somebody().to_string(), "7"] },
    });
    request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    request
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold("0x".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}

/// Has the node encode a transaction, signs that, and hands the transaction in, all in JSON.
async fn send_in_json(node: &Node, sender: &Ed25519Account, more: &Value) -> (u16, Value) {
    let mut request = request(sender, more);
    let (status, message) = post(node, "/v1/transactions/encode_submission", &request).await;
    assert_eq!(status, 200, "{message}");
    let digits = message.as_str().unwrap().trim_start_matches("0x");
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    let message: Vec<u8> = (0..digits.len()).step_by(2).map(byte).collect();
    request["signature"] = json!({
        "type": "ed25519_signature",
        "public_key": hexadecimal(&sender.public_key_bytes()),
        "signature": hexadecimal(&Account::sign(sender, &message).unwrap()),
    });
    post(node, "/v1/transactions", &request).await
}

#[tokio::test]
async fn a_client_without_bcs_sends_money() {
    let node = Node::start();
    let alice = node.funded(APT).await;
    for more in [json!({ "sequence_number": "0" }), json!({ "replay_protection_nonce": "77" })] {
        let (status, pending) = send_in_json(&node, &alice, &more).await;
        assert_eq!(status, 202, "{pending}");
        let wait = node.url("/v1/transactions/wait_by_hash/") + pending["hash"].as_str().unwrap();
        let done: Value = reqwest::get(wait).await.unwrap().json().await.unwrap();
        assert_eq!(done["success"], json!(true), "{done}");
    }
    assert_eq!(node.aptos.get_balance(somebody()).await.unwrap(), 14);
    let (status, again) = send_in_json(&node, &alice, &json!({ "sequence_number": "0" })).await;
    assert_eq!((status, &again["vm_error_code"]), (400, &json!(3)));
    node.stop().await;
}

#[tokio::test]
async fn a_transaction_in_json_is_simulated_without_a_signature() {
    let node = Node::start();
    let alice = node.funded(APT).await;
    let zeros = |count: usize| format!("0x{}", "00".repeat(count));
    let mut simulated = request(&alice, &json!({ "sequence_number": "0" }));
    simulated["signature"] = json!({ "type": "ed25519_signature",
        "public_key": hexadecimal(&alice.public_key_bytes()), "signature": zeros(64) });
    let (status, answer) = post(&node, "/v1/transactions/simulate", &simulated).await;
    assert_eq!((status, &answer[0]["success"]), (200, &json!(true)), "{answer}");
    node.stop().await;
}

#[tokio::test]
async fn what_is_missing_or_of_no_kind_is_named() {
    let node = Node::start();
    let alice = node.funded(APT).await;
    let cases = [
        (json!({ "signature": { "type": "no_account_signature" } }), "sequence_number"),
        (json!({ "sequence_number": "0" }), "signature"),
        (
            json!({ "sequence_number": "0", "signature": { "type": "rubber_stamp" } }),
            "rubber_stamp",
        ),
        (
            json!({ "sequence_number": "x", "signature": { "type": "no_account_signature" } }),
            "digit",
        ),
    ];
    for (more, named) in cases {
        let (status, answer) = post(&node, "/v1/transactions", &request(&alice, &more)).await;
        let message = answer["message"].as_str().unwrap();
        assert!(status == 400 && message.contains(named), "{named}: {answer}");
    }
    node.stop().await;
}

#[tokio::test]
async fn a_resource_is_also_answered_in_bcs() {
    let node = Node::start();
    let alice = node.funded(APT).await;
    node.run(&alice, transfer(somebody(), 1)).await.unwrap();
    let url = node.url(&format!("/v1/accounts/{}/resource/0x1::account::Account", alice.address()));
    let request = reqwest::Client::new().get(url).header("accept", "application/x-bcs");
    let bytes = request.send().await.unwrap().bytes().await.unwrap();
    let (key, sequence_number, _): (Vec<u8>, u64, u64) = aptos_bcs::from_bytes(&bytes).unwrap();
    assert_eq!((key.as_slice(), sequence_number), (alice.address().to_bytes().as_slice(), 1));
    node.stop().await;
}
