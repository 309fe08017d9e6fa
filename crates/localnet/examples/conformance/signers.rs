//! Keys of every kind, several signers, payers, simulation.
//! Never tests what a call does.

use std::error::Error;

use aptos_sdk::account::{
    Account, AnyPrivateKey, Ed25519Account, Ed25519SingleKeyAccount, MultiEd25519Account,
    MultiKeyAccount, Secp256k1Account,
};
use aptos_sdk::crypto::{Ed25519PrivateKey, Secp256k1PrivateKey};
use aptos_sdk::transaction::builder::{
    sign_fee_payer_transaction, sign_multi_agent_transaction, sign_transaction,
};
use aptos_sdk::transaction::types::{FeePayerRawTransaction, MultiAgentRawTransaction};
use aptos_sdk::transaction::{Script, TransactionPayload};
use aptos_sdk::types::AccountAddress;
use serde_json::json;

use crate::world::{
    APT, Cases, Outcome, World, bcs, contains, equal, fresh, holds, raw, refused, refused_with,
    signed, transfer,
};

pub fn add(cases: &mut Cases) {
    kinds(cases);
    payers(cases);
    several(cases);
    simulation(cases);
    more_simulation(cases);
}

/// An account of some kind pays, and what it signed is of the kind that the API names.
async fn pays<A: Account>(w: &World, account: &A, kind: &str) -> Outcome {
    let (address, bob) = (account.address(), fresh());
    w.aptos.fund_account(address, APT).await?;
    let transaction = sign_transaction(&raw(address, 0, transfer(bob, 9)?)?, account)?;
    let done = w.send(&transaction).await?;
    equal(&done["success"], &json!(true))?;
    equal(&done["signature"]["type"], &json!(kind))?;
    equal(w.balance(bob).await?, 9)
}

fn keys() -> Vec<AnyPrivateKey> {
    vec![
        AnyPrivateKey::ed25519(Ed25519PrivateKey::generate()),
        AnyPrivateKey::secp256k1(Secp256k1PrivateKey::generate()),
        AnyPrivateKey::ed25519(Ed25519PrivateKey::generate()),
    ]
}

fn kinds(cases: &mut Cases) {
    cases.add("signers", "an ed25519 key in the new scheme", |w| async move {
        pays(&w, &Ed25519SingleKeyAccount::generate(), "single_key_signature").await
    });
    cases.add("signers", "a secp256k1 key", |w| async move {
        pays(&w, &Secp256k1Account::generate(), "single_key_signature").await
    });
    cases.add("signers", "two of three keys of the old multi scheme", |w| async move {
        let keys = (0..3).map(|_| Ed25519PrivateKey::generate()).collect();
        pays(&w, &MultiEd25519Account::new(keys, 2)?, "multi_ed25519_signature").await
    });
    for threshold in 1..=3 {
        let name = format!("{threshold} of three keys of two kinds");
        cases.add("signers", name, move |w| async move {
            pays(&w, &MultiKeyAccount::new(keys(), threshold)?, "multi_key_signature").await
        });
    }
    cases.add("signers", "a script is refused in so many words", |w| async move {
        let script = TransactionPayload::Script(Script::new(vec![1], Vec::new(), Vec::new()));
        let next = w.aptos.get_sequence_number(w.me.address()).await?;
        let call = signed(&w.me, &raw(w.me.address(), next, script)?)?;
        refused(w.aptos.submit_transaction(&call).await, 400, "scripts are not supported")
    });
}

async fn sponsored(
    w: &World,
    sender: &Ed25519Account,
    payer: AccountAddress,
) -> Result<FeePayerRawTransaction, Box<dyn Error>> {
    let next = w.aptos.get_sequence_number(sender.address()).await.unwrap_or(0);
    let call = raw(sender.address(), next, transfer(fresh(), 5)?)?;
    Ok(FeePayerRawTransaction::new(call, Vec::new(), payer))
}

fn payers(cases: &mut Cases) {
    cases.add("signers", "another account pays for gas", |w| async move {
        let (poor, payer) = (w.funded(5).await?, w.funded(APT).await?);
        let call = sponsored(&w, &poor, payer.address()).await?;
        let done = w.send(&sign_fee_payer_transaction(&call, &poor, &[], &payer)?).await?;
        equal(&done["signature"]["type"], &json!("fee_payer_signature"))?;
        equal(w.balance(poor.address()).await?, 0)?;
        holds(w.balance(payer.address()).await? < APT, "the payer did not pay")
    });
    cases.add(
        "signers",
        "another's signature in place of the payer's is refused",
        |w| async move {
            let (poor, payer) = (w.funded(5).await?, w.funded(APT).await?);
            let call = sponsored(&w, &poor, payer.address()).await?;
            let forged =
                sign_fee_payer_transaction(&call, &poor, &[], &Ed25519Account::generate())?;
            refused_with(w.aptos.submit_transaction(&forged).await, 2)
        },
    );
    cases.add("signers", "a payer with too little is refused", |w| async move {
        let (poor, payer) = (w.funded(5).await?, w.funded(1).await?);
        let call = sponsored(&w, &poor, payer.address()).await?;
        let call = sign_fee_payer_transaction(&call, &poor, &[], &payer)?;
        refused_with(w.aptos.submit_transaction(&call).await, 5)
    });
}

async fn together(
    w: &World,
    second: &Ed25519Account,
) -> Result<MultiAgentRawTransaction, Box<dyn Error>> {
    let next = w.aptos.get_sequence_number(w.me.address()).await?;
    let call = raw(w.me.address(), next, w.call("together", vec![bcs(&2_u64)?])?)?;
    Ok(MultiAgentRawTransaction::new(call, vec![second.address()]))
}

fn several(cases: &mut Cases) {
    cases.add("signers", "two accounts sign one call", |w| async move {
        let other = w.funded(1).await?;
        let call = together(&w, &other).await?;
        let done = w.send(&sign_multi_agent_transaction(&call, &w.me, &[&other])?).await?;
        equal(&done["success"], &json!(true))?;
        equal(&done["signature"]["type"], &json!("multi_agent_signature"))
    });
    cases.add("signers", "another's signature in place of the second is refused", |w| async move {
        let (other, stranger) = (w.funded(1).await?, Ed25519Account::generate());
        let call = together(&w, &other).await?;
        let forged = sign_multi_agent_transaction(&call, &w.me, &[&stranger])?;
        refused_with(w.aptos.submit_transaction(&forged).await, 2)
    });
    cases.add("signers", "the same signer twice is refused", |w| async move {
        let call = together(&w, &w.me).await?;
        let twice = sign_multi_agent_transaction(&call, &w.me, &[&w.me])?;
        refused_with(w.aptos.submit_transaction(&twice).await, 28)
    });
    cases.add("signers", "a second signer without a signature is refused", |w| async move {
        let other = w.funded(1).await?;
        let call = together(&w, &other).await?;
        let short = sign_multi_agent_transaction(&call, &w.me, &[])?;
        refused_with(w.aptos.submit_transaction(&short).await, 27)
    });
}

fn simulation(cases: &mut Cases) {
    cases.add("simulate", "an outcome, events and changes without effect", |w| async move {
        let (alice, bob) = (w.funded(5 * APT).await?, fresh());
        let result = w.aptos.simulate(&alice, transfer(bob, 5)?).await?;
        holds(result.success(), result.vm_status())?;
        holds(result.gas_used() > 0, "no gas")?;
        holds(!result.events().is_empty() && !result.changes().is_empty(), "no effects")?;
        equal((w.balance(bob).await?, w.balance(alice.address()).await?), (0, 5 * APT))
    });
    cases.add("simulate", "gas is estimated", |w| async move {
        let alice = w.funded(5 * APT).await?;
        let estimate = w.aptos.estimate_gas(&alice, transfer(fresh(), 5)?).await?;
        holds((1..1_000).contains(&estimate), format!("{estimate} units"))
    });
    cases.add("simulate", "an abort is answered", |w| async move {
        let alice = w.funded(5 * APT).await?;
        let result = w.aptos.simulate(&alice, transfer(fresh(), 50 * APT)?).await?;
        holds(result.failed() && result.is_insufficient_balance(), result.vm_status())
    });
    cases.add("simulate", "what would be discarded is answered", |w| async move {
        let alice = w.funded(APT).await?;
        let early = signed(&alice, &raw(alice.address(), 9, transfer(fresh(), 5)?)?)?;
        let result = w.aptos.simulate_signed(&early.for_simulate_endpoint()).await?;
        equal(result.vm_status(), "SEQUENCE_NUMBER_TOO_NEW")
    });
}

fn more_simulation(cases: &mut Cases) {
    cases.add("simulate", "with two signers", |w| async move {
        let call = together(&w, &w.funded(1).await?).await?;
        let result = w.aptos.simulate_multi_agent(&call, None).await?;
        holds(result.success(), result.vm_status())
    });
    cases.add("simulate", "with a payer", |w| async move {
        let (poor, payer) = (w.funded(5).await?, w.funded(APT).await?);
        let call = sponsored(&w, &poor, payer.address()).await?;
        let result = w.aptos.simulate_fee_payer(&call, None).await?;
        holds(result.success(), result.vm_status())
    });
    cases.add("simulate", "simulate, then submit", |w| async move {
        let (alice, bob) = (w.funded(5 * APT).await?, fresh());
        w.aptos.simulate_submit_and_wait(&alice, transfer(bob, 5)?, None).await?;
        equal(w.balance(bob).await?, 5)
    });
    cases.add("simulate", "what would fail is not submitted", |w| async move {
        let alice = w.funded(5 * APT).await?;
        let poor = transfer(fresh(), 50 * APT)?;
        let Err(error) = w.aptos.simulate_submit_and_wait(&alice, poor, None).await else {
            return Err("it was submitted".into());
        };
        contains(&error.to_string(), "Insufficient balance")?;
        equal(w.aptos.get_sequence_number(alice.address()).await?, 0)
    });
}
