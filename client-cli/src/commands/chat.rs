//! `cactus chat`: one answer, or a conversation line by line.

use crate::{
    account::{Account, ChatEvent},
    args::ChatArgs,
    helpful::{self, Helpful},
    session::Session,
};
use anyhow::{Context, Result};
use console::style;
use futures::StreamExt;
use rustyline::{DefaultEditor, error::ReadlineError};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{
    io::{Write, stdout},
    pin::pin,
    time::{Duration, Instant},
};

/// A finished answer.
pub struct Answer {
    pub text: String,
    /// What the routing server says about it.
    pub cactus: Value,
    pub usage: Value,
    /// As the client saw it: from sending the request to the first text.
    pub ttft: Option<Duration>,
    pub elapsed: Duration,
}

impl Answer {
    /// Output tokens per second after the first one, as the client saw it.
    pub fn tokens_per_second(&self) -> Option<f64> {
        let tokens = self.usage["completion_tokens"].as_f64()?;
        let decoding = self.elapsed.checked_sub(self.ttft?)?.as_secs_f64();
        (tokens > 1.0 && decoding > 0.0).then(|| (tokens - 1.0) / decoding)
    }
}

#[derive(Deserialize)]
struct Models {
    data: Vec<ModelEntry>,
}

#[derive(Deserialize)]
struct ModelEntry {
    id: String,
    /// `chat`, or what makes vectors.
    kind: Value,
}

pub async fn run(session: &Session, args: ChatArgs) -> Result<()> {
    let account = Account::open(session).await?;
    let model = match &args.model {
        Some(model) => model.clone(),
        None => first_model(&account).await?,
    };
    let mut messages = Vec::new();
    if let Some(system) = &args.system {
        messages.push(json!({ "role": "system", "content": system }));
    }
    let mut chat = Chat { account, args, model, messages };
    match chat.args.prompt.clone() {
        Some(prompt) => chat.ask_once(&prompt, session.network.json).await,
        None => chat.talk().await,
    }
}

pub async fn first_model(account: &Account) -> Result<String> {
    let models: Models = account.router.get("/v1/models").await?;
    let first = models.data.into_iter().find(|model| model.kind == "chat");
    let first = first.map(|model| model.id);
    first.ok_or_else(|| {
        Helpful::error(
            "no model is on offer",
            "wait for an orchestrator; `cactus nodes` lists them",
        )
    })
}

struct Chat {
    account: Account,
    args: ChatArgs,
    model: String,
    messages: Vec<Value>,
}

impl Chat {
    async fn ask_once(&mut self, prompt: &str, json: bool) -> Result<()> {
        let answer = self.ask(prompt, |text| if json { Ok(()) } else { print_now(text) }).await?;
        if json {
            let document = json!({
                "model": self.model,
                "text": answer.text,
                "usage": answer.usage,
                "cactus": answer.cactus,
                "ttft_ms": answer.ttft.map(|t| t.as_millis()),
                "tokens_per_s": answer.tokens_per_second(),
            });
            println!("{document}");
        } else {
            println!();
            eprintln!("{}", footer(&answer));
        }
        Ok(())
    }

    async fn talk(&mut self) -> Result<()> {
        eprintln!(
            "{} — {} to start over, {} or Ctrl-D to leave",
            self.model,
            style("/clear").cyan(),
            style("/exit").cyan()
        );
        let mut editor = DefaultEditor::new()?;
        let preamble = self.messages.len();
        loop {
            let line = match editor.readline("› ") {
                Ok(line) => line.trim().to_owned(),
                Err(ReadlineError::Interrupted | ReadlineError::Eof) => return Ok(()),
                Err(e) => return Err(e).context("cannot read the terminal"),
            };
            match line.as_str() {
                "" => continue,
                "/exit" | "/quit" => return Ok(()),
                "/clear" => {
                    self.messages.truncate(preamble);
                    continue;
                }
                prompt => {
                    editor.add_history_entry(prompt)?;
                    let asked = self.messages.len();
                    match self.ask(prompt, print_now).await {
                        Ok(answer) => println!("\n{}", footer(&answer)),
                        Err(error) => {
                            self.messages.truncate(asked);
                            println!();
                            helpful::report(&error);
                        }
                    }
                }
            }
        }
    }

    /// Asks and remembers question and answer.
    async fn ask(
        &mut self,
        prompt: &str,
        mut show: impl FnMut(&str) -> Result<()>,
    ) -> Result<Answer> {
        self.messages.push(json!({ "role": "user", "content": prompt }));
        let mut body = json!({
            "model": self.model,
            "messages": self.messages,
            "max_tokens": self.args.max_tokens,
            "temperature": self.args.temperature,
        });
        if let Some(seed) = self.args.seed {
            body["seed"] = seed.into();
        }
        let answer = ask(&self.account, body, self.args.max_cost, &mut show).await?;
        self.messages.push(json!({ "role": "assistant", "content": answer.text }));
        Ok(answer)
    }
}

/// Streams one answer, showing text as it comes.
pub async fn ask(
    account: &Account,
    body: Value,
    max_cost: cactus_protocol::Octas,
    show: &mut impl FnMut(&str) -> Result<()>,
) -> Result<Answer> {
    let started = Instant::now();
    let mut events = pin!(account.chat(body, max_cost).await?);
    let (mut text, mut ttft) = (String::new(), None);
    while let Some(event) = events.next().await {
        match event? {
            ChatEvent::Text(part) => {
                ttft.get_or_insert_with(|| started.elapsed());
                text.push_str(&part);
                show(&part)?;
            }
            ChatEvent::End { usage, cactus } => {
                return Ok(Answer { text, cactus, usage, ttft, elapsed: started.elapsed() });
            }
        }
    }
    Err(Helpful::error(
        "the answer broke off before its end",
        "ask again; an unfinished answer is refunded",
    ))
}

fn print_now(text: &str) -> Result<()> {
    print!("{text}");
    Ok(stdout().flush()?)
}

fn footer(answer: &Answer) -> String {
    let mut parts = Vec::new();
    if let Some(operator) = answer.cactus["operator"].as_str() {
        parts.push(format!("by {}", shorten(operator)));
    }
    if let Some(verdict) = answer.cactus["verdict"].as_str() {
        parts.push(verdict.to_owned());
    }
    if let Some(ttft) = answer.ttft {
        parts.push(format!("first token {} ms", ttft.as_millis()));
    }
    if let Some(speed) = answer.tokens_per_second() {
        parts.push(format!("{speed:.0} tokens/s"));
    }
    if let Some(task) = answer.cactus["task"].as_str() {
        parts.push(format!("cactus task {task}"));
    }
    style(parts.join(" · ")).dim().to_string()
}

/// An address or id as people compare them: the first and last digits.
pub fn shorten(id: &str) -> String {
    match (id.get(..8), id.get(id.len().saturating_sub(4)..)) {
        (Some(head), Some(tail)) if id.len() > 16 => format!("{head}…{tail}"),
        _ => id.to_owned(),
    }
}
