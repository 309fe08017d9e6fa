//! `GET /v1/tasks/{id}`: everything about one attempt but the prompt and the answer, which are
//! not stored.

use crate::{
    app::App,
    error::{ApiError, Invalid},
    settlement::store::from_json,
};
use actix_web::{HttpResponse, web};
use cactus_database::{number, optional_number};
use cactus_protocol::{TaskId, TaskState};
use serde_json::{Value, json};
use sqlx::{Row, any::AnyRow};

/// One task.
pub async fn one(app: web::Data<App>, id: web::Path<String>) -> Result<HttpResponse, ApiError> {
    let task_id: TaskId =
        id.parse().map_err(|_| Invalid::value("id", "must be a task's id: 0x and hex digits"))?;
    let row = sqlx::query("SELECT * FROM tasks WHERE task_id = $1")
        .bind(task_id.to_string())
        .fetch_optional(&app.pool)
        .await?;
    let row = row.ok_or_else(|| ApiError::NotFound(format!("no task {task_id} at this server")))?;
    Ok(HttpResponse::Ok().json(describe(&row)?))
}

fn describe(row: &AnyRow) -> Result<Value, sqlx::Error> {
    let text = |column: &str| row.try_get::<Option<String>, _>(column);
    let state: TaskState = from_json(row.try_get("state")?)?;
    let candidates: Value = from_json(row.try_get("candidates")?)?;
    let receipt: Option<Value> = text("receipt")?.map(|r| from_json(&r)).transpose()?;
    Ok(json!({
        "id": text("task_id")?,
        "client": text("client")?,
        "order": text("order_id")?,
        "operator": text("operator")?,
        "node": text("node")?,
        "model": text("model")?,
        "state": name(state),
        "verdict": text("verdict")?,
        "receipt": receipt,
        "candidates": candidates["eligible"],
        "ineligible": candidates["ineligible"],
        "previous": from_json::<Value>(row.try_get("previous")?)?,
        "ttft_ms": optional_number(row, "ttft_ms")?,
        "total_ms": optional_number(row, "total_ms")?,
        "lock_octas": number(row, "lock")?,
        "price": {
            "prompt": number(row, "prompt_price")?,
            "output": number(row, "output_price")?,
        },
        "lock_transaction": text("create_transaction")?,
        "payment": payment(row, state)?,
        "deadline_seconds": number(row, "deadline_seconds")?,
        "created_ms": number(row, "created_ms")?,
        "closed_ms": optional_number(row, "closed_ms")?,
        "settled_ms": optional_number(row, "settled_ms")?,
    }))
}

fn name(state: TaskState) -> &'static str {
    match state {
        TaskState::Assigned => "assigned",
        TaskState::Delivered(_) => "delivered",
        TaskState::Refunding { .. } => "refunding",
        TaskState::Settled => "settled",
        TaskState::Refunded => "refunded",
    }
}

/// What the contract moved. Null until the chain confirmed the task's end, and for a task whose
/// lock never came to be. The transaction is null when the contract's record told the end before
/// the transaction did.
fn payment(row: &AnyRow, state: TaskState) -> Result<Value, sqlx::Error> {
    let transaction: Option<String> = row.try_get("close_transaction")?;
    let locked: Option<String> = row.try_get("create_transaction")?;
    let is_final = matches!(state, TaskState::Settled | TaskState::Refunded);
    if !is_final || (transaction.is_none() && locked.is_none()) {
        return Ok(Value::Null);
    }
    Ok(json!({
        "transaction": transaction,
        "orchestrator_octas": optional_number(row, "orchestrator_octas")?,
        "fee_octas": optional_number(row, "fee_octas")?,
        "refund_octas": optional_number(row, "refund_octas")?,
    }))
}
