//! The engine alone, doing what standard input says, one line at a time, and answering `done`:
//!
//! ```text
//! prefill TOKENS           a new sequence of that many tokens, in one step
//! prepare STREAMS TOKENS   that many sequences with a prompt each
//! decode STEPS             that many steps of one token for each of them
//! ```
//!
//! `scripts/compare-llama-cpp` measures it from outside, in turns with another engine that reads the
//! same lines. It never samples: the tokens are made up, so that both engines do the same work.

use std::io::BufRead;
use std::path::PathBuf;

use anyhow::{Context, bail};
use cactus_inference::{
    CandleEngine, Chunk, Decode, Engine, EngineOptions, Prefill, SequenceId, Tap,
};
use clap::Parser;

/// Tokens that a sequence has room for.
const POSITIONS: usize = 576;
/// Made-up tokens are below this; every vocabulary is larger.
const VOCABULARY: usize = 900;

#[derive(Parser)]
struct Args {
    /// A GGUF file or a Hugging Face model directory.
    model: PathBuf,
    /// Compute threads.
    threads: usize,
}

/// The sequences held, and how long each is.
struct Streams {
    engine: CandleEngine,
    count: u64,
    length: usize,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let options = EngineOptions {
        threads: Some(args.threads),
        kv_cache_bytes: Some(1 << 30),
        ..EngineOptions::new(64)
    };
    let engine = CandleEngine::load(&args.model, options)?;
    let mut streams = Streams { engine, count: 0, length: 0 };
    println!("ready");
    for line in std::io::stdin().lock().lines() {
        streams.obey(&line?)?;
        println!("done");
    }
    Ok(())
}

impl Streams {
    fn obey(&mut self, line: &str) -> anyhow::Result<()> {
        let mut words = line.split_whitespace();
        let command = words.next().context("an empty line")?;
        let numbers = words.map(str::parse).collect::<Result<Vec<usize>, _>>()?;
        match (command, numbers.as_slice()) {
            ("prefill", [tokens]) => self.prepare(1, *tokens),
            ("prepare", [streams, tokens]) => self.prepare(u64::try_from(*streams)?, *tokens),
            ("decode", [steps]) => (0..*steps).try_for_each(|_| self.decode()),
            _ => bail!("`{line}` is no command"),
        }
    }

    fn prepare(&mut self, count: u64, tokens: usize) -> anyhow::Result<()> {
        (0..self.count).for_each(|id| self.engine.free(SequenceId(id)));
        (self.count, self.length) = (count, tokens);
        for id in 0..count {
            self.engine.reserve(SequenceId(id), POSITIONS)?;
            let tokens = (0..tokens).map(|position| token(id, position)).collect::<Result<_, _>>();
            let chunks = vec![Chunk { sequence: SequenceId(id), tokens: tokens? }];
            self.engine.prefill(&Prefill { chunks }, Tap::Last)?;
        }
        Ok(())
    }

    fn decode(&mut self) -> anyhow::Result<()> {
        let next = |id| Ok((SequenceId(id), token(id, self.length)?));
        let tokens = (0..self.count).map(next).collect::<anyhow::Result<_>>()?;
        self.engine.decode(&Decode { tokens }, Tap::Last)?;
        self.length += 1;
        Ok(())
    }
}

fn token(stream: u64, position: usize) -> anyhow::Result<u32> {
    let mixed = position * 7 + usize::try_from(stream)? * 13;
    Ok(u32::try_from(mixed % VOCABULARY)?)
}
