//! Puts logs and traces together, once per process. It never decides what a line looks like; that
//! is the daemons' affair.

use crate::{args::TraceConfig, collector::Collector, ids::Ids, sampler::Share};
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider},
};
use std::time::Duration;
use tokio::runtime::Handle;
use tracing::{Level, Subscriber};
use tracing_opentelemetry::OpenTelemetryLayer;
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::Targets,
    layer::SubscriberExt,
    registry::LookupSpan,
    util::{SubscriberInitExt, TryInitError},
};

/// Spans that wait for the collector; when there are more, the newest are lost.
const QUEUED_SPANS: usize = 4096;
/// For what waits to reach the collector when the process ends.
const LAST_EXPORT: Duration = Duration::from_secs(3);
/// Our own crates; what libraries record is theirs.
const OURS: &str = "cactus";

/// Logs or traces cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// They were started before.
    #[error("logs are printed already")]
    Twice(#[from] TryInitError),
    /// The address, a header or a variable of OpenTelemetry makes no sense.
    #[error("traces cannot be sent: {0}")]
    Exporter(#[from] ExporterBuildError),
    /// No HTTP client can be made on this machine.
    #[error("traces cannot be sent: {0}")]
    Client(#[from] reqwest::Error),
}

/// The way of spans out of the process. To be closed when everything else has ended.
#[derive(Debug)]
#[must_use = "spans that wait are lost when it is not closed"]
pub struct Traces(Option<SdkTracerProvider>);

/// Prints `lines` of what `filter` lets through, and sends spans to the collector if there is one.
/// Without one, nothing of it stands in the way of a span. To be called on a runtime that lives as
/// long as the process.
///
/// # Errors
/// [`StartError`]; nothing is printed then.
pub fn start<L>(
    lines: L,
    filter: EnvFilter,
    traces: Option<TraceConfig>,
) -> Result<Traces, StartError>
where
    L: Layer<Registry> + Send + Sync + 'static,
{
    let Some(config) = traces else {
        tracing_subscriber::registry().with(lines).with(filter).try_init()?;
        return Ok(Traces(None));
    };
    let provider = provider(&config)?;
    let ours = Targets::new().with_target(OURS, Level::INFO);
    tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .with(layer(&provider).with_filter(ours))
        .try_init()?;
    // Without the path and what may be secret in an address.
    let collector = config.endpoint.host_str().unwrap_or_default();
    tracing::info!(collector, share = config.share, "traces are sent");
    Ok(Traces(Some(provider)))
}

fn provider(config: &TraceConfig) -> Result<SdkTracerProvider, StartError> {
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Collector::new(Handle::current())?)
        .with_endpoint(config.endpoint.as_str())
        .build()?;
    let queue = BatchConfigBuilder::default().with_max_queue_size(QUEUED_SPANS).build();
    let resource = Resource::builder().with_service_name(config.service_name.clone()).build();
    Ok(SdkTracerProvider::builder()
        .with_span_processor(BatchSpanProcessor::builder(exporter).with_batch_config(queue).build())
        .with_sampler(Share(config.share))
        .with_id_generator(Ids::default())
        .with_resource(resource)
        .build())
}

fn layer<S>(provider: &SdkTracerProvider) -> impl Layer<S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    OpenTelemetryLayer::new(provider.tracer(OURS))
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_context_activation(false)
}

impl Traces {
    /// Sends what waits, within a few seconds.
    pub async fn close(self) {
        let Some(provider) = self.0 else { return };
        let closing = move || provider.shutdown_with_timeout(LAST_EXPORT);
        if let Ok(Err(error)) = tokio::task::spawn_blocking(closing).await {
            tracing::warn!(%error, "some spans were not sent");
        }
    }
}
