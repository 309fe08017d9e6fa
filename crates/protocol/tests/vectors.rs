//! The golden vectors of signed messages. The same file is read by Python and TypeScript in
//! `scripts/vectors-test`, and the Move test must hold the same signatures.

#![allow(clippy::unwrap_used)]

use cactus_protocol::chain_message::{self, ChainMessage, Invite, NodeKeyProof, Order, Voucher};
use cactus_protocol::frame::{Advert, Feature, Gpu, HardwareReport, Hello, ModelKind, ModelOffer};
use cactus_protocol::{
    Address, Canonical, Hash, Octas, OrderId, Price, Receipt, RequestClaim, Scope, SecretKey,
    Signed, TaskId,
};
use serde_json::Value;
use sha3::{Digest, Sha3_256};

const MOVE_TEST: &str = include_str!("../../../contracts/tests/signing_tests.move");

/// The well-known localnet key, whose account is the contract's.
fn key() -> SecretKey {
    SecretKey::from_seed(&Sha3_256::digest("cactus::localnet::admin").into())
}

fn scope() -> Scope {
    Scope { chain_id: 4, contract: key().address() }
}

/// The address that ends in `last`.
fn small(last: u16) -> Address {
    let mut bytes = [0; 32];
    bytes[30..].copy_from_slice(&last.to_be_bytes());
    Address(bytes)
}

fn vector(name: &str) -> Value {
    let vectors: Value = serde_json::from_str(include_str!("vectors.json")).unwrap();
    assert_eq!(vectors["public_key"], hex::encode(key().public().0));
    let messages = vectors["messages"].as_array().unwrap();
    messages.iter().find(|vector| vector["name"] == name).unwrap().clone()
}

fn check_chain_message<T: ChainMessage>(message: &T) {
    let vector = vector(T::NAME);
    let bytes = chain_message::signing_bytes(message, scope().contract).unwrap();
    assert_eq!(vector["signed_bytes"], hex::encode(bytes));
    let signature = chain_message::sign(message, scope().contract, &key()).unwrap();
    let signature = hex::encode(signature.0);
    assert_eq!(vector["signature"], signature);
    assert!(MOVE_TEST.contains(&signature), "the Move test has another {}", T::NAME);
}

/// Ed25519 is deterministic: the same signature means the same bytes.
fn check_envelope<T: Canonical>(name: &str, message: T) {
    let signed = Signed::new(message, scope(), &key()).unwrap();
    let bytes = aptos_bcs::to_bytes(&signed).unwrap();
    let signature = &bytes[bytes.len() - 64..];
    assert_eq!(vector(name)["signature"], hex::encode(signature));
}

fn price() -> Price {
    Price { prompt: Octas(500), output: Octas(1_500) }
}

#[test]
fn an_order_is_as_in_the_vectors() {
    check_chain_message(&Order {
        chain_id: 4,
        client: scope().contract,
        server: small(0x5e1),
        order_id: OrderId([1; 32]),
        max_total: Octas(600),
        max_per_task: Octas(300),
        expires_seconds: 1_700_001_000,
    });
}

#[test]
fn a_node_key_proof_is_as_in_the_vectors() {
    let node_public_key = key().public();
    check_chain_message(&NodeKeyProof { chain_id: 4, operator: small(0x0c1), node_public_key });
}

#[test]
fn a_voucher_is_as_in_the_vectors() {
    let (channel, payee) = (small(0xc4a), small(0x5e1));
    check_chain_message(&Voucher { chain_id: 4, channel, payee, cumulative: Octas(700) });
}

#[test]
fn an_invite_is_as_in_the_vectors() {
    check_chain_message(&Invite {
        chain_id: 4,
        pool: small(0xc4a),
        operator: small(0x0c1),
        node_public_key: key().public(),
        nonce: vec![1; 32],
        expires_seconds: 1_700_001_000,
    });
}

#[test]
fn a_request_claim_is_as_in_the_vectors() {
    let claim = RequestClaim {
        client: scope().contract,
        server: small(0x5e1),
        method: "POST".to_owned(),
        path: "/v1/chat/completions".to_owned(),
        body_hash: Hash([2; 32]),
        nonce: [3; 16],
        time_ms: 1_700_000_000_123,
    };
    check_envelope("RequestClaim", claim);
}

#[test]
fn a_hello_is_as_in_the_vectors() {
    let model = ModelOffer {
        id: "sprout".to_owned(),
        revision: Hash([5; 32]),
        context_length: 512,
        price: price(),
        kind: ModelKind::Chat,
        features: vec![Feature::TokenIds, Feature::Logprobs],
    };
    let embedder = ModelOffer {
        id: "minilm".to_owned(),
        kind: ModelKind::Embedding { dimensions: 384 },
        features: vec![],
        ..model.clone()
    };
    let gpu =
        Gpu { name: "H200".to_owned(), memory_bytes: 150_754_820_096, driver: "570.1".to_owned() };
    let hello = Hello {
        protocol_version: 2,
        nonce: [4; 32],
        server: small(0x5e1),
        operator: small(0x0c1),
        node: key().public(),
        advert: Advert {
            models: vec![model, embedder],
            slots: 4,
            queue: 8,
            region: "eu-west é".to_owned(),
        },
        hardware: HardwareReport {
            cpu: "cpu".to_owned(),
            cores: 16,
            memory_bytes: 137_438_953_472,
            gpus: vec![gpu],
        },
        software: "cactus-orchestrator 0.1.0".to_owned(),
    };
    check_envelope("Hello", hello);
}

#[test]
fn every_vector_is_checked_here() {
    let vectors: Value = serde_json::from_str(include_str!("vectors.json")).unwrap();
    let names = vectors["messages"].as_array().unwrap().iter().map(|vector| &vector["name"]);
    let names: Vec<&str> = names.map(|name| name.as_str().unwrap()).collect();
    let checked =
        ["Order", "NodeKeyProof", "Voucher", "Invite", "RequestClaim", "Hello", "Receipt"];
    assert_eq!(names, checked);
}

#[test]
fn a_receipt_is_as_in_the_vectors() {
    let receipt = Receipt {
        task_id: TaskId([6; 32]),
        server: small(0x5e1),
        operator: small(0x0c1),
        node: key().public(),
        model: "sprout".to_owned(),
        model_revision: Hash([5; 32]),
        request_hash: Hash([7; 32]),
        output_hash: Hash([8; 32]),
        prompt_tokens: 21,
        output_tokens: 34,
        started_ms: 1_700_000_000_456,
        ttft_ms: 55,
        total_ms: 890,
        delegate: None,
        evidence_root: Hash([0; 32]),
        price: price(),
    };
    check_envelope("Receipt", receipt);
}
