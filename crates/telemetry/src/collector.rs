//! The way to a collector: each export is bounded in time and its answer is not read. A collector
//! that goes away is worth one line, and one when it is back. It never runs on the caller's thread.

use async_trait::async_trait;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use reqwest::redirect;
use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};
use tokio::runtime::Handle;

/// For a collector to take a batch of spans.
const EXPORT_LIMIT: Duration = Duration::from_secs(5);
/// For it to accept a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// A collector of OpenTelemetry, reached over HTTP.
#[derive(Debug)]
pub(crate) struct Collector {
    http: reqwest::Client,
    /// Where the exchange runs: the exporter's own thread has no runtime.
    runtime: Handle,
    is_away: AtomicBool,
}

impl Collector {
    /// Sends from `runtime`.
    pub(crate) fn new(runtime: Handle) -> Result<Self, reqwest::Error> {
        // Fails only when a provider is installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_LIMIT)
            .timeout(EXPORT_LIMIT)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .build()?;
        Ok(Self { http, runtime, is_away: AtomicBool::new(false) })
    }

    fn note(&self, outcome: &Result<Response<Bytes>, HttpError>) {
        let problem = match outcome {
            Ok(response) if response.status().is_success() => None,
            Ok(response) => Some(response.status().to_string()),
            Err(error) => Some(error.to_string()),
        };
        let was_away = self.is_away.swap(problem.is_some(), Ordering::Relaxed);
        match problem {
            Some(problem) if !was_away => {
                tracing::warn!(
                    problem,
                    "the collector of traces is away; spans are lost meanwhile"
                );
            }
            None if was_away => tracing::info!("the collector of traces is back"),
            _ => {}
        }
    }
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let http = self.http.clone();
        let sending = self.runtime.spawn(async move {
            let request = reqwest::Request::try_from(request)?;
            Ok::<_, reqwest::Error>(http.execute(request).await?.status())
        });
        let outcome = async {
            let status = sending.await??;
            Ok(Response::builder().status(status).body(Bytes::new())?)
        };
        let outcome = outcome.await;
        self.note(&outcome);
        outcome
    }
}
