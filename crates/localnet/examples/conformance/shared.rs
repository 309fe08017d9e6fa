//! The cases of cases.json, carried out with the Rust SDK.
//! Never knows what a case is about.

use std::error::Error;
use std::sync::Arc;

use aptos_sdk::account::Ed25519Account;
use aptos_sdk::transaction::TransactionPayload;
use aptos_sdk::types::{ChainId, TypeTag};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::world::{
    Cases, MAX_GAS, Outcome, World, contains, entry, equal, fresh, raw, refused, refused_with,
    signed, transfer,
};

#[derive(Deserialize)]
struct Shared {
    views: Vec<Call>,
    refused_views: Vec<Call>,
    calls: Vec<Call>,
    failed_calls: Vec<Call>,
    refusals: Vec<Refusal>,
}

#[derive(Clone, Deserialize)]
struct Call {
    name: String,
    function: String,
    #[serde(default)]
    type_arguments: Vec<String>,
    #[serde(default)]
    types: Vec<String>,
    #[serde(default)]
    arguments: Vec<Value>,
    #[serde(default)]
    results: Value,
    #[serde(default)]
    status: Value,
    #[serde(default)]
    says: String,
    max_gas: Option<u64>,
}

#[derive(Clone, Deserialize)]
struct Refusal {
    name: String,
    change: Change,
    code: u64,
}

#[derive(Clone, Default, Deserialize)]
struct Change {
    expiration: Option<u64>,
    chain_id: Option<u8>,
    sequence_number: Option<u64>,
    max_gas: Option<u64>,
    gas_price: Option<u64>,
    #[serde(default)]
    tamper: bool,
    signer: Option<String>,
    sender: Option<String>,
}

impl Call {
    fn encoded(&self) -> Result<Vec<Vec<u8>>, Box<dyn Error>> {
        let pairs = self.types.iter().zip(&self.arguments);
        pairs.map(|(kind, value)| encode(kind, value)).collect()
    }

    fn payload(&self) -> Result<TransactionPayload, Box<dyn Error>> {
        Ok(entry(&self.function, &self.type_arguments, self.encoded()?)?)
    }
}

/// Adds the shared cases, with placeholders replaced.
pub fn add(cases: &mut Cases, world: &World) -> Outcome {
    let me = world.me.address().to_string();
    let trimmed = format!("0x{}", me.trim_start_matches("0x").trim_start_matches('0'));
    let text = std::fs::read_to_string(world.folder.join("cases.json"))?
        .replace("{me}", &me)
        .replace("{trimmed}", &trimmed)
        .replace("{long}", &format!("0x{:0>64}", "a"))
        .replace("{fresh}", &fresh().to_string());
    let shared: Shared = serde_json::from_str(&text)?;
    cases.add("publish", "a package with an initialiser", |w| async move {
        let done = w.publish("probe", &w.me).await?;
        equal(&done["success"], &json!(true))?;
        let mine = vec![json!(w.me.address().to_string())];
        equal(w.aptos.view(&w.probe("value"), vec![], mine).await?, [json!("0")])
    });
    for one in shared.views {
        let call = one.clone();
        cases.add("views, JSON", one.name.clone(), |w| view_json(w, call));
        cases.add("views, BCS", one.name.clone(), |w| view_bcs(w, one));
    }
    for one in shared.refused_views {
        cases.add("views, refused", one.name.clone(), |w| async move {
            let result = w.aptos.view(&one.function, one.type_arguments, one.arguments).await;
            refused(result, 400, &one.says)
        });
    }
    let calls = shared.calls.into_iter().map(|one| ("calls", one));
    for (area, one) in calls.chain(shared.failed_calls.into_iter().map(|one| ("failed calls", one)))
    {
        cases.add(area, one.name.clone(), |w| called(w, one));
    }
    for one in shared.refusals {
        cases.add("refusals", one.name.clone(), |w| refusal(w, one));
    }
    Ok(())
}

async fn view_json(w: Arc<World>, one: Call) -> Outcome {
    let found = w.aptos.view(&one.function, one.type_arguments, one.arguments).await?;
    equal(Value::Array(found), one.results)
}

async fn view_bcs(w: Arc<World>, one: Call) -> Outcome {
    let tags: Result<Vec<TypeTag>, _> =
        one.type_arguments.iter().map(|text| TypeTag::from_str_strict(text)).collect();
    let args = one.encoded()?;
    let found = w.aptos.fullnode().view_bcs_args(&one.function, tags?, args).await?;
    equal(Value::Array(found.data), one.results)
}

async fn called(w: Arc<World>, one: Call) -> Outcome {
    let next = w.aptos.get_sequence_number(w.me.address()).await?;
    let mut call = raw(w.me.address(), next, one.payload()?)?;
    call.max_gas_amount = one.max_gas.unwrap_or(MAX_GAS);
    let done = w.send(&signed(&w.me, &call)?).await?;
    let status = one.status.as_str().unwrap_or_default();
    contains(done["vm_status"].as_str().unwrap_or_default(), status)?;
    equal(&done["success"], &json!(status == "Executed successfully"))
}

async fn refusal(w: Arc<World>, one: Refusal) -> Outcome {
    let stranger = Ed25519Account::generate();
    let sender = if one.change.sender.is_some() { &stranger } else { &w.me };
    let next = match one.change.sequence_number {
        Some(number) => number,
        None if one.change.sender.is_some() => 0,
        None => w.aptos.get_sequence_number(sender.address()).await?,
    };
    let mut call = raw(sender.address(), next, transfer(fresh(), 1)?)?;
    let change = one.change;
    call.expiration_timestamp_secs = change.expiration.unwrap_or(call.expiration_timestamp_secs);
    call.chain_id = change.chain_id.map_or(call.chain_id, ChainId::new);
    call.max_gas_amount = change.max_gas.unwrap_or(call.max_gas_amount);
    call.gas_unit_price = change.gas_price.unwrap_or(call.gas_unit_price);
    let signer = if change.signer.is_some() { &stranger } else { sender };
    let mut transaction = signed(signer, &call)?;
    if change.tamper {
        transaction.raw_txn.gas_unit_price += 1;
    }
    refused_with(w.aptos.submit_transaction(&transaction).await, one.code)
}

/// BCS of a JSON value of a type.
fn encode(kind: &str, value: &Value) -> Result<Vec<u8>, Box<dyn Error>> {
    let text = value.as_str().map(str::to_owned).unwrap_or_else(|| value.to_string());
    let inner = |prefix: &str| kind.strip_prefix(prefix)?.strip_suffix('>');
    let bytes = |text: &str| hex::decode(text.trim_start_matches("0x"));
    Ok(match kind {
        "u8" => text.parse::<u8>()?.to_le_bytes().to_vec(),
        "u16" => text.parse::<u16>()?.to_le_bytes().to_vec(),
        "u32" => text.parse::<u32>()?.to_le_bytes().to_vec(),
        "u64" => text.parse::<u64>()?.to_le_bytes().to_vec(),
        "u128" => text.parse::<u128>()?.to_le_bytes().to_vec(),
        "u256" => bcs_u256(&text)?,
        "bool" => vec![u8::from(value.as_bool().ok_or("no bool")?)],
        "address" => bytes(&text)?,
        "0x1::string::String" => aptos_bcs::to_bytes(&text)?,
        "vector<u8>" => aptos_bcs::to_bytes(&bytes(&text)?)?,
        _ => match (inner("vector<"), inner("0x1::option::Option<")) {
            (Some(element), _) => sequence(element, value)?,
            (_, Some(element)) => sequence(element, &value["vec"])?,
            _ => return Err(format!("no encoding for {kind}").into()),
        },
    })
}

fn bcs_u256(text: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    Ok(aptos_bcs::to_bytes(&aptos_sdk::transaction::MoveU256::parse(text)?)?)
}

fn sequence(element: &str, items: &Value) -> Result<Vec<u8>, Box<dyn Error>> {
    let items = items.as_array().ok_or("no list")?;
    let mut bytes = vec![u8::try_from(items.len())?];
    for item in items {
        bytes.extend(encode(element, item)?);
    }
    Ok(bytes)
}
