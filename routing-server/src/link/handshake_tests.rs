use super::*;
use crate::chain::OperatorNode;
use cactus_protocol::{
    Address, Feature, Hash, ModelKind, Price, PublicKey, SecretKey,
    frame::{Gpu, HardwareReport},
};

const SCOPE: Scope = Scope { chain_id: 4, contract: Address([9; 32]) };

fn challenge_for(nonce: u8) -> Challenge {
    Challenge {
        protocol_version: PROTOCOL_VERSION,
        chain_id: SCOPE.chain_id,
        contract: SCOPE.contract,
        server: Address([2; 32]),
        nonce: [nonce; 32],
        server_time_ms: 0,
    }
}

fn hello(node: PublicKey) -> Hello {
    Hello {
        protocol_version: PROTOCOL_VERSION,
        nonce: [1; 32],
        server: Address([2; 32]),
        operator: Address([3; 32]),
        node,
        advert: Advert { models: vec![offer("sprout")], slots: 1, queue: 0, region: String::new() },
        hardware: HardwareReport::default(),
        software: "test".into(),
    }
}

fn offer(id: &str) -> ModelOffer {
    ModelOffer {
        id: id.into(),
        revision: Hash([0; 32]),
        context_length: 128,
        price: Price::default(),
        kind: ModelKind::Chat,
        features: vec![Feature::TokenIds],
    }
}

fn check(change: impl FnOnce(&mut Hello), expected: Option<Refusal>) {
    let key = SecretKey::random();
    let mut body = hello(key.public());
    change(&mut body);
    let signed = Signed::new(body, SCOPE, &key).unwrap();
    let refused = check_hello(&challenge_for(1), signed).err();
    assert_eq!(refused.map(|r| r.reason), expected);
}

#[test]
fn an_honest_hello_is_accepted() {
    check(|_| {}, None);
}

#[test]
fn a_hello_for_another_nonce_server_version_or_key_is_refused() {
    check(|h| h.nonce = [2; 32], Some(Refusal::BadSignature));
    check(|h| h.server = Address([7; 32]), Some(Refusal::BadSignature));
    check(|h| h.protocol_version = 9, Some(Refusal::Version));
    let other = SecretKey::random().public();
    check(move |h| h.node = other, Some(Refusal::BadSignature));
}

#[test]
fn an_advert_out_of_bounds_is_refused() {
    let bad = Some(Refusal::BadAdvert);
    check(|h| h.advert.models.clear(), bad);
    check(|h| h.advert.slots = 0, bad);
    check(|h| h.advert.models[0].id.clear(), bad);
    check(|h| h.advert.models[0].context_length = 1, bad);
    check(|h| h.advert.models.push(offer("sprout")), bad);
    check(|h| h.software = "x".repeat(257), bad);
    let too_dear = Octas(MAX_PRICE.0 + 1);
    check(|h| h.advert.models[0].price.output = too_dear, bad);
    let gpu = Gpu { name: "x".repeat(257), memory_bytes: 0, driver: String::new() };
    check(|h| h.hardware.gpus.push(gpu), bad);
}

#[test]
fn the_chain_must_know_the_operator_the_node_and_enough_stake() {
    let node = SecretKey::random().public();
    let refusal =
        |operator| check_operator(&hello(node), operator, Octas(10)).err().map(|r| r.reason);
    let operator = |key, stake| Operator {
        online: true,
        whitelisted: true,
        nodes: vec![OperatorNode { key, validated: true }],
        stake: Octas(stake),
    };
    let refused = Some(Refusal::NotRegistered);
    assert_eq!(refusal(None), refused);
    let stranger = SecretKey::random().public();
    assert_eq!(refusal(Some(operator(stranger, 10))), refused);
    let mut offline = operator(node, 10);
    offline.online = false;
    assert_eq!(refusal(Some(offline)), refused);
    let mut unlisted = operator(node, 10);
    unlisted.whitelisted = false;
    assert_eq!(refusal(Some(unlisted)), refused);
    let mut unchecked = operator(node, 10);
    unchecked.nodes[0].validated = false;
    assert_eq!(refusal(Some(unchecked)), refused);
    let poor = Some(operator(node, 9));
    assert_eq!(refusal(poor), Some(Refusal::StakeTooLow));
    assert_eq!(refusal(Some(operator(node, 10))), None);
}

#[test]
fn an_offer_that_names_a_feature_twice_or_has_impossible_vectors_is_refused() {
    let bad = Some(Refusal::BadAdvert);
    check(|h| h.advert.models[0].features.push(Feature::TokenIds), bad);
    let with = |dimensions| {
        move |h: &mut Hello| h.advert.models[0].kind = ModelKind::Embedding { dimensions }
    };
    check(with(0), bad);
    check(with(384), None);
    check(with(1 << 20), bad);
}
