use super::*;
use cactus_protocol::{Octas, SecretKey};

const SCOPE: Scope = Scope { chain_id: 4, contract: Address([9; 32]) };

fn honest(node: &SecretKey) -> (Observation, Receipt) {
    let price = Price { prompt: Octas(10), output: Octas(20) };
    let observed = Observation {
        task_id: TaskId([1; 32]),
        server: Address([2; 32]),
        operator: Address([3; 32]),
        node: node.public(),
        model: "sprout".into(),
        model_revision: Hash([4; 32]),
        price,
        request_hash: Hash([5; 32]),
        prompt_tokens_bound: 100,
        max_tokens: 64,
        context_length: 512,
        finish_reason: FinishReason::Stop,
        stopped: false,
        output_hash: Hash([6; 32]),
        delivered_tokens: 30,
        unknown_tokens: 0,
        token_ids_promised: true,
        text_bytes: 90,
        first_delta_after: Some(Duration::from_millis(40)),
        done_after: Duration::from_millis(900),
    };
    let receipt = Receipt {
        task_id: observed.task_id,
        server: observed.server,
        operator: observed.operator,
        node: observed.node,
        model: observed.model.clone(),
        model_revision: observed.model_revision,
        request_hash: observed.request_hash,
        output_hash: observed.output_hash,
        prompt_tokens: 20,
        output_tokens: 30,
        started_ms: 1_700_000_000_000,
        ttft_ms: 30,
        total_ms: 880,
        delegate: None,
        evidence_root: Hash::default(),
        price,
    };
    (observed, receipt)
}

/// An honest task with `change` applied to both sides' claims, checked.
fn check(change: impl FnOnce(&mut Observation, &mut Receipt)) -> Option<ReceiptFault> {
    let node = SecretKey::random();
    let (mut observed, mut receipt) = honest(&node);
    change(&mut observed, &mut receipt);
    let signed = Signed::new(receipt, SCOPE, &node).unwrap();
    check_receipt(SCOPE, &observed, signed).err()
}

#[test]
fn an_honest_receipt_stands() {
    assert_eq!(check(|_, _| ()), None);
}

#[test]
fn a_receipt_of_another_node_or_network_is_refused() {
    let (node, thief) = (SecretKey::random(), SecretKey::random());
    let (observed, receipt) = honest(&node);
    let forged = Signed::new(receipt.clone(), SCOPE, &thief).unwrap();
    let other_chain = Signed::new(receipt, Scope { chain_id: 1, ..SCOPE }, &node).unwrap();
    for signed in [forged, other_chain] {
        assert_eq!(
            check_receipt(SCOPE, &observed, signed).unwrap_err(),
            ReceiptFault::BadSignature
        );
    }
}

#[test]
fn a_receipt_for_anything_else_is_refused() {
    use ReceiptFault as F;
    type Change = fn(&mut Receipt);
    let cases: [(Change, F); 12] = [
        (|r| r.task_id = TaskId([0; 32]), F::OtherTask),
        (|r| r.server = Address([0; 32]), F::OtherTask),
        (|r| r.operator = Address([0; 32]), F::OtherTask),
        (|r| r.node = PublicKey([0; 32]), F::OtherTask),
        (|r| r.model.push('x'), F::OtherRequest),
        (|r| r.model_revision = Hash([0; 32]), F::OtherRequest),
        (|r| r.request_hash = Hash([0; 32]), F::OtherRequest),
        (|r| r.price.output = Octas(21), F::OtherPrice),
        (|r| r.output_hash = Hash([0; 32]), F::OtherOutput),
        (|r| r.output_tokens += 1, F::TokenCount),
        (|r| r.prompt_tokens = 0, F::TokenCount),
        (|r| r.delegate = Some(Address([7; 32])), F::Delegate),
    ];
    for (change, fault) in cases {
        assert_eq!(check(|_, receipt| change(receipt)), Some(fault));
    }
}

#[test]
fn a_prompt_longer_than_its_bytes_is_refused() {
    assert_eq!(check(|_, r| r.prompt_tokens = 101), Some(ReceiptFault::TokenCount));
}

#[test]
fn more_output_than_asked_for_is_refused_even_when_delivered() {
    let fault = check(|o, r| {
        o.delivered_tokens = 65;
        r.output_tokens = 65;
    });
    assert_eq!(fault, Some(ReceiptFault::TokenCount));
}

#[test]
fn promised_token_ids_are_owed() {
    let fault = check(|o, _| o.unknown_tokens = 1);
    assert_eq!(fault, Some(ReceiptFault::TokenIds));
    let not_promised = check(|o, _| (o.unknown_tokens, o.token_ids_promised) = (30, false));
    assert_eq!(not_promised, None);
}

#[test]
fn no_more_tokens_without_an_id_are_billed_than_the_text_has_bytes() {
    let unknown = |text_bytes| {
        check(|o, _| {
            (o.unknown_tokens, o.token_ids_promised, o.text_bytes) = (30, false, text_bytes)
        })
    };
    assert_eq!(unknown(14), None);
    assert_eq!(unknown(13), Some(ReceiptFault::TokenIds));
}

#[test]
fn a_length_stop_below_the_limit_is_refused() {
    let length = |o: &mut Observation| o.finish_reason = FinishReason::Length;
    assert_eq!(check(|o, _| length(o)), Some(ReceiptFault::FinishReason));
    let at_the_limit = check(|o, r| {
        length(o);
        o.delivered_tokens = 64;
        r.output_tokens = 64;
    });
    assert_eq!(at_the_limit, None);
    let at_the_context = check(|o, _| {
        length(o);
        o.context_length = 50;
    });
    assert_eq!(at_the_context, None);
}

#[test]
fn an_answer_is_cut_only_by_the_server() {
    let cancelled = |o: &mut Observation| o.finish_reason = FinishReason::Cancelled;
    assert_eq!(check(|o, _| cancelled(o)), Some(ReceiptFault::FinishReason));
    let by_the_server = check(|o, _| {
        cancelled(o);
        o.stopped = true;
    });
    assert_eq!(by_the_server, None);
}

#[test]
fn times_that_the_server_did_not_see_are_refused() {
    let cases: [fn(&mut Observation, &mut Receipt); 4] = [
        |_, r| r.total_ms = 2_000,
        |_, r| (r.ttft_ms, r.total_ms) = (500, 400),
        |_, r| r.ttft_ms = 300,
        |o, r| {
            (o.max_tokens, o.context_length) = (10_000, 20_000);
            (o.delivered_tokens, r.output_tokens) = (9_000, 9_000);
            (o.done_after, r.total_ms) = (Duration::from_millis(100), 90);
        },
    ];
    for change in cases {
        assert_eq!(check(change), Some(ReceiptFault::Time));
    }
}
