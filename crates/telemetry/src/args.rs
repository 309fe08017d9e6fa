//! The flags that both daemons share, with OpenTelemetry's names of the environment. It reads
//! nothing by itself.

/// Where traces go.
#[derive(Debug, Clone, Default, PartialEq, clap::Args)]
pub struct TraceArgs {
    /// Send traces to this OpenTelemetry collector (OTLP as protobuf over HTTP), for example
    /// http://127.0.0.1:4318 [default: no traces]
    #[arg(long, value_name = "URL", env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    pub otlp_endpoint: Option<String>,
    /// The share of requests that are traced, 0 to 1; what a caller does not trace is not traced
    /// here either [default: 1]
    #[arg(long, value_name = "SHARE", env = "OTEL_TRACES_SAMPLER_ARG")]
    pub trace_share: Option<f64>,
    /// The name under which the traces appear [default: the program's]
    #[arg(long, value_name = "NAME", env = "OTEL_SERVICE_NAME")]
    pub service_name: Option<String>,
}

/// [`TraceArgs`] that make sense.
#[derive(Debug, Clone, PartialEq)]
pub struct TraceConfig {
    /// The collector's address of traces.
    pub endpoint: reqwest::Url,
    /// 0 to 1.
    pub share: f64,
    /// Who says it.
    pub service_name: String,
}

/// Flags that make no sense; the text names the flag.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadTraceArgs {
    /// Not an address of a collector.
    #[error("--otlp-endpoint must be http://… or https://…, got {0:?}")]
    Endpoint(String),
    /// Not a share.
    #[error("--trace-share must be 0 to 1, got {0}")]
    Share(String),
}

impl TraceArgs {
    /// What was asked for; nothing without a collector.
    ///
    /// # Errors
    /// [`BadTraceArgs`] that names the flag.
    pub fn resolve(&self, program: &str) -> Result<Option<TraceConfig>, BadTraceArgs> {
        // An empty variable is as good as none.
        let Some(base) = self.otlp_endpoint.as_deref().filter(|url| !url.is_empty()) else {
            return Ok(None);
        };
        let wrong = || BadTraceArgs::Endpoint(base.to_owned());
        let url: reqwest::Url = base.parse().map_err(|_| wrong())?;
        if !matches!(url.scheme(), "http" | "https") || url.query().is_some() {
            return Err(wrong());
        }
        let endpoint = format!("{}/v1/traces", base.trim_end_matches('/'));
        let endpoint = endpoint.parse().map_err(|_| wrong())?;
        let share = self.trace_share.unwrap_or(1.0);
        if !(0.0..=1.0).contains(&share) {
            return Err(BadTraceArgs::Share(share.to_string()));
        }
        let service_name = self.service_name.as_deref().filter(|name| !name.is_empty());
        let service_name = service_name.unwrap_or(program).to_owned();
        Ok(Some(TraceConfig { endpoint, share, service_name }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(endpoint: &str, share: Option<f64>) -> TraceArgs {
        let otlp_endpoint = Some(endpoint.to_owned());
        TraceArgs { otlp_endpoint, trace_share: share, service_name: None }
    }

    #[test]
    fn without_a_collector_nothing_is_traced() {
        assert_eq!(TraceArgs::default().resolve("x"), Ok(None));
        assert_eq!(args("", Some(7.0)).resolve("x"), Ok(None));
    }

    #[test]
    fn the_path_of_traces_is_added_to_the_collectors_address() {
        for base in ["http://c:4318", "http://c:4318/"] {
            let config = args(base, None).resolve("router").unwrap().unwrap();
            assert_eq!(config.endpoint.as_str(), "http://c:4318/v1/traces");
            assert_eq!((config.service_name.as_str(), config.share), ("router", 1.0));
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_the_flags_name() {
        for base in ["collector", "ftp://c", "http://", "http://c?x"] {
            let refused = args(base, None).resolve("x").unwrap_err().to_string();
            assert!(refused.contains("--otlp-endpoint"), "{refused}");
        }
        for share in [-0.1, 1.1, f64::NAN] {
            let refused = args("http://c", Some(share)).resolve("x").unwrap_err().to_string();
            assert!(refused.contains("--trace-share"), "{refused}");
        }
    }
}
