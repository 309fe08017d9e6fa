//! Files: bounded, streamed into the database, and seen by nobody but their payer.

use crate::support::{
    TestApp,
    batch::form,
    client::{Client, refusal},
    eventually, limits, spawn_app, spawn_app_with,
};
use cactus_routing_server::Limits;
use reqwest::Method;
use serde_json::{Value, json};

/// How many files have bytes or a row.
async fn on_disk(app: &TestApp) -> i64 {
    let pool = app.disk.database.open().await;
    let query =
        "SELECT count(*) FROM (SELECT id FROM files UNION SELECT file FROM file_parts) AS f";
    let count = sqlx::query_scalar(query).fetch_one(&pool).await.unwrap();
    pool.close().await;
    count
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_kept_listed_read_back_and_deleted() {
    let app = spawn_app();
    let client = Client::funded(&app);
    let first = client.uploaded("{}\n").await;
    let second = client.uploaded("second\n").await;
    let file = client.read(&format!("/v1/files/{first}")).await;
    assert_eq!((file["bytes"].as_u64(), &file["purpose"]), (Some(3), &json!("batch")));
    assert_eq!((&file["object"], &file["filename"]), (&json!("file"), &json!("in.jsonl")));
    let content = client.get(&format!("/v1/files/{second}/content")).await;
    assert_eq!(content.headers()["content-length"], "7");
    assert_eq!(content.text().await.unwrap(), "second\n");

    let page = client.read("/v1/files?limit=1&purpose=batch").await;
    assert_eq!((&page["data"][0]["id"], &page["has_more"]), (&json!(second), &json!(true)));
    let rest = client.read(&format!("/v1/files?after={second}")).await;
    assert_eq!((&rest["data"][0]["id"], &rest["has_more"]), (&json!(first), &json!(false)));
    assert_eq!(client.read("/v1/files?purpose=batch_output").await["data"], json!([]));

    let path = format!("/v1/files/{first}");
    let deleted = client.signed(Method::DELETE, &path, vec![]).send().await.unwrap();
    assert_eq!(deleted.json::<Value>().await.unwrap()["deleted"], true);
    assert_eq!(refusal(client.get(&path).await).await.0, 404);
    assert_eq!(on_disk(&app).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_sees_or_deletes_anothers_file() {
    let app = spawn_app();
    let (owner, stranger) = (Client::funded(&app), Client::funded(&app));
    let id = owner.uploaded("secret\n").await;
    for path in [format!("/v1/files/{id}"), format!("/v1/files/{id}/content")] {
        assert_eq!(refusal(stranger.get(&path).await).await.0, 404);
    }
    let path = format!("/v1/files/{id}");
    let deleting = stranger.signed(Method::DELETE, &path, vec![]).send().await.unwrap();
    assert_eq!(refusal(deleting).await.0, 404);
    assert_eq!(stranger.read("/v1/files").await["data"], json!([]));
    for path in ["/v1/files/..%2f..%2frouter.sqlite", "/v1/files/..%2fserver.key/content"] {
        assert_eq!(refusal(owner.get(path).await).await.0, 404, "{path}");
    }
    let body = json!({"input_file_id": id, "endpoint": "/v1/chat/completions",
        "completion_window": "24h"});
    assert_eq!(refusal(stranger.post_to("/v1/batches", body).await).await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_out_of_bounds_or_form_leaves_nothing_behind() {
    let app = spawn_app_with(Limits { file_bytes: 1_000, files_per_payer: 1, ..limits() });
    let client = Client::funded(&app);
    let long = client.upload(form("batch", &"x".repeat(100_000))).await;
    let (status, error) = refusal(long).await;
    assert_eq!((status, error["code"].as_str()), (413, Some("body_too_large")));
    let (status, error) = refusal(client.upload(form("fine-tune", "x")).await).await;
    assert_eq!((status, error["param"].as_str()), (400, Some("purpose")));
    assert_eq!(refusal(client.upload(form("batch", "")).await).await.0, 400);
    let cut = &form("batch", "x")[..60];
    assert_eq!(refusal(client.upload(cut.to_vec()).await).await.0, 400);
    let json = client.post_to("/v1/files", json!({})).await;
    assert_eq!(refusal(json).await.0, 415);
    let bare = client.bare(Method::POST, "/v1/files", form("batch", "x"));
    assert_eq!(refusal(bare.send().await.unwrap()).await.0, 401);

    // The signature is over other bytes.
    let claim = client.sign(client.claim("POST", "/v1/files", b"other"));
    let forged = client
        .bare(Method::POST, "/v1/files", form("batch", "x"))
        .header("Content-Type", "multipart/form-data; boundary=a-boundary-of-the-test")
        .header("Authorization", claim);
    assert_eq!(refusal(forged.send().await.unwrap()).await.0, 401);
    eventually(async || (on_disk(&app).await == 0).then_some(())).await;

    let poor = Client::new(&app, (cactus_protocol::Octas(1), cactus_protocol::Octas(1)));
    let (status, error) = refusal(poor.upload(form("batch", "x")).await).await;
    assert_eq!((status, error["code"].as_str()), (402, Some("insufficient_funds")));
    eventually(async || (on_disk(&app).await == 0).then_some(())).await;

    client.uploaded("x").await;
    let (status, error) = refusal(client.upload(form("batch", "x")).await).await;
    assert_eq!((status, error["code"].as_str()), (409, Some("too_many_files")));
}

#[tokio::test(flavor = "multi_thread")]
async fn all_files_together_have_a_bound() {
    let app = spawn_app_with(Limits { all_file_bytes: 5, ..limits() });
    Client::funded(&app).uploaded("12345").await;
    let response = Client::funded(&app).upload(form("batch", "6")).await;
    assert!(response.headers().contains_key("retry-after"));
    assert_eq!(refusal(response).await.0, 429);
}
