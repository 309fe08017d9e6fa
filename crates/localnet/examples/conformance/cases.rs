//! Ledger, accounts, transfers, waiting, sequence numbers, orderless transactions, batches.
//! Never touches the probe.

use std::sync::Arc;
use std::time::Duration;

use aptos_sdk::AptosError;
use aptos_sdk::account::Ed25519Account;
use aptos_sdk::transaction::types::SignedTransaction;
use aptos_sdk::types::HashValue;
use futures::future::try_join_all;
use serde_json::json;

use crate::world::{
    APT, Cases, World, contains, equal, fresh, holds, missing, raw, refused, refused_with, signed,
    transfer,
};

/// The SDK offers 2 APT for gas unless it is told otherwise.
const PURSE: u64 = 5 * APT;

pub fn add(cases: &mut Cases) {
    ledger(cases);
    accounts(cases);
    transfers(cases);
    waiting(cases);
    sequence_numbers(cases);
    orderless(cases);
    more_orderless(cases);
    batches(cases);
}

fn ledger(cases: &mut Cases) {
    cases.add("ledger", "the chain id is 4", |w| async move {
        equal(w.aptos.ensure_chain_id().await?.id(), 4)
    });
    cases.add("ledger", "ledger info has counters as text", |w| async move {
        let info = w.aptos.ledger_info().await?;
        holds(info.version()? > 0 && info.height()? > 0, "no blocks")?;
        equal(info.node_role.as_str(), "full_node")
    });
    cases.add("ledger", "every answer says where the ledger stands", |w| async move {
        let answer = w.aptos.fullnode().get_account(w.me.address()).await?;
        let info = w.aptos.ledger_info().await?;
        equal(answer.ledger_version, Some(info.version()?))?;
        equal(answer.block_height, Some(info.height()?))?;
        equal(answer.epoch, Some(1))
    });
    cases.add("ledger", "the price of gas", |w| async move {
        let price = w.aptos.fullnode().estimate_gas_price().await?.data;
        let found = (price.recommended(), price.low(), price.high());
        equal(found, (100, 100, 150))
    });
}

fn accounts(cases: &mut Cases) {
    cases.add("faucet", "a new account is funded", |w| async move {
        let new = w.funded(7 * APT).await?;
        equal(w.balance(new.address()).await?, 7 * APT)
    });
    cases.add("faucet", "funding adds up", |w| async move {
        let new = w.funded(3).await?;
        w.aptos.fund_account(new.address(), 4).await?;
        equal(w.balance(new.address()).await?, 7)
    });
    cases.add("accounts", "an account has its key and number", |w| async move {
        let alice = w.funded(APT).await?;
        w.run(&alice, transfer(fresh(), 1)?).await?;
        let account = w.aptos.fullnode().get_account(alice.address()).await?.data;
        equal(account.sequence_number()?, 1)?;
        equal(account.authentication_key, alice.address().to_long_string())
    });
    cases.add("accounts", "an unknown account is not found", |w| async move {
        missing(w.aptos.fullnode().get_account(fresh()).await)
    });
    cases.add("accounts", "an unknown account does not exist and has nothing", |w| async move {
        let unknown = fresh();
        equal(w.aptos.account_exists(unknown).await?, false)?;
        equal(w.balance(unknown).await?, 0)
    });
}

fn transfers(cases: &mut Cases) {
    cases.add("transfer", "coins move and gas is paid", |w| async move {
        let (alice, bob) = (w.funded(PURSE).await?, fresh());
        let done = w.aptos.transfer_apt(&alice, bob, APT).await?.data;
        let gas: u64 = done["gas_used"].as_str().unwrap_or_default().parse()?;
        holds(gas > 0, "no gas")?;
        equal(w.balance(bob).await?, APT)?;
        equal(w.balance(alice.address()).await?, PURSE - APT - gas * 100)
    });
    cases.add("transfer", "a coin moves by its type", |w| async move {
        let (alice, bob) = (w.funded(PURSE).await?, fresh());
        let coin = aptos_sdk::types::TypeTag::aptos_coin();
        w.aptos.transfer_coin(&alice, bob, coin, 5).await?;
        equal(w.balance(bob).await?, 5)
    });
    cases.add("transfer", "an asset moves by its metadata", |w| async move {
        let (alice, bob) = (w.funded(PURSE).await?, fresh());
        let metadata = aptos_sdk::types::AccountAddress::from_hex("0xa")?;
        w.aptos.transfer_fungible_asset(&alice, metadata, bob, 5).await?;
        equal(w.balance(bob).await?, 5)
    });
    cases.add("transfer", "a committed transaction shows what was sent", |w| async move {
        let (alice, bob) = (w.funded(APT).await?, fresh());
        let done = w.run(&alice, transfer(bob, 3)?).await?;
        equal(&done["type"], &json!("user_transaction"))?;
        equal(&done["payload"]["arguments"], &json!([bob.to_string(), "3"]))?;
        equal(&done["signature"]["type"], &json!("ed25519_signature"))?;
        equal(&done["replay_protection_nonce"], &json!(null))
    });
    cases.add("transfer", "the hash is the one the SDK computes", |w| async move {
        let alice = w.funded(APT).await?;
        let transaction = signed(&alice, &raw(alice.address(), 0, transfer(fresh(), 3)?)?)?;
        let done = w.send(&transaction).await?;
        equal(&done["hash"], &json!(transaction.hash()?.to_string()))
    });
}

fn waiting(cases: &mut Cases) {
    cases.add("wait", "a parked transaction is pending, then committed", |w| async move {
        let (alice, bob) = (w.funded(APT).await?, fresh());
        let later = signed(&alice, &raw(alice.address(), 1, transfer(bob, 2)?)?)?;
        let hash = w.aptos.submit_transaction(&later).await?.data.hash;
        let found = w.aptos.fullnode().get_transaction_by_hash(&hash).await?.data;
        equal(&found["type"], &json!("pending_transaction"))?;
        w.run(&alice, transfer(bob, 1)?).await?;
        let done = w.aptos.fullnode().wait_for_transaction(&hash, None).await?.data;
        equal(&done["success"], &json!(true))?;
        equal(w.balance(bob).await?, 3)
    });
    cases.add("wait", "waiting for a failed transaction says why", |w| async move {
        let alice = w.funded(APT).await?;
        let poor = signed(&alice, &raw(alice.address(), 0, transfer(fresh(), 2 * APT)?)?)?;
        match w.aptos.submit_and_wait(&poor, None).await {
            Err(AptosError::ExecutionFailed { vm_status }) => {
                contains(&vm_status, "EINSUFFICIENT_BALANCE(0x10004)")
            }
            other => Err(format!("{other:?}").into()),
        }
    });
    cases.add("wait", "waiting for what never comes times out", |w| async move {
        let alice = w.funded(APT).await?;
        let parked = signed(&alice, &raw(alice.address(), 9, transfer(fresh(), 1)?)?)?;
        let hash = w.aptos.submit_transaction(&parked).await?.data.hash;
        let limit = Some(Duration::from_millis(50));
        let waited = w.aptos.fullnode().wait_for_transaction(&hash, limit).await;
        holds(matches!(waited, Err(AptosError::TransactionTimeout { .. })), "it did not time out")
    });
    cases.add("wait", "an unknown hash is not found", |w| async move {
        missing(w.aptos.fullnode().get_transaction_by_hash(&HashValue::new([7; 32])).await)
    });
}

fn sequence_numbers(cases: &mut Cases) {
    cases.add("sequence numbers", "they may arrive in any order", |w| async move {
        let (alice, bob) = (w.funded(APT).await?, fresh());
        let mut hashes = Vec::new();
        for number in [4, 2, 3, 1, 0] {
            let next = signed(&alice, &raw(alice.address(), number, transfer(bob, 1)?)?)?;
            hashes.push(w.aptos.submit_transaction(&next).await?.data.hash);
        }
        for hash in &hashes {
            w.aptos.fullnode().wait_for_transaction(hash, None).await?;
        }
        equal(w.balance(bob).await?, 5)
    });
    cases.add("sequence numbers", "a submission may be repeated while it waits", |w| async move {
        let alice = w.funded(APT).await?;
        let parked = signed(&alice, &raw(alice.address(), 1, transfer(fresh(), 1)?)?)?;
        let first = w.aptos.submit_transaction(&parked).await?.data.hash;
        equal(w.aptos.submit_transaction(&parked).await?.data.hash, first)
    });
    cases.add("sequence numbers", "another transaction under it is refused", |w| async move {
        let alice = w.funded(APT).await?;
        let send = |octas| signed(&alice, &raw(alice.address(), 1, transfer(fresh(), octas)?)?);
        w.aptos.submit_transaction(&send(1)?).await?;
        refused(w.aptos.submit_transaction(&send(2)?).await, 400, "invalid_transaction_update")
    });
    cases.add("sequence numbers", "one that pays more takes its place", |w| async move {
        let (alice, bob) = (w.funded(APT).await?, fresh());
        let cheap = raw(alice.address(), 1, transfer(bob, 1)?)?;
        w.aptos.submit_transaction(&signed(&alice, &cheap)?).await?;
        let mut dear = raw(alice.address(), 1, transfer(bob, 2)?)?;
        dear.gas_unit_price = 150;
        let hash = w.aptos.submit_transaction(&signed(&alice, &dear)?).await?.data.hash;
        w.run(&alice, transfer(bob, 4)?).await?;
        w.aptos.fullnode().wait_for_transaction(&hash, None).await?;
        equal(w.balance(bob).await?, 6)
    });
}

fn orderless(cases: &mut Cases) {
    cases.add("orderless", "a transaction runs without a sequence number", |w| async move {
        let (alice, bob) = (w.funded(PURSE).await?, fresh());
        let done = w
            .aptos
            .sign_submit_and_wait_orderless(&alice, transfer(bob, 5)?, Some(77), None)
            .await?;
        equal(&done.data["replay_protection_nonce"], &json!("77"))?;
        equal(w.aptos.get_sequence_number(alice.address()).await?, 0)?;
        equal(w.balance(bob).await?, 5)
    });
    cases.add("orderless", "the same transaction again is refused", |w| async move {
        let alice = w.funded(APT).await?;
        let once = under_nonce(&alice, 1, 5)?;
        w.send(&once).await?;
        refused_with(w.aptos.submit_transaction(&once).await, 42)
    });
    cases.add("orderless", "another transaction under the same nonce is refused", |w| async move {
        let alice = w.funded(APT).await?;
        w.send(&under_nonce(&alice, 9, 5)?).await?;
        let other = w.aptos.submit_transaction(&under_nonce(&alice, 9, 6)?).await;
        refused(other, 400, "NONCE_ALREADY_USED")
    });
    cases.add("orderless", "two accounts may use the same nonce", |w| async move {
        for sender in [w.funded(APT).await?, w.funded(APT).await?] {
            let done = w.send(&under_nonce(&sender, 9, 5)?).await?;
            equal(&done["success"], &json!(true))?;
        }
        Ok(())
    });
}

fn more_orderless(cases: &mut Cases) {
    cases.add("orderless", "many at once and in no order", |w| async move {
        let alice = w.funded(APT).await?;
        let sent: Result<Vec<SignedTransaction>, AptosError> =
            [5, 1, 4, 2, 3].into_iter().map(|nonce| under_nonce(&alice, nonce, 1)).collect();
        let sent = sent?;
        let done = try_join_all(sent.iter().map(|one| w.send(one))).await?;
        holds(done.iter().all(|one| one["success"] == json!(true)), format!("{done:?}"))
    });
    cases.add("orderless", "one that fails pays and uses its nonce", |w| async move {
        let alice = w.funded(APT).await?;
        let poor = under_nonce(&alice, 1, 2 * APT)?;
        equal(&w.send(&poor).await?["success"], &json!(false))?;
        holds(w.balance(alice.address()).await? < APT, "no gas was paid")?;
        refused_with(w.aptos.submit_transaction(&poor).await, 42)
    });
    cases.add("orderless", "an expiry too far ahead is refused", |w| async move {
        let alice = w.funded(APT).await?;
        let mut late = raw(alice.address(), u64::MAX, transfer(fresh(), 1)?.into_orderless(1)?)?;
        late.expiration_timestamp_secs += 600;
        refused_with(w.aptos.submit_transaction(&signed(&alice, &late)?).await, 43)
    });
    cases.add("orderless", "it runs beside numbered ones", |w| async move {
        let alice = w.funded(APT).await?;
        w.send(&under_nonce(&alice, 1, 1)?).await?;
        w.run(&alice, transfer(fresh(), 1)?).await?;
        w.send(&under_nonce(&alice, 2, 1)?).await?;
        equal(w.aptos.get_sequence_number(alice.address()).await?, 1)
    });
}

fn under_nonce(
    sender: &Ed25519Account,
    nonce: u64,
    octas: u64,
) -> Result<SignedTransaction, AptosError> {
    let payload = transfer(fresh(), octas)?.into_orderless(nonce)?;
    signed(sender, &raw(sender.address(), u64::MAX, payload)?)
}

fn batches(cases: &mut Cases) {
    cases.add("batches", "a batch of transfers", |w: Arc<World>| async move {
        let (alice, bob) = (w.funded(PURSE).await?, fresh());
        let results =
            w.aptos.batch_transfer_apt(&alice, vec![(bob, 1), (bob, 2), (bob, 3)]).await?;
        holds(results.iter().all(|one| one.result.is_ok()), format!("{results:?}"))?;
        equal((results.len(), w.balance(bob).await?), (3, 6))
    });
    cases.add("batches", "each of a batch has its outcome", |w| async move {
        let (alice, bob) = (w.funded(PURSE).await?, fresh());
        let payloads = vec![transfer(bob, 1)?, transfer(bob, 9 * APT)?, transfer(bob, 2)?];
        let results = w.aptos.submit_batch_and_wait(&alice, payloads, None).await?;
        let succeeded: Vec<bool> = results
            .iter()
            .map(|one| one.result.as_ref().is_ok_and(|status| status.is_success()))
            .collect();
        equal(succeeded, [true, false, true])?;
        equal(w.balance(bob).await?, 3)
    });
}
