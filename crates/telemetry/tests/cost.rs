//! What a request pays for traces that nobody collects. Alone in its process: logs are started once.
#![allow(clippy::unwrap_used)] // a failed step fails the test

use std::{io, time::Instant};
use tracing_subscriber::{EnvFilter, fmt};

const REQUESTS: u32 = 200_000;

fn nanoseconds(mut request: impl FnMut()) -> f64 {
    let started = Instant::now();
    (0..REQUESTS).for_each(|_| request());
    started.elapsed().as_secs_f64() * 1e9 / f64::from(REQUESTS)
}

#[tokio::test]
#[ignore = "prints times, which say nothing on a busy machine"]
async fn a_request_without_a_collector_pays_for_two_looks() {
    let lines = fmt::layer().with_writer(io::sink);
    let traces = cactus_telemetry::start(lines, EnvFilter::new("info"), None).unwrap();
    let alone = nanoseconds(|| drop(tracing::info_span!("request", id = "0af7651916cd43dd")));
    let looked = nanoseconds(|| {
        let span = tracing::info_span!("request", id = "0af7651916cd43dd");
        cactus_telemetry::begin(&span, [7; 16], None);
        assert!(cactus_telemetry::context_of(&span).is_none());
    });
    println!("a span: {alone:.0} ns; with two looks for a collector: {looked:.0} ns");
    traces.close().await;
}
