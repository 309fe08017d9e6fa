//! The cases that are measured, each the same for every system.

use crate::{load::Load, script::Script};
use serde_json::json;
use std::{net::SocketAddr, time::Duration};

/// One kind of traffic.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    pub name: &'static str,
    pub connections: u32,
    pub rate: Option<u32>,
    pub script: Script,
    pub is_streamed: bool,
    pub prompt_bytes: usize,
}

const SMALL: Script = Script { frames: 1, cadence: Duration::ZERO };
const STREAM: Script = Script { frames: 200, cadence: Duration::from_millis(20) };

impl Case {
    const BASE: Self = Self {
        name: "small",
        connections: 32,
        rate: None,
        script: SMALL,
        is_streamed: false,
        prompt_bytes: 64,
    };

    /// Small questions with one short answer each, as many as 32 connections can carry.
    pub const SMALL: Self = Self::BASE;

    pub const ALL: [Self; 6] = [
        Self::SMALL,
        Self { name: "one connection", connections: 1, ..Self::BASE },
        Self { name: "4,000/s", rate: Some(4_000), ..Self::BASE },
        Self { name: "32 kB prompts", prompt_bytes: 32_000, ..Self::BASE },
        Self {
            name: "256 streams",
            connections: 256,
            script: STREAM,
            is_streamed: true,
            ..Self::BASE
        },
        Self {
            name: "1,000 streams",
            connections: 1_000,
            script: STREAM,
            is_streamed: true,
            ..Self::BASE
        },
    ];

    /// The load that it puts on `address`.
    pub fn load(&self, address: SocketAddr, (headers, lasting): (&str, Duration)) -> Load {
        let prompt = self.script.prompt(&"cactus ".repeat(self.prompt_bytes / 7));
        let body = json!({
            "model": "sprout",
            "messages": [{ "role": "user", "content": prompt }],
            "max_tokens": self.script.frames,
            "stream": self.is_streamed,
        });
        Load {
            address,
            headers: headers.to_owned(),
            body: body.to_string(),
            connections: self.connections,
            lasting,
            rate: self.rate,
        }
    }
}
