//! View functions: JSON or BCS in, JSON or BCS out.
//! Never calls a function that is not marked `#[view]`.

use std::sync::Arc;

use actix_web::{HttpRequest, web};
use cactus_move_vm::{ModuleId, TypeTag};
use serde::Deserialize;
use serde_json::Value;

use super::accounts::check_version;
use super::answer::{self, Answer, ApiError};
use super::node::Node;
use super::{abi, arguments, json as print};
use crate::chain::{Chain, Viewed};
use crate::store::Snapshot;
use crate::transaction::{EntryFunction, parse_view_request};

/// The body type of a BCS request.
const VIEW_BCS: &str = "application/x.aptos.view_function+bcs";

/// A call in JSON.
#[derive(Deserialize)]
pub struct CallRequest {
    function: String,
    #[serde(default)]
    type_arguments: Vec<String>,
    #[serde(default)]
    arguments: Vec<Value>,
}

/// Which state.
#[derive(Deserialize)]
pub struct At {
    ledger_version: Option<u64>,
}

/// `POST /v1/view`
pub async fn view(
    chain: Node,
    request: HttpRequest,
    at: web::Query<At>,
    body: web::Bytes,
) -> Answer {
    let snapshot = chain.snapshot();
    check_version(&snapshot, at.ledger_version)?;
    let kind = request.headers().get("content-type").and_then(|kind| kind.to_str().ok());
    let call = if kind.is_some_and(|kind| kind.starts_with(VIEW_BCS)) {
        parse_view_request(&body).map_err(ApiError::invalid)?
    } else {
        parse_json(&chain, &snapshot, &body)?
    };
    check_is_view(&chain, &snapshot, &call)?;
    let (running, state) = (chain.clone(), Arc::clone(&snapshot));
    let viewed = web::block(move || running.view(&state, call)).await;
    let viewed = viewed.map_err(|_| ApiError::unavailable("too busy for views"))?;
    let Viewed { results, gas_used } = viewed.map_err(|status| ApiError::of_execution(&status))?;
    let mut answer = if answer::wants_bcs(&request) {
        in_bcs(&snapshot, &results)?
    } else {
        let printed =
            results.iter().map(|(tag, bytes)| print::value(&chain, &*snapshot, tag, bytes));
        answer::json(&snapshot, &printed.collect::<Vec<_>>())?
    };
    answer::add_gas_used(&mut answer, gas_used);
    Ok(answer)
}

fn parse_json(chain: &Chain, snapshot: &Snapshot, body: &[u8]) -> Result<EntryFunction, ApiError> {
    let request = serde_json::from_slice(body).map_err(ApiError::invalid)?;
    parse_call(chain, snapshot, request)
}

/// Encodes a call's arguments by the types that its function declares.
pub fn parse_call(
    chain: &Chain,
    snapshot: &Snapshot,
    request: CallRequest,
) -> Result<EntryFunction, ApiError> {
    let (module, function) = parse_function(&request.function)
        .ok_or_else(|| ApiError::invalid("function must be address::module::name"))?;
    let type_args: Result<Vec<TypeTag>, _> =
        request.type_arguments.iter().map(|text| text.parse()).collect();
    let mut call = EntryFunction {
        module,
        function,
        type_args: type_args.map_err(ApiError::invalid)?,
        args: Vec::new(),
    };
    let types = abi::argument_types(chain, snapshot, &call).ok_or_else(|| no_such_view(&call))?;
    if types.len() != request.arguments.len() {
        let (wanted, given) = (types.len(), request.arguments.len());
        return Err(ApiError::invalid(format!("{wanted} arguments are wanted, {given} given")));
    }
    for (tag, value) in types.iter().zip(&request.arguments) {
        call.args.push(arguments::encode(tag, value).map_err(ApiError::invalid)?);
    }
    Ok(call)
}

fn parse_function(text: &str) -> Option<(ModuleId, String)> {
    let mut parts = text.split("::");
    let (address, module, name) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    Some((ModuleId::new(address.parse().ok()?, module), name.to_owned()))
}

fn no_such_view(call: &EntryFunction) -> ApiError {
    let EntryFunction { module, function, .. } = call;
    ApiError::invalid(format!(
        "there is no function {}::{}::{function}",
        module.address, module.name
    ))
}

fn check_is_view(chain: &Chain, snapshot: &Snapshot, call: &EntryFunction) -> Result<(), ApiError> {
    let module = abi::module(chain, snapshot, &call.module).ok_or_else(|| no_such_view(call))?;
    if module.function(&call.function).is_none() {
        return Err(no_such_view(call));
    }
    if !module.aptos_metadata().is_view(&call.function) {
        let EntryFunction { module, function, .. } = call;
        let name = format!("{}::{}::{function}", module.address, module.name);
        return Err(ApiError::invalid(format!("'{name}' is not a view function")));
    }
    Ok(())
}

/// The number of results, then each result's bytes.
fn in_bcs(snapshot: &Snapshot, results: &[(TypeTag, Vec<u8>)]) -> Answer {
    let count = u8::try_from(results.len()).ok().filter(|count| *count < 0x80);
    let mut body = vec![count.ok_or_else(|| ApiError::invalid("too many results"))?];
    body.extend(results.iter().flat_map(|(_, bytes)| bytes));
    answer::bcs(snapshot, body)
}
