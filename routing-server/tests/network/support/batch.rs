//! Files and batches as a client uses them.

use super::{TestApp, client::Client, eventually};
use reqwest::{Method, Response};
use serde_json::{Value, json};

const BOUNDARY: &str = "a-boundary-of-the-test";

/// A multipart form with a file.
pub fn form(purpose: &str, content: &str) -> Vec<u8> {
    format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\n{purpose}\r\n\
         --{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"in.jsonl\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n{content}\r\n--{BOUNDARY}--\r\n"
    )
    .into_bytes()
}

/// A line of a batch that asks `content`.
pub fn chat_line(custom_id: &str, content: &str) -> Value {
    json!({"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": {
        "model": "sprout", "max_tokens": 200, "messages": [{"role": "user", "content": content}],
    }})
}

pub fn lines(lines: &[Value]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

impl Client {
    pub async fn upload(&self, form: Vec<u8>) -> Response {
        let kind = format!("multipart/form-data; boundary={BOUNDARY}");
        let request = self.signed(Method::POST, "/v1/files", form);
        request.header("Content-Type", kind).send().await.unwrap()
    }

    /// The id of an uploaded file.
    pub async fn uploaded(&self, content: &str) -> String {
        let response = self.upload(form("batch", content)).await;
        assert_eq!(response.status(), 200);
        let file: Value = response.json().await.unwrap();
        file["id"].as_str().unwrap().to_owned()
    }

    pub async fn get(&self, path: &str) -> Response {
        self.signed(Method::GET, path, vec![]).send().await.unwrap()
    }

    /// A document that is there.
    pub async fn read(&self, path: &str) -> Value {
        let response = self.get(path).await;
        assert_eq!(response.status(), 200, "{path}");
        response.json().await.unwrap()
    }

    /// Makes a batch of chat lines; its id.
    pub async fn batch(&self, file: &str, window: &str) -> String {
        let body = json!({"input_file_id": file, "endpoint": "/v1/chat/completions",
            "completion_window": window, "metadata": {"for": "a test"}});
        let response = self.post_to("/v1/batches", body).await;
        assert_eq!(response.status(), 200);
        let batch: Value = response.json().await.unwrap();
        assert_eq!(batch["status"], "validating");
        batch["id"].as_str().unwrap().to_owned()
    }

    /// The batch once `is_there` says so.
    pub async fn batch_when(&self, id: &str, is_there: impl Fn(&Value) -> bool) -> Value {
        let path = format!("/v1/batches/{id}");
        eventually(async || {
            let batch = self.read(&path).await;
            is_there(&batch).then_some(batch)
        })
        .await
    }

    pub async fn batch_in(&self, id: &str, state: &str) -> Value {
        self.batch_when(id, |batch| batch["status"] == state).await
    }

    /// The lines of a file that a batch wrote.
    pub async fn lines_of(&self, file: &Value) -> Vec<Value> {
        let path = format!("/v1/files/{}/content", file.as_str().unwrap());
        let text = self.get(&path).await.text().await.unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// Every task that was paid, once for each time.
pub fn paid(app: &TestApp) -> Vec<cactus_protocol::TaskId> {
    use super::chain::Closed;
    let closed = app.chain.closed();
    let is_paid = |how: &Closed| matches!(how, Closed::Paid { .. });
    closed.iter().filter(|(_, how)| is_paid(how)).map(|(task, _)| *task).collect()
}
