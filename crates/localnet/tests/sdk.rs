//! The unmodified official Rust client drives a node.
#![allow(clippy::unwrap_used)] // A test that cannot go on should panic.

mod support;

use aptos_sdk::AptosError;
use aptos_sdk::account::{Ed25519Account, Ed25519SingleKeyAccount, Secp256k1Account};
use aptos_sdk::transaction::builder::{
    sign_fee_payer_transaction, sign_multi_agent_transaction, sign_transaction,
};
use aptos_sdk::transaction::types::{FeePayerRawTransaction, MultiAgentRawTransaction};
use aptos_sdk::transaction::{Script, TransactionPayload};
use aptos_sdk::types::{AccountAddress, ChainId, HashValue};
use serde_json::{Value, json};
use support::{
    APT, MAX_GAS, Node, SECOND, bcs, contract, contract_address, raw, refusal, signed, somebody,
    transfer,
};

#[tokio::test]
async fn the_client_funds_transfers_and_waits() {
    let node = Node::start();
    assert_eq!(node.aptos.ledger_info().await.unwrap().chain_id, 4);
    let alice = node.funded(5 * APT).await;
    let bob = Ed25519Account::generate();
    assert!(!node.aptos.account_exists(bob.address()).await.unwrap());
    let sent = node.aptos.transfer_apt(&alice, bob.address(), APT).await.unwrap().data;
    assert_eq!(sent["success"], json!(true));
    assert_eq!(sent["vm_status"], json!("Executed successfully"));
    assert_eq!(sent["type"], json!("user_transaction"));
    assert_eq!(sent["payload"]["function"], json!("0x1::aptos_account::transfer"));
    assert_eq!(sent["payload"]["arguments"], json!([bob.address().to_string(), APT.to_string()]));
    let gas = sent["gas_used"].as_str().unwrap().parse::<u64>().unwrap() * 100;
    assert!(gas > 0);
    assert_eq!(node.aptos.get_balance(bob.address()).await.unwrap(), APT);
    assert_eq!(node.aptos.get_balance(alice.address()).await.unwrap(), 4 * APT - gas);
    assert_eq!(node.aptos.get_sequence_number(alice.address()).await.unwrap(), 1);
    node.stop().await;
}

#[tokio::test]
async fn sequence_numbers_may_arrive_out_of_order() {
    let node = Node::start();
    let alice = node.funded(5 * APT).await;
    let bob = somebody();
    let mut hashes = Vec::new();
    for sequence_number in [3, 1, 2] {
        let transaction = node.sign(&alice, sequence_number, transfer(bob, 10));
        hashes.push(node.aptos.submit_transaction(&transaction).await.unwrap().data.hash);
    }
    let parked = node.aptos.fullnode().get_transaction_by_hash(&hashes[0]).await.unwrap().data;
    assert_eq!(parked["type"], json!("pending_transaction"));
    assert_eq!(node.aptos.get_sequence_number(alice.address()).await.unwrap(), 0);
    let first = node.sign(&alice, 0, transfer(bob, 10));
    node.aptos.submit_and_wait(&first, None).await.unwrap();
    for hash in &hashes {
        let done = node.aptos.fullnode().wait_for_transaction(hash, None).await.unwrap().data;
        assert_eq!(done["success"], json!(true));
    }
    assert_eq!(node.aptos.get_sequence_number(alice.address()).await.unwrap(), 4);
    assert_eq!(node.aptos.get_balance(bob).await.unwrap(), 40);
    let again = node.aptos.submit_transaction(&first).await.unwrap_err();
    assert_eq!(refusal(&again), (400, "vm_error".to_owned(), Some(3)));
    node.stop().await;
}

#[tokio::test]
async fn transactions_that_can_never_run_are_refused_with_aptos_codes() {
    let node = Node::start();
    let alice = node.funded(APT).await;
    let mallory = Ed25519Account::generate();
    let good = || raw(alice.address(), 0, transfer(mallory.address(), 1));
    let with = |change: &dyn Fn(&mut aptos_sdk::transaction::RawTransaction)| {
        let mut changed = good();
        change(&mut changed);
        signed(&alice, &changed)
    };
    let mut tampered = signed(&alice, &good());
    tampered.raw_txn.payload = transfer(mallory.address(), 1_000).into();
    let of_another = signed(&mallory, &good());
    let script = Script::new(vec![1, 2, 3], Vec::new(), Vec::new());
    let cases = [
        ("a changed payload", tampered, 1),
        ("another account's key", of_another, 2),
        ("an expiry that has passed", with(&|raw| raw.expiration_timestamp_secs = 1), 6),
        ("too little for the offered gas", with(&|raw| raw.max_gas_amount = 1_000_001), 5),
        ("more gas than the bound", with(&|raw| raw.max_gas_amount = 2_000_001), 13),
        ("less gas than any transaction", with(&|raw| raw.max_gas_amount = 1), 14),
        ("a gas price below the least", with(&|raw| raw.gas_unit_price = 99), 15),
        ("another chain", with(&|raw| raw.chain_id = ChainId::new(1)), 23),
        ("a script", with(&|raw| raw.payload = TransactionPayload::Script(script.clone())), 26),
    ];
    for (case, transaction, code) in cases {
        let error = node.aptos.submit_transaction(&transaction).await.unwrap_err();
        assert_eq!(refusal(&error), (400, "vm_error".to_owned(), Some(code)), "{case}");
    }
    assert_eq!(node.aptos.get_balance(alice.address()).await.unwrap(), APT);
    assert_eq!(node.aptos.get_sequence_number(alice.address()).await.unwrap(), 0);
    node.stop().await;
}

#[tokio::test]
async fn an_aborted_transaction_pays_gas_and_says_why() {
    let node = Node::start();
    let alice = node.funded(APT).await;
    let error = node.run(&alice, transfer(somebody(), 2 * APT)).await.unwrap_err();
    let AptosError::ExecutionFailed { vm_status } = &error else {
        panic!("{error}");
    };
    assert!(
        vm_status
            .starts_with("Move abort in 0x1::fungible_asset: EINSUFFICIENT_BALANCE(0x10004): "),
        "{vm_status}"
    );
    assert_eq!(node.aptos.get_sequence_number(alice.address()).await.unwrap(), 1);
    let left = node.aptos.get_balance(alice.address()).await.unwrap();
    assert!(left < APT && left > APT - MAX_GAS * 100, "{left}");
    let missing = contract("payment", "no_such_function", Vec::new());
    let error = node.run(&alice, missing).await.unwrap_err();
    assert!(
        error.to_string().contains("FUNCTION_RESOLUTION_FAILURE")
            || error.to_string().contains("FUNCTION_NOT_FOUND"),
        "{error}"
    );
    assert_eq!(node.aptos.get_sequence_number(alice.address()).await.unwrap(), 2);
    node.stop().await;
}

#[tokio::test]
async fn the_contracts_are_there_and_hold_deposits() {
    let node = Node::start();
    let client = node.funded(10 * APT).await;
    let deposit = contract("payment", "deposit", vec![bcs(&(3 * APT))]);
    let done = node.run(&client, deposit).await.unwrap();
    let events = done["events"].as_array().unwrap();
    let deposited = format!("{}::client_account::Deposited", contract_address());
    assert!(events.iter().any(|event| event["type"] == json!(deposited)), "{events:?}");
    let function = format!("{}::payment::balance", contract_address());
    let by_json = node
        .aptos
        .view(&function, Vec::new(), vec![json!(client.address().to_string())])
        .await
        .unwrap();
    assert_eq!(by_json[0]["available"], json!((3 * APT).to_string()));
    let by_bcs_arguments = node
        .aptos
        .fullnode()
        .view_bcs_args(&function, Vec::new(), vec![bcs(&client.address())])
        .await
        .unwrap();
    assert_eq!(by_bcs_arguments.data, by_json);
    let in_bcs = node
        .aptos
        .fullnode()
        .view_bcs(&function, Vec::new(), vec![bcs(&client.address())])
        .await
        .unwrap();
    // The number of results, and of the first one its first field.
    assert_eq!(in_bcs.data[0], 1);
    assert!(in_bcs.data[1..].starts_with(&bcs(&(3 * APT))));
    let admin = node
        .aptos
        .view(&format!("{}::config::admin", contract_address()), Vec::new(), Vec::new())
        .await
        .unwrap();
    assert_eq!(admin, [json!(contract_address().to_string())]);
    node.stop().await;
}

#[tokio::test]
async fn only_view_functions_are_views() {
    let node = Node::start();
    let address = json!("0x1");
    for (function, arguments) in [
        ("0x1::account::create_account_if_does_not_exist", vec![address.clone()]),
        ("0x1::genesis::mint", vec![address.clone(), json!("1")]),
        ("0x1::coin::nothing", vec![]),
        ("0x1::nothing::balance", vec![]),
        ("0x1::coin", vec![]),
        ("0x1::account::get_sequence_number", vec![]),
        ("0x1::account::get_sequence_number", vec![json!("not an address")]),
    ] {
        let error = node.aptos.view(function, Vec::new(), arguments).await.unwrap_err();
        assert_eq!(refusal(&error).0, 400, "{function}");
    }
    node.stop().await;
}

#[tokio::test]
async fn simulation_shows_the_outcome_and_refuses_a_valid_signature() {
    let node = Node::start();
    let alice = node.funded(5 * APT).await;
    let payload = transfer(somebody(), APT);
    let good = node.aptos.simulate(&alice, payload.clone().into()).await.unwrap();
    assert!(good.success(), "{}", good.vm_status());
    assert!(good.gas_used() > 0);
    assert!(!good.events().is_empty());
    let bad = node.aptos.simulate(&alice, transfer(somebody(), 50 * APT).into()).await;
    let bad = bad.unwrap();
    assert!(bad.failed() && bad.is_insufficient_balance(), "{}", bad.vm_status());
    assert_eq!(node.aptos.get_balance(alice.address()).await.unwrap(), 5 * APT);

    let transaction = node.sign(&alice, 0, payload);
    let answer = reqwest::Client::new()
        .post(node.url("/v1/transactions/simulate"))
        .header("content-type", "application/x.aptos.signed_transaction+bcs")
        .body(transaction.to_bcs().unwrap())
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 400);
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["message"], json!("Simulated transactions must not have a valid signature"));
    node.stop().await;
}

#[tokio::test]
async fn other_authenticators_pay_and_act() {
    let node = Node::start();
    let single = Ed25519SingleKeyAccount::generate();
    node.aptos.fund_account(single.address(), APT).await.unwrap();
    let bob = somebody();
    let transaction =
        sign_transaction(&raw(single.address(), 0, transfer(bob, 7)), &single).unwrap();
    node.aptos.submit_and_wait(&transaction, None).await.unwrap();

    // An account that has nothing acts, and another pays.
    let (poor, payer) = (Ed25519Account::generate(), node.funded(APT).await);
    node.aptos.fund_account(poor.address(), 5).await.unwrap();
    let sponsored = FeePayerRawTransaction::new(
        raw(poor.address(), 0, transfer(bob, 5)),
        Vec::new(),
        payer.address(),
    );
    let transaction = sign_fee_payer_transaction(&sponsored, &poor, &[], &payer).unwrap();
    let done = node.aptos.submit_and_wait(&transaction, None).await.unwrap().data;
    assert_eq!(done["signature"]["type"], json!("fee_payer_signature"));
    assert_eq!(node.aptos.get_balance(bob).await.unwrap(), 12);
    assert_eq!(node.aptos.get_balance(poor.address()).await.unwrap(), 0);
    assert!(node.aptos.get_balance(payer.address()).await.unwrap() < APT);

    // A transfer has one signer: a second one is too many, and the sender pays for the attempt.
    let multi = MultiAgentRawTransaction::new(
        raw(payer.address(), 0, transfer(bob, 1)),
        vec![poor.address()],
    );
    let transaction = sign_multi_agent_transaction(&multi, &payer, &[&poor]).unwrap();
    let error = node.aptos.submit_and_wait(&transaction, None).await.unwrap_err();
    assert!(error.to_string().contains("NUMBER_OF_SIGNER_ARGUMENTS_MISMATCH"), "{error}");
    node.stop().await;
}

#[tokio::test]
async fn the_ledger_can_be_read_by_version_block_account_and_type() {
    let node = Node::start();
    let alice = node.funded(APT).await;
    let bob = somebody();
    for octas in [1, 2, 3] {
        node.run(&alice, transfer(bob, octas)).await.unwrap();
    }
    let fullnode = node.aptos.fullnode();
    let info = fullnode.get_ledger_info().await.unwrap();
    let version = info.data.version().unwrap();
    assert_eq!(info.ledger_version, Some(version));
    let last = fullnode.get_transaction_by_version(version).await.unwrap().data;
    assert_eq!(last["payload"]["arguments"][1], json!("3"));
    let hash = HashValue::from_hex(last["hash"].as_str().unwrap()).unwrap();
    let by_hash = fullnode.get_transaction_by_hash(&hash).await.unwrap().data;
    assert_eq!(by_hash, last);
    let genesis = fullnode.get_transactions(Some(0), Some(1)).await.unwrap().data;
    assert_eq!(genesis[0]["type"], json!("genesis_transaction"));
    let sent = fullnode.get_account_transactions(alice.address(), Some(1), None).await.unwrap();
    let amounts: Vec<_> =
        sent.data.iter().map(|one| one["payload"]["arguments"][1].clone()).collect();
    assert_eq!(amounts, ["2", "3"]);
    let block = fullnode.get_block_by_version(version, true).await.unwrap().data;
    assert_eq!(block["last_version"], json!(version.to_string()));
    let first = &block["transactions"][0];
    assert_eq!(first["type"], json!("block_metadata_transaction"));
    let height = block["block_height"].as_str().unwrap().parse().unwrap();
    let by_height = fullnode.get_block_by_height(height, true).await.unwrap().data;
    assert_eq!(by_height, block);

    let store = fullnode.get_account_resource(alice.address(), "0x1::account::Account").await;
    assert_eq!(store.unwrap().data.data["sequence_number"], json!("3"));
    let all = fullnode.get_account_resources(alice.address()).await.unwrap().data;
    assert!(all.iter().any(|one| one.typ == "0x1::account::Account"));
    let module = fullnode.get_account_module(contract_address(), "payment").await.unwrap().data;
    let functions = module.abi.unwrap().exposed_functions;
    let balance = functions.iter().find(|one| one.name == "balance").unwrap();
    assert!(balance.is_view);
    assert_eq!(balance.params, ["address"]);
    let modules = fullnode.get_account_modules(AccountAddress::ONE).await.unwrap().data;
    assert!(modules.iter().any(|one| one.abi.as_ref().is_some_and(|abi| abi.name == "coin")));
    node.stop().await;
}

#[tokio::test]
async fn moving_the_clock_moves_block_time_and_views() {
    let node = Node::start();
    let now = || async {
        let seconds = node.aptos.view("0x1::timestamp::now_seconds", vec![], vec![]).await.unwrap();
        seconds[0].as_str().unwrap().parse::<u64>().unwrap()
    };
    let before = now().await;
    let chain = node.chain.clone();
    tokio::task::spawn_blocking(move || chain.advance_clock(1_000_000 * SECOND)).await.unwrap();
    assert!(now().await >= before + 1_000_000);
    let stamp: u64 = node.aptos.ledger_info().await.unwrap().ledger_timestamp.parse().unwrap();
    assert!(stamp / 1_000_000 >= before + 1_000_000);
    // Clients go on setting expiry by their own clock.
    let alice = node.funded(APT).await;
    node.run(&alice, transfer(somebody(), 1)).await.unwrap();
    node.stop().await;
}

#[tokio::test]
async fn a_transaction_that_spends_its_gas_money_fails_and_still_pays() {
    let node = Node::start();
    let alice = node.funded(APT).await;
    let error = node.run(&alice, transfer(somebody(), APT - 1)).await.unwrap_err();
    assert!(error.to_string().contains("EINSUFFICIENT_BALANCE"), "{error}");
    let left = node.aptos.get_balance(alice.address()).await.unwrap();
    assert!(left < APT && left > APT - MAX_GAS * 100, "{left}");
    assert_eq!(node.aptos.get_sequence_number(alice.address()).await.unwrap(), 1);
    assert_eq!(node.aptos.get_balance(somebody()).await.unwrap(), 0);
    node.stop().await;
}

#[tokio::test]
async fn a_transaction_never_pays_more_gas_than_it_offered() {
    let node = Node::start();
    let alice = node.funded(APT).await;
    let mut cheap = raw(alice.address(), 0, transfer(somebody(), 1));
    cheap.max_gas_amount = 4;
    let error = node.aptos.submit_and_wait(&signed(&alice, &cheap), None).await.unwrap_err();
    assert!(error.to_string().contains("Out of gas"), "{error}");
    assert_eq!(node.aptos.get_balance(alice.address()).await.unwrap(), APT - 400);
    assert_eq!(node.aptos.get_sequence_number(alice.address()).await.unwrap(), 1);
    node.stop().await;
}

#[tokio::test]
async fn orderless_transactions_run_once_in_any_order_and_use_no_sequence_number() {
    let node = Node::start();
    let alice = node.funded(APT).await;
    let orderless = |nonce: u64, octas: u64| {
        let payload: TransactionPayload = transfer(somebody(), octas).into();
        raw(alice.address(), u64::MAX, payload.into_orderless(nonce).unwrap())
    };
    for nonce in [7, 3, u64::MAX] {
        let transaction = signed(&alice, &orderless(nonce, 1));
        let done = node.aptos.submit_and_wait(&transaction, None).await.unwrap().data;
        assert_eq!(done["replay_protection_nonce"], json!(nonce.to_string()));
        let again = node.aptos.submit_transaction(&transaction).await.unwrap_err();
        assert_eq!(refusal(&again), (400, "vm_error".to_owned(), Some(42)));
    }
    let same_nonce = signed(&alice, &orderless(7, 2));
    let error = node.aptos.submit_transaction(&same_nonce).await.unwrap_err();
    assert_eq!(refusal(&error), (400, "vm_error".to_owned(), Some(42)));
    let mut late = orderless(8, 1);
    late.expiration_timestamp_secs += 600;
    let error = node.aptos.submit_transaction(&signed(&alice, &late)).await.unwrap_err();
    assert_eq!(refusal(&error), (400, "vm_error".to_owned(), Some(43)));
    assert_eq!(node.aptos.get_balance(somebody()).await.unwrap(), 3);
    assert_eq!(node.aptos.get_sequence_number(alice.address()).await.unwrap(), 0);
    node.chain.audit().unwrap();
    node.stop().await;
}

#[tokio::test]
async fn a_failed_orderless_transaction_pays_and_uses_its_nonce() {
    let node = Node::start();
    let alice = node.funded(APT).await;
    let payload: TransactionPayload = transfer(somebody(), 2 * APT).into();
    let transaction =
        signed(&alice, &raw(alice.address(), u64::MAX, payload.into_orderless(1).unwrap()));
    let error = node.aptos.submit_and_wait(&transaction, None).await.unwrap_err();
    assert!(error.to_string().contains("EINSUFFICIENT_BALANCE"), "{error}");
    assert!(node.aptos.get_balance(alice.address()).await.unwrap() < APT);
    let again = node.aptos.submit_transaction(&transaction).await.unwrap_err();
    assert_eq!(refusal(&again).2, Some(42));
    node.stop().await;
}

#[tokio::test]
async fn keys_of_other_kinds_sign() {
    let node = Node::start();
    let alice = Secp256k1Account::generate();
    node.aptos.fund_account(alice.address(), APT).await.unwrap();
    let transaction =
        sign_transaction(&raw(alice.address(), 0, transfer(somebody(), 7)), &alice).unwrap();
    node.aptos.submit_and_wait(&transaction, None).await.unwrap();
    let mallory = Secp256k1Account::generate();
    let forged =
        sign_transaction(&raw(alice.address(), 1, transfer(somebody(), 7)), &mallory).unwrap();
    let error = node.aptos.submit_transaction(&forged).await.unwrap_err();
    assert_eq!(refusal(&error).2, Some(2));
    assert_eq!(node.aptos.get_balance(somebody()).await.unwrap(), 7);
    node.stop().await;
}

#[tokio::test]
async fn a_batch_takes_in_what_it_can_and_names_the_rest() {
    let node = Node::start();
    let alice = node.funded(APT).await;
    let good = |number| node.sign(&alice, number, transfer(somebody(), 1));
    let mut expired = raw(alice.address(), 1, transfer(somebody(), 1));
    expired.expiration_timestamp_secs = 1;
    let batch = bcs(&vec![good(0), signed(&alice, &expired), good(1)]);
    let send = |body: Vec<u8>| async {
        let request = reqwest::Client::new().post(node.url("/v1/transactions/batch"));
        let kind = "application/x.aptos.signed_transaction+bcs";
        let answer = request.header("content-type", kind).body(body).send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    let (status, body) = send(batch).await;
    assert_eq!(status, 206);
    let failures = body["transaction_failures"].as_array().unwrap();
    assert_eq!(failures.len(), 1);
    assert_eq!(failures[0]["transaction_index"], json!(1));
    assert_eq!(failures[0]["error"]["vm_error_code"], json!(6));
    let (status, body) = send(bcs(&vec![good(2)])).await;
    assert_eq!((status, body), (202, json!({ "transaction_failures": [] })));
    let (status, _) = send(bcs(&(0..11).map(good).collect::<Vec<_>>())).await;
    assert_eq!(status, 400);
    node.aptos.submit_and_wait(&good(3), None).await.unwrap();
    assert_eq!(node.aptos.get_balance(somebody()).await.unwrap(), 4);
    node.stop().await;
}

#[tokio::test]
async fn web_pages_may_call_and_read_the_node() {
    let node = Node::start();
    let client = reqwest::Client::new();
    let preflight = client
        .request(reqwest::Method::OPTIONS, node.url("/v1/view"))
        .header("origin", "http://localhost:3000")
        .header("access-control-request-method", "POST")
        .send()
        .await
        .unwrap();
    assert_eq!(preflight.status(), 200);
    assert_eq!(preflight.headers()["access-control-allow-origin"], "*");
    let missing = client.get(node.url("/v1/accounts/0xb0b")).send().await.unwrap();
    assert_eq!(missing.status(), 404);
    assert_eq!(missing.headers()["access-control-allow-origin"], "*");
    let view = json!({ "function": "0x1::coin::decimals", "arguments": [],
        "type_arguments": ["0x1::aptos_coin::AptosCoin"] });
    let view = client.post(node.url("/v1/view")).json(&view).send().await.unwrap();
    assert!(view.headers()["x-aptos-gas-used"].to_str().unwrap().parse::<u64>().unwrap() < 1_000);
    node.stop().await;
}

#[tokio::test]
async fn the_node_encodes_what_the_client_would_sign() {
    let node = Node::start();
    let alice = node.funded(APT).await;
    let call = raw(alice.address(), 3, transfer(somebody(), 7));
    let request = json!({
        "sender": alice.address().to_string(), "sequence_number": "3",
        "max_gas_amount": MAX_GAS.to_string(), "gas_unit_price": "100",
        "expiration_timestamp_secs": call.expiration_timestamp_secs.to_string(),
        "payload": { "type": "entry_function_payload", "function": "0x1::aptos_account::transfer",
            "type_arguments": [], "arguments": [somebody().to_string(), "7"] },
    });
    let encode = reqwest::Client::new().post(node.url("/v1/transactions/encode_submission"));
    let answer: Value = encode.json(&request).send().await.unwrap().json().await.unwrap();
    let message = call.signing_message().unwrap();
    let text: String = message.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(answer, json!(format!("0x{text}")));
    node.stop().await;
}

#[tokio::test]
async fn an_account_changes_its_key_and_keeps_its_address() {
    let node = Node::start();
    let (alice, next) = (node.funded(5 * APT).await, Ed25519Account::generate());
    node.aptos.rotate_auth_key(&alice, &next, None).await.unwrap();
    let by_old_key = node.sign(&alice, 1, transfer(somebody(), 1));
    let error = node.aptos.submit_transaction(&by_old_key).await.unwrap_err();
    assert_eq!(refusal(&error), (400, "vm_error".to_owned(), Some(2)));
    let by_new_key = signed(&next, &raw(alice.address(), 1, transfer(somebody(), 1)));
    node.aptos.submit_and_wait(&by_new_key, None).await.unwrap();
    // A wallet that knows only the key finds the account.
    let map = "0x1::account::OriginatingAddress";
    let map = node.aptos.fullnode().get_account_resource(AccountAddress::ONE, map).await.unwrap();
    let handle = map.data.data["address_map"]["handle"].as_str().unwrap();
    let item = json!({ "key_type": "address", "value_type": "address",
        "key": next.address().to_string() });
    let url = node.url(&format!("/v1/tables/{handle}/item"));
    let found = reqwest::Client::new().post(url).json(&item).send().await.unwrap();
    assert_eq!(found.json::<Value>().await.unwrap(), json!(alice.address().to_string()));
    node.chain.audit().unwrap();
    node.stop().await;
}
