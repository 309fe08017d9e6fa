//! A collector that is away. Alone in its process: logs are started once.
#![allow(clippy::unwrap_used)] // a failed step fails the test

use cactus_telemetry::TraceArgs;
use std::{
    io::{self, Write},
    net::{Ipv4Addr, TcpListener},
    sync::{Arc, Mutex},
};
use tracing_subscriber::{EnvFilter, fmt};

/// More than can wait for the collector.
const SPANS: usize = 20_000;

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_is_worth_one_line_and_stops_nobody() {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let lines = Lines::default();
    let writer = lines.clone();
    let layer = fmt::layer().with_ansi(false).with_writer(move || writer.clone());
    let args = TraceArgs { otlp_endpoint: Some(format!("http://{address}")), ..Default::default() };
    let config = args.resolve("test").unwrap();
    let traces = cactus_telemetry::start(layer, EnvFilter::new("info"), config).unwrap();

    for number in 0..SPANS {
        tracing::info_span!(target: "cactus_test", "work", number).in_scope(|| ());
    }
    traces.close().await;

    let lines = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert_eq!(lines.matches("the collector of traces is away").count(), 1, "{lines}");
}
