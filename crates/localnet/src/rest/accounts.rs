//! Accounts: sequence numbers, balances, resources, modules, events by handle, table items.
//! Never shows any state but that of the last block.

use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::{HttpRequest, web};
use cactus_move_vm::{AccountAddress, ModuleId, StateKey, Storage, StructTag, TypeTag};
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{self, Answer, ApiError};
use super::node::Node;
use super::{abi, arguments, json as print, transactions};
use crate::chain::Chain;
use crate::framework;
use crate::state::decode_key;
use crate::store::{Entry, Snapshot};

/// Most resources or modules in one answer.
const MAX_ITEMS: usize = 9_999;
/// The coin type that stands for APT.
const APT_COIN: &str = "0x1::aptos_coin::AptosCoin";

/// Adds the routes.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/accounts/{address}", web::get().to(account))
        .route("/accounts/{address}/balance/{asset}", web::get().to(balance))
        .route("/accounts/{address}/resource/{type}", web::get().to(resource))
        .route("/accounts/{address}/resources", web::get().to(resources))
        .route("/accounts/{address}/module/{name}", web::get().to(module))
        .route("/accounts/{address}/modules", web::get().to(modules))
        .route("/accounts/{address}/events/{number}", web::get().to(events_by_number))
        .route("/accounts/{address}/events/{type}/{field}", web::get().to(events_by_handle))
        .route("/accounts/{address}/transactions", web::get().to(transactions::of_account))
        .route("/tables/{handle}/item", web::post().to(table_item));
}

/// Which page of a list, and which state.
#[derive(Deserialize)]
pub struct Page {
    start: Option<String>,
    limit: Option<usize>,
    ledger_version: Option<u64>,
}

/// Reads an address from a path.
pub fn parse_address(text: &str) -> Result<AccountAddress, ApiError> {
    text.parse().map_err(ApiError::invalid)
}

/// This chain keeps one state: that of the last block.
pub fn check_version(snapshot: &Snapshot, wanted: Option<u64>) -> Result<(), ApiError> {
    let current = snapshot.ledger().version;
    match wanted {
        Some(wanted) if wanted > current => Err(ApiError::not_found(
            "version_not_found",
            format!("Ledger version({wanted}) is not there yet: the last is {current}"),
        )),
        Some(wanted) if wanted < current => Err(ApiError::gone(
            "version_pruned",
            format!("Ledger version({wanted}) has been pruned: only {current} is kept"),
        )),
        _ => Ok(()),
    }
}

async fn account(chain: Node, address: web::Path<String>, page: web::Query<Page>) -> Answer {
    let snapshot = chain.snapshot();
    check_version(&snapshot, page.ledger_version)?;
    let address = parse_address(&address)?;
    let Some(account) = framework::account(&*snapshot, &address)? else {
        let version = snapshot.ledger().version;
        let message =
            format!("Account not found by Address({address}) and Ledger version({version})");
        return Err(ApiError::not_found("account_not_found", message));
    };
    let body = json!({
        "sequence_number": account.sequence_number.to_string(),
        "authentication_key": print::hexadecimal(&account.authentication_key),
    });
    answer::json(&snapshot, &body)
}

async fn balance(chain: Node, path: web::Path<(String, String)>) -> Answer {
    let snapshot = chain.snapshot();
    let owner = parse_address(&path.0)?;
    let metadata = match path.1.as_str() {
        APT_COIN => framework::APT_METADATA,
        asset => parse_address(asset)?,
    };
    let balance = framework::balance(&*snapshot, &owner, &metadata)?;
    answer::json(&snapshot, &balance)
}

async fn resource(
    chain: Node,
    request: HttpRequest,
    path: web::Path<(String, String)>,
    page: web::Query<Page>,
) -> Answer {
    let snapshot = chain.snapshot();
    check_version(&snapshot, page.ledger_version)?;
    let address = parse_address(&path.0)?;
    let tag: StructTag = path.1.parse().map_err(ApiError::invalid)?;
    let bytes = stored(&snapshot, &address, &tag)?;
    if answer::wants_bcs(&request) {
        return answer::bcs(&snapshot, bytes);
    }
    let printed = tag.to_string();
    let data = print::value(&chain, &*snapshot, &TypeTag::Struct(Box::new(tag)), &bytes);
    answer::json(&snapshot, &json!({ "type": printed, "data": data }))
}

fn stored(
    snapshot: &Snapshot,
    address: &AccountAddress,
    tag: &StructTag,
) -> Result<Vec<u8>, ApiError> {
    snapshot.resource(address, tag)?.ok_or_else(|| {
        let version = snapshot.ledger().version;
        let message = format!(
            "Resource not found by Address({address}), Struct tag({tag}) and Ledger version({version})"
        );
        ApiError::not_found("resource_not_found", message)
    })
}

async fn resources(chain: Node, address: web::Path<String>, page: web::Query<Page>) -> Answer {
    let snapshot = chain.snapshot();
    check_version(&snapshot, page.ledger_version)?;
    let address = parse_address(&address)?;
    let (start, limit) = page.bounds()?;
    let found = snapshot.resources(&address, start.as_deref(), limit + 1)?;
    list(&snapshot, &found, limit, |key, bytes| match decode_key(key)? {
        StateKey::Resource(_, tag) => {
            let printed = tag.to_string();
            let data = print::value(&chain, &*snapshot, &TypeTag::Struct(Box::new(tag)), bytes);
            Some(json!({ "type": printed, "data": data }))
        }
        _ => None,
    })
}

async fn modules(chain: Node, address: web::Path<String>, page: web::Query<Page>) -> Answer {
    let snapshot = chain.snapshot();
    check_version(&snapshot, page.ledger_version)?;
    let address = parse_address(&address)?;
    let (start, limit) = page.bounds()?;
    let found = snapshot.modules(&address, start.as_deref(), limit + 1)?;
    list(&snapshot, &found, limit, |key, _| match decode_key(key)? {
        StateKey::Module(id) => printed_module(&chain, &snapshot, &id),
        _ => None,
    })
}

/// A page of a list, with the cursor of the next one when there is more.
fn list(
    snapshot: &Snapshot,
    found: &[Entry],
    limit: usize,
    print: impl Fn(&[u8], &[u8]) -> Option<Value>,
) -> Answer {
    let shown = found.iter().take(limit);
    let body: Vec<Value> = shown.filter_map(|(key, value)| print(key, value)).collect();
    let mut response = answer::json(snapshot, &body)?;
    if let Some((next, _)) = found.get(limit) {
        let cursor = HeaderValue::from_str(&hex::encode(next)).map_err(ApiError::internal)?;
        let name = HeaderName::from_static("x-aptos-cursor");
        response.headers_mut().insert(name, cursor);
    }
    Ok(response)
}

impl Page {
    fn bounds(&self) -> Result<(Option<Vec<u8>>, usize), ApiError> {
        let start = self.start.as_ref().map(hex::decode).transpose();
        let limit = self.limit.unwrap_or(MAX_ITEMS).min(MAX_ITEMS);
        if limit == 0 {
            return Err(ApiError::invalid("limit must not be 0"));
        }
        Ok((start.map_err(ApiError::invalid)?, limit))
    }
}

async fn module(chain: Node, path: web::Path<(String, String)>, page: web::Query<Page>) -> Answer {
    let snapshot = chain.snapshot();
    check_version(&snapshot, page.ledger_version)?;
    let id = ModuleId::new(parse_address(&path.0)?, path.1.clone());
    let Some(body) = printed_module(&chain, &snapshot, &id) else {
        let ModuleId { address, name } = id;
        let version = snapshot.ledger().version;
        let message = format!(
            "Module not found by Address({address}), Module name({name}) and Ledger version({version})"
        );
        return Err(ApiError::not_found("module_not_found", message));
    };
    answer::json(&snapshot, &body)
}

/// A module's bytecode and interface; `None` when it is not there.
pub fn printed_module(chain: &Chain, snapshot: &Snapshot, id: &ModuleId) -> Option<Value> {
    let bytecode = snapshot.module(id).ok()??;
    let interface = abi::module(chain, snapshot, id).map(|module| abi::print(&module));
    Some(json!({ "bytecode": print::hexadecimal(&bytecode), "abi": interface }))
}

/// No module of this chain creates event handles: such lists are empty.
async fn events_by_number(chain: Node, path: web::Path<(String, u64)>) -> Answer {
    parse_address(&path.0)?;
    answer::json(&chain.snapshot(), &json!([]))
}

async fn events_by_handle(chain: Node, path: web::Path<(String, String, String)>) -> Answer {
    let snapshot = chain.snapshot();
    let (address, tag, field) = path.into_inner();
    let address = parse_address(&address)?;
    let tag: StructTag = tag.parse().map_err(ApiError::invalid)?;
    stored(&snapshot, &address, &tag)?;
    Err(ApiError::invalid(format!("{field} of {tag} is no event handle")))
}

/// What a table item's request names.
#[derive(Deserialize)]
struct TableItem {
    key_type: String,
    value_type: String,
    key: Value,
}

async fn table_item(
    chain: Node,
    request: HttpRequest,
    handle: web::Path<String>,
    wanted: web::Json<TableItem>,
) -> Answer {
    let snapshot = chain.snapshot();
    let handle = parse_address(&handle)?;
    let key_type: TypeTag = wanted.key_type.parse().map_err(ApiError::invalid)?;
    let value_type: TypeTag = wanted.value_type.parse().map_err(ApiError::invalid)?;
    let key = arguments::encode(&key_type, &wanted.key).map_err(ApiError::invalid)?;
    let Some(bytes) = snapshot.table_item(&handle, &key)? else {
        let message = format!("Table Item not found by Table handle({handle})");
        return Err(ApiError::not_found("table_item_not_found", message));
    };
    if answer::wants_bcs(&request) {
        return answer::bcs(&snapshot, bytes);
    }
    let value = print::value(&chain, &*snapshot, &value_type, &bytes);
    answer::json(&snapshot, &value)
}
