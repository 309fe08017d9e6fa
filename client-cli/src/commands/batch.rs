//! `cactus batch`: many requests in one file, answered when there is room.

use crate::{account::Account, args::BatchCommand, helpful::Helpful, session::Session};
use anyhow::{Context, Result};
use cactus_protocol::auth::ORDER_HEADER;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use std::{
    fs,
    io::{IsTerminal, Write, stderr},
    path::{Path, PathBuf},
    time::Duration,
};

/// How much longer than the batch its order stays good, in seconds.
const ORDER_MARGIN_SECONDS: u64 = 600;
/// For a file on its way to the server.
const UPLOAD_LIMIT: Duration = Duration::from_secs(600);
const POLL: Duration = Duration::from_millis(500);

/// What `/v1/batches/{id}` says, as far as it is shown.
#[derive(Debug, Deserialize)]
struct BatchView {
    id: String,
    status: String,
    request_counts: Counts,
    output_file_id: Option<String>,
    error_file_id: Option<String>,
    errors: Option<Mistakes>,
}

#[derive(Debug, Deserialize)]
struct Counts {
    total: u64,
    completed: u64,
    failed: u64,
}

#[derive(Debug, Deserialize)]
struct Mistakes {
    data: Vec<Mistake>,
}

#[derive(Debug, Deserialize)]
struct Mistake {
    line: Option<u64>,
    message: String,
}

impl BatchView {
    fn is_final(&self) -> bool {
        matches!(self.status.as_str(), "completed" | "failed" | "expired" | "cancelled")
    }

    fn progress(&self) -> String {
        let Counts { total, completed, failed } = self.request_counts;
        let mut text = format!("{}  {completed} of {total} answered", self.status);
        if failed > 0 {
            text.push_str(&format!(", {failed} failed"));
        }
        text
    }
}

pub async fn run(session: &Session, command: BatchCommand) -> Result<()> {
    let batches = Batches { account: Account::open(session).await?, json: session.network.json };
    match command {
        BatchCommand::Submit { file, endpoint, hours, budget, max_per_line, wait } => {
            let seconds = u64::from(hours) * 3600 + ORDER_MARGIN_SECONDS;
            let order = batches.account.order(budget, max_per_line.min(budget), seconds)?;
            let input = batches.upload(&file).await?;
            let body = json!({
                "input_file_id": input,
                "endpoint": endpoint.path(),
                "completion_window": format!("{hours}h"),
            });
            let request = batches
                .account
                .request(Method::POST, "/v1/batches", serde_json::to_vec(&body)?)?
                .header(ORDER_HEADER, order.to_header());
            let response = batches.account.router.send(request).await?;
            let batch: Value = batches.account.router.read(response).await?;
            let id = batch["id"].as_str().context("the routing server sent no id")?.to_owned();
            if wait { batches.wait(&id).await } else { batches.show(&batch) }
        }
        BatchCommand::Status { id } => batches.show(&batches.read(&id).await?),
        BatchCommand::Wait { id } => batches.wait(&id).await,
        BatchCommand::Cancel { id } => {
            let path = format!("/v1/batches/{id}/cancel");
            let batch = batches.account.call(Method::POST, &path, Vec::new(), None).await?;
            batches.show(&batch)
        }
        BatchCommand::Download { id, output, errors } => {
            batches.download(&id, (output, errors)).await
        }
    }
}

struct Batches {
    account: Account,
    json: bool,
}

impl Batches {
    async fn read(&self, id: &str) -> Result<Value> {
        let path = format!("/v1/batches/{id}");
        self.account.call(Method::GET, &path, Vec::new(), None).await
    }

    /// Uploads a file; its id.
    async fn upload(&self, file: &Path) -> Result<String> {
        let content = fs::read(file).with_context(|| format!("read {}", file.display()))?;
        let boundary = format!("cactus-{}", hex::encode(rand::random::<[u8; 16]>()));
        let mut form = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n\
             --{boundary}\r\nContent-Disposition: form-data; name=\"file\"; \
             filename=\"batch.jsonl\"\r\nContent-Type: application/jsonl\r\n\r\n"
        )
        .into_bytes();
        form.extend_from_slice(&content);
        form.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        let kind = format!("multipart/form-data; boundary={boundary}");
        let request = self.account.request_as(Method::POST, "/v1/files", (&kind, form))?;
        let response = self.account.router.send(request.timeout(UPLOAD_LIMIT)).await?;
        let file: Value = self.account.router.read(response).await?;
        Ok(file["id"].as_str().context("the routing server sent no id")?.to_owned())
    }

    /// Asks until the batch has ended, and shows how far it is.
    async fn wait(&self, id: &str) -> Result<()> {
        let shows = !self.json && stderr().is_terminal();
        loop {
            let batch = self.read(id).await?;
            let view: BatchView = serde_json::from_value(batch.clone())?;
            if shows {
                eprint!("\r\x1b[2K{}", view.progress());
                stderr().flush()?;
            }
            if view.is_final() {
                if shows {
                    eprint!("\r\x1b[2K");
                }
                self.show(&batch)?;
                return ended(&view);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn show(&self, batch: &Value) -> Result<()> {
        if self.json {
            println!("{batch}");
            return Ok(());
        }
        let view: BatchView = serde_json::from_value(batch.clone())?;
        println!("batch   {}", view.id);
        println!("state   {}", view.progress());
        for mistake in view.errors.iter().flat_map(|errors| &errors.data) {
            let line = mistake.line.map_or_else(String::new, |line| format!("line {line}: "));
            println!("error   {line}{}", mistake.message);
        }
        if view.output_file_id.is_some() || view.error_file_id.is_some() {
            println!("results cactus batch download {}", view.id);
        }
        Ok(())
    }

    /// Writes the answers, and the errors if there are any.
    async fn download(
        &self,
        id: &str,
        (output, errors): (Option<PathBuf>, Option<PathBuf>),
    ) -> Result<()> {
        let view: BatchView = serde_json::from_value(self.read(id).await?)?;
        if view.output_file_id.is_none() && view.error_file_id.is_none() {
            let help = "`cactus batch wait` waits for the end of a batch";
            return Err(Helpful::error(format!("the batch is {}: no results", view.status), help));
        }
        let output = output.unwrap_or_else(|| format!("{id}_output.jsonl").into());
        let errors = errors.unwrap_or_else(|| format!("{id}_error.jsonl").into());
        let mut written = Vec::new();
        for (file, place) in [(view.output_file_id, output), (view.error_file_id, errors)] {
            if let Some(file) = file {
                self.fetch(&file, &place).await?;
                written.push(place);
            }
        }
        if self.json {
            println!("{}", json!({"id": view.id, "files": written}));
        } else {
            written.iter().for_each(|place| println!("{}", place.display()));
        }
        Ok(())
    }

    async fn fetch(&self, file: &str, place: &Path) -> Result<()> {
        let path = format!("/v1/files/{file}/content");
        let request = self.account.request(Method::GET, &path, Vec::new())?.timeout(UPLOAD_LIMIT);
        let mut response = self.account.router.send(request).await?;
        let context = || format!("write {}", place.display());
        let mut target = fs::File::create_new(place).with_context(context)?;
        while let Some(part) = response.chunk().await.context("the download broke off")? {
            target.write_all(&part).with_context(context)?;
        }
        Ok(())
    }
}

/// Scripts read the exit code.
fn ended(view: &BatchView) -> Result<()> {
    if view.status == "completed" {
        return Ok(());
    }
    let help = "its files hold what was answered and why the rest was not";
    Err(Helpful::error(format!("the batch is {}", view.status), help))
}
