//! Resources, modules, tables, lists, events, results in BCS, upgrades of the probe.
//! Runs last: the upgrades change the probe.

use std::error::Error;

use aptos_sdk::types::{AccountAddress, HashValue};
use serde_json::{Value, json};

use crate::world::{
    APT, Cases, World, bcs, contains, equal, fresh, holds, missing, refused, transfer,
};

pub fn add(cases: &mut Cases) {
    resources(cases);
    modules(cases);
    tables(cases);
    lists(cases);
    more_lists(cases);
    events(cases);
    raw_views(cases);
    upgrades(cases);
}

fn resources(cases: &mut Cases) {
    cases.add("resources", "one resource", |w| async move {
        let fullnode = w.aptos.fullnode();
        let found = fullnode.get_account_resource(w.me.address(), &w.probe("Values")).await?.data;
        let data = &found.data;
        equal(&json!([data["byte"], data["long"], data["widest"]]), &json!([1, "4", "6"]))?;
        equal(&data["maybe"], &json!({ "vec": ["12"] }))
    });
    cases.add("resources", "a generic resource", |w| async move {
        let kind = format!("{}<0x1::string::String>", w.probe("Holder"));
        let found = w.aptos.fullnode().get_account_resource(w.me.address(), &kind).await?.data;
        equal((found.typ, found.data), (kind, json!({ "item": "held" })))
    });
    cases.add("resources", "one that was removed is not there", |w| async move {
        let kind = format!("{}<u64>", w.probe("Holder"));
        missing(w.aptos.fullnode().get_account_resource(w.me.address(), &kind).await)
    });
    cases.add("resources", "all of an account", |w| async move {
        let all = w.aptos.fullnode().get_account_resources(w.me.address()).await?.data;
        for wanted in ["0x1::account::Account", "0x1::code::PackageRegistry", &w.probe("Counter")] {
            holds(all.iter().any(|one| one.typ == wanted), wanted)?;
        }
        Ok(())
    });
    cases.add("resources", "page by page", |w| async move {
        let fullnode = w.aptos.fullnode();
        let all = fullnode.get_account_resources(w.me.address()).await?.data;
        let (mut found, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let start = cursor.as_deref();
            let page =
                fullnode.get_account_resources_paginated(w.me.address(), start, Some(2)).await?;
            found.extend(page.data.into_iter().map(|one| one.typ));
            cursor = page.cursor;
            if cursor.is_none() {
                break;
            }
        }
        equal(found, all.into_iter().map(|one| one.typ).collect::<Vec<_>>())
    });
}

fn modules(cases: &mut Cases) {
    cases.add("modules", "the interface of a module", |w| async move {
        let module = w.aptos.fullnode().get_account_module(w.me.address(), "probe").await?.data;
        let abi = module.abi.ok_or("no interface")?;
        let found = |name: &str| abi.exposed_functions.iter().find(|one| one.name == name);
        let add = found("add").ok_or("no function")?;
        equal((add.is_entry, add.is_view), (true, false))?;
        equal(&add.params, &["&signer", "u64"])?;
        equal(found("value").map(|one| one.is_view), Some(true))
    });
    cases.add("modules", "all modules of an account", |w| async move {
        let modules = w.aptos.fullnode().get_account_modules(AccountAddress::ONE).await?.data;
        let names = modules.iter().filter_map(|one| one.abi.as_ref().map(|abi| &abi.name));
        holds(names.into_iter().any(|name| name == "fungible_asset"), "a module is missing")
    });
    cases.add("modules", "a page of modules", |w| async move {
        let fullnode = w.aptos.fullnode();
        let page =
            fullnode.get_account_modules_paginated(AccountAddress::ONE, None, Some(3)).await?;
        equal((page.data.len(), page.cursor.is_some()), (3, true))
    });
    cases.add("modules", "a module that is not there", |w| async move {
        missing(w.aptos.fullnode().get_account_module(w.me.address(), "absent").await)
    });
}

async fn item(
    w: &World,
    field: &str,
    types: (&str, &str),
    key: Value,
) -> Result<Result<Value, aptos_sdk::AptosError>, Box<dyn Error>> {
    let fullnode = w.aptos.fullnode();
    let counter = fullnode.get_account_resource(w.me.address(), &w.probe("Counter")).await?.data;
    let handle = counter.data[field]["handle"].as_str().ok_or("no handle")?.to_owned();
    Ok(w.aptos.get_table_item(&handle, types.0, types.1, key).await)
}

const NOTE: (&str, &str) = ("u64", "0x1::string::String");

fn tables(cases: &mut Cases) {
    cases.add("tables", "a number as key", |w| async move {
        equal(item(&w, "notes", NOTE, json!("1")).await??, json!("eins"))
    });
    cases.add("tables", "a text as key and a structure as value", |w| async move {
        let types = ("0x1::string::String", &*w.probe("Entry"));
        let found = item(&w, "entries", types, json!("lamp")).await??;
        let owner = w.me.address().to_string();
        equal(found, json!({ "amount": "3", "owner": owner, "tags": "0xbeef" }))
    });
    cases.add("tables", "an item that was removed", |w| async move {
        missing(item(&w, "notes", NOTE, json!("2")).await?)
    });
    cases.add("tables", "a key of another type is refused", |w| async move {
        refused(item(&w, "notes", NOTE, json!("one")).await?, 400, "invalid_input")
    });
}

fn lists(cases: &mut Cases) {
    cases.add("lists", "transactions by version and by hash agree", |w| async move {
        let done = w.run(&w.funded(APT).await?, transfer(fresh(), 3)?).await?;
        let version = done["version"].as_str().ok_or("no version")?.parse()?;
        let fullnode = w.aptos.fullnode();
        equal(&fullnode.get_transaction_by_version(version).await?.data, &done)?;
        let hash = HashValue::from_hex(done["hash"].as_str().ok_or("no hash")?)?;
        equal(fullnode.get_transaction_by_hash(&hash).await?.data, done)
    });
    cases.add("lists", "a version that is not there yet", |w| async move {
        missing(w.aptos.fullnode().get_transaction_by_version(1_000_000_000).await)
    });
    cases.add("lists", "transactions from a start", |w| async move {
        let found = w.aptos.fullnode().get_transactions(Some(0), Some(2)).await?.data;
        let types: Vec<&Value> = found.iter().map(|one| &one["type"]).collect();
        equal(types, ["genesis_transaction", "block_metadata_transaction"])
    });
    cases.add("lists", "an account's transactions", |w| async move {
        let alice = w.funded(APT).await?;
        for octas in [1, 2, 3] {
            w.run(&alice, transfer(fresh(), octas)?).await?;
        }
        let fullnode = w.aptos.fullnode();
        let sent = fullnode.get_account_transactions(alice.address(), Some(1), Some(5)).await?.data;
        let amounts: Vec<&Value> = sent.iter().map(|one| &one["payload"]["arguments"][1]).collect();
        equal(amounts, ["2", "3"])
    });
}

fn more_lists(cases: &mut Cases) {
    cases.add("lists", "blocks by height and by version agree", |w| async move {
        let done = w.run(&w.funded(APT).await?, transfer(fresh(), 3)?).await?;
        let version = done["version"].as_str().ok_or("no version")?.parse()?;
        let fullnode = w.aptos.fullnode();
        let block = fullnode.get_block_by_version(version, true).await?.data;
        let inside = block["transactions"].as_array().ok_or("no transactions")?;
        holds(inside.iter().any(|one| one["hash"] == done["hash"]), "it is not in its block")?;
        let height = block["block_height"].as_str().ok_or("no height")?.parse()?;
        equal(fullnode.get_block_by_height(height, true).await?.data, block)
    });
    cases.add("lists", "a block that is not there yet", |w| async move {
        missing(w.aptos.fullnode().get_block_by_height(1_000_000_000, false).await)
    });
}

fn events(cases: &mut Cases) {
    cases.add("events", "events of a call with their data", |w| async move {
        let done = w.run(&w.me, w.call("add", vec![bcs(&1_u64)?])?).await?;
        let events = done["events"].as_array().ok_or("no events")?;
        let counted = events.iter().find(|one| one["type"] == json!(w.probe("Counted")));
        let account = &counted.ok_or("no event")?["data"]["account"];
        equal(account, &json!(w.me.address().to_string()))
    });
    cases.add("events", "no event handles, so no events by number", |w| async move {
        let fullnode = w.aptos.fullnode();
        let found = fullnode.get_events_by_creation_number(w.me.address(), 0, None, None).await?;
        equal(found.data, Vec::<Value>::new())
    });
    cases.add("events", "a field that is no event handle is refused", |w| async move {
        let (fullnode, kind) = (w.aptos.fullnode(), w.probe("Counter"));
        let handle = (w.me.address(), kind.as_str(), "value");
        let found =
            fullnode.get_events_by_event_handle(handle.0, handle.1, handle.2, None, None).await;
        refused(found, 400, "invalid_input")
    });
}

fn raw_views(cases: &mut Cases) {
    cases.add("views, raw", "results are counted and then come in BCS", |w| async move {
        let bytes = w.aptos.view_bcs_raw(&w.probe("version"), vec![], vec![]).await?;
        equal(aptos_bcs::from_bytes::<(u8, u64)>(&bytes)?, (1, 1))
    });
    cases.add("views, raw", "a structure in BCS", |w| async move {
        type Values = (u8, u16, u32, u64, u128);
        let me = vec![bcs(&w.me.address())?];
        let bytes = w.aptos.view_bcs_raw(&w.probe("values"), vec![], me).await?;
        let (values, rest) = bytes[1..].split_at_checked(31).ok_or("too short")?;
        equal(aptos_bcs::from_bytes::<Values>(values)?, (1, 2, 3, 4, 5))?;
        holds(rest.ends_with(&[1, 12, 0, 0, 0, 0, 0, 0, 0]), "the option is not at the end")
    });
    cases.add("views, raw", "an object by its address", |w| async move {
        let done = w
            .run(&w.funded(5 * APT).await?, w.call("draw", vec![bcs(&3_u64)?, bcs(&4_u64)?])?)
            .await?;
        let changes = done["changes"].as_array().ok_or("no changes")?;
        let thing = w.probe("Thing");
        let made = changes.iter().find(|one| one["data"]["type"] == json!(thing));
        let address = made.ok_or("no object")?["address"].clone();
        equal(w.aptos.view(&w.probe("area"), vec![], vec![address]).await?, [json!("12")])
    });
}

fn upgrades(cases: &mut Cases) {
    cases.add("publish", "a compatible upgrade", |w| async move {
        let done = w.publish("probe_next", &w.me).await?;
        equal(&done["success"], &json!(true))?;
        equal(w.aptos.view(&w.probe("version"), vec![], vec![]).await?, [json!("2")])
    });
    cases.add("publish", "an incompatible upgrade fails", |w| async move {
        let done = w.publish("probe_broken", &w.me).await?;
        let status = done["vm_status"].as_str().unwrap_or_default();
        contains(status, "BACKWARD_INCOMPATIBLE_MODULE_UPDATE")
    });
    cases.add("publish", "code for another address fails", |w| async move {
        let done = w.publish("probe", &w.funded(5 * APT).await?).await?;
        let status = done["vm_status"].as_str().unwrap_or_default();
        contains(status, "MODULE_ADDRESS_DOES_NOT_MATCH_SENDER")
    });
    cases.add("publish", "code that is none fails", |w| async move {
        let garbage = vec![0xa1, 0x1c, 0xeb, 0x0b, 7, 0, 0, 0, 0];
        let done = w.publish_code(garbage, &w.me).await?;
        equal(&done["success"], &json!(false))
    });
}
