//! Keys that change, objects that change hands, transactions in JSON.
//! Never tests what a call does.

use std::error::Error;

use aptos_sdk::account::Ed25519Account;
use aptos_sdk::types::AccountAddress;
use serde_json::{Value, json};

use crate::world::{
    APT, Cases, Outcome, World, bcs, contains, equal, fresh, raw, refused_with, signed, transfer,
};

/// Marks addresses of objects that were made from a seed.
const OBJECT_FROM_SEED: u8 = 0xfe;

pub fn add(cases: &mut Cases) {
    cases.add("keys", "an account changes its key and keeps its address", |w| async move {
        let (old, new, bob) = (w.funded(5 * APT).await?, Ed25519Account::generate(), fresh());
        w.aptos.rotate_auth_key(&old, &new, None).await?;
        let call = || raw(old.address(), 1, transfer(bob, 9)?);
        refused_with(w.aptos.submit_transaction(&signed(&old, &call()?)?).await, 2)?;
        let done = w.send(&signed(&new, &call()?)?).await?;
        equal(&done["success"], &json!(true))?;
        equal(w.balance(bob).await?, 9)
    });
    cases.add("keys", "the key that an account has cannot be given to it again", |w| async move {
        let alice = w.funded(5 * APT).await?;
        let again = w.aptos.rotate_auth_key(&alice, &alice, None).await;
        says(again.map(drop), "ENEW_AUTH_KEY_SAME_AS_CURRENT")
    });
    cases.add("objects", "an object changes hands by its address", |w| async move {
        let (alice, bob) = (w.funded(5 * APT).await?, fresh());
        let shape = drawn(&w, &alice).await?;
        w.aptos.transfer_object(&alice, shape, bob).await?;
        let core = w.aptos.fullnode().get_account_resource(shape, "0x1::object::ObjectCore");
        equal(&core.await?.data.data["owner"], &json!(bob.to_string()))
    });
    cases.add("objects", "another's object stays where it is", |w| async move {
        let shape = drawn(&w, &w.funded(5 * APT).await?).await?;
        let mallory = w.funded(5 * APT).await?;
        let moved = w.aptos.transfer_object(&mallory, shape, fresh()).await;
        says(moved.map(drop), "ENOT_OBJECT_OWNER")
    });
    cases.add("json", "a transaction handed in as it was printed", |w| async move {
        let alice = w.funded(5 * APT).await?;
        let parked = signed(&alice, &raw(alice.address(), 1, transfer(fresh(), 1)?)?)?;
        let hash = w.aptos.submit_transaction(&parked).await?.data.hash;
        let printed = w.aptos.fullnode().get_transaction_by_hash(&hash).await?.data;
        let base = w.aptos.fullnode().base_url().as_str().trim_end_matches('/').to_owned();
        let url = format!("{base}/transactions");
        let answer = reqwest::Client::new().post(url).json(&printed).send().await?;
        equal(answer.status().as_u16(), 202)?;
        equal(answer.json::<Value>().await?, printed)
    });
}

/// Fails unless the transaction failed for this reason.
fn says(result: Result<(), aptos_sdk::AptosError>, reason: &str) -> Outcome {
    match result {
        Err(error) => contains(&error.to_string(), reason),
        Ok(()) => Err("it succeeded".into()),
    }
}

/// Has someone make an object; answers its address.
async fn drawn(w: &World, owner: &Ed25519Account) -> Result<AccountAddress, Box<dyn Error>> {
    w.run(owner, w.call("draw", vec![bcs(&3_u64)?, bcs(&4_u64)?])?).await?;
    let seed = [&owner.address().to_bytes()[..], b"shape", &[OBJECT_FROM_SEED]].concat();
    Ok(AccountAddress::new(aptos_sdk::crypto::sha3_256(&seed)))
}
