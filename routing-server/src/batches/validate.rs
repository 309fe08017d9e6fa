//! Reads a batch's input once, line by line: all of its lines are good, or none is sent.

use super::{
    line,
    lines::{self, Waiting},
    store::{self, Batch, State},
};
use crate::{app::App, error::Invalid, files, link::unix_ms};
use anyhow::Result;
use cactus_database::begin;
use serde_json::{Value, json};
use sqlx::{AnyConnection, AnyPool};

/// Lines of one batch at most.
const MAX_LINES: u32 = 50_000;
/// Mistakes that are listed at most.
const MAX_ERRORS: usize = 100;

/// Reads the input; the batch is then in progress, or failed with a list of mistakes.
///
/// # Errors
/// When the input or the database cannot be read; the batch is read again later.
pub async fn validate(app: &App, batch: &Batch) -> Result<()> {
    let mut reading = Reading {
        pool: app.pool.clone(),
        file: batch.input_file.clone(),
        buffer: Vec::new(),
        used: 0,
        parts: 0,
        longest: app.config.limits.body_bytes,
        place: 0,
        errors: Vec::new(),
    };
    let mut transaction = begin(&app.pool).await?;
    let count = reading.read_all(batch, &mut transaction).await?;
    if count == 0 && reading.errors.is_empty() {
        reading.errors.push(problem(None, &empty()));
    }
    let next = if reading.errors.is_empty() { State::InProgress } else { State::Failed };
    if next == State::Failed {
        transaction.rollback().await?;
        transaction = begin(&app.pool).await?;
    }
    // False when it was cancelled or read elsewhere meanwhile: then nothing of it is kept.
    let step = (State::Validating, next, unix_ms());
    if !store::advance(&mut transaction, &batch.id, step).await? {
        return Ok(transaction.rollback().await?);
    }
    if next == State::Failed {
        let errors = json!({"object": "list", "data": reading.errors});
        store::refuse(&mut transaction, &batch.id, &errors).await?;
    }
    Ok(transaction.commit().await?)
}

struct Reading {
    pool: AnyPool,
    file: String,
    /// What was read last, and how much of it was in a line already.
    buffer: Vec<u8>,
    used: usize,
    /// How many parts of the file were read.
    parts: u64,
    longest: usize,
    place: u64,
    errors: Vec<Value>,
}

impl Reading {
    async fn read_all(&mut self, batch: &Batch, connection: &mut AnyConnection) -> Result<u32> {
        let mut number = 0;
        while let Some((start, bytes)) = self.next_line().await? {
            if bytes.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            if number >= MAX_LINES {
                self.report(number, &too_many());
                break;
            }
            match self.check(batch, &bytes) {
                Ok(custom_id) => {
                    let length = u64::try_from(bytes.len())?;
                    let line = Waiting { number, custom_id, start, length };
                    if !lines::add(connection, &batch.id, &line).await? {
                        self.report(number, &twice());
                    }
                }
                Err(invalid) => self.report(number, &invalid),
            }
            if self.errors.len() >= MAX_ERRORS {
                break;
            }
            number += 1;
        }
        Ok(number)
    }

    /// The next line with its place; one that is too long comes cut.
    async fn next_line(&mut self) -> Result<Option<(u64, Vec<u8>)>> {
        let (limit, mut searched) = (self.longest.saturating_add(2), 0);
        let length = loop {
            let rest = &self.buffer[self.used..];
            if let Some(place) = rest[searched..].iter().position(|byte| *byte == b'\n') {
                break (searched + place + 1).min(limit);
            }
            searched = rest.len();
            if searched >= limit {
                break limit;
            }
            match files::part(&self.pool, &self.file, self.parts).await? {
                Some(part) => {
                    self.buffer.drain(..self.used);
                    self.buffer.extend_from_slice(&part);
                    (self.used, self.parts) = (0, self.parts + 1);
                }
                None => break searched,
            }
        };
        let (start, mut line) = (self.place, self.buffer[self.used..][..length].to_vec());
        self.used += length;
        self.place += u64::try_from(length)?;
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        Ok((length > 0).then_some((start, line)))
    }

    fn check(&self, batch: &Batch, bytes: &[u8]) -> Result<String, Invalid> {
        if bytes.len() > self.longest {
            return Err(Invalid {
                code: "line_too_long",
                param: None,
                message: format!("a line has at most {} bytes", self.longest),
            });
        }
        let (raw, ..) = line::parse(bytes, batch.endpoint)?;
        Ok(raw.custom_id)
    }

    fn report(&mut self, number: u32, invalid: &Invalid) {
        self.errors.push(problem(Some(number + 1), invalid));
    }
}

fn problem(line: Option<u32>, invalid: &Invalid) -> Value {
    json!({
        "code": invalid.code,
        "line": line,
        "message": invalid.message,
        "param": invalid.param,
    })
}

fn empty() -> Invalid {
    let message = "the file holds no requests".into();
    Invalid { code: "empty_file", param: None, message }
}

fn too_many() -> Invalid {
    let message = format!("a batch has at most {MAX_LINES} lines: write several");
    Invalid { code: "too_many_lines", param: None, message }
}

fn twice() -> Invalid {
    let text = "another line has the same custom_id";
    Invalid { code: "duplicate_custom_id", ..Invalid::value("custom_id", text) }
}
