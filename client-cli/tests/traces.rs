//! One request through a whole network, as a collector of OpenTelemetry sees it. Alone in its
//! process: traces are started once.
#![allow(clippy::unwrap_used)] // a failed step fails the test

mod support;

use cactus_telemetry::TraceArgs;
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest, common::v1::any_value::Value as Attribute,
    trace::v1::Span,
};
use prost::Message;
use reqwest::Method;
use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::mpsc::{self, Receiver, Sender},
    thread,
};
use support::{MAX_COST, World, orchestrator, question};
use tracing_subscriber::EnvFilter;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

/// A collector: takes what exporters post and passes it on.
fn collector() -> (SocketAddr, Receiver<ExportTraceServiceRequest>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let (posts, received) = mpsc::channel();
    thread::spawn(move || {
        for connection in listener.incoming() {
            let posts = posts.clone();
            thread::spawn(move || serve(connection.unwrap(), &posts));
        }
    });
    (address, received)
}

/// Posts of one connection, until it closes.
fn serve(connection: TcpStream, posts: &Sender<ExportTraceServiceRequest>) {
    let mut reader = BufReader::new(connection.try_clone().unwrap());
    let mut writer = connection;
    loop {
        let head: Vec<String> =
            reader.by_ref().lines().map_while(Result::ok).take_while(|l| !l.is_empty()).collect();
        let Some(request) = head.first() else { return };
        assert_eq!(request, "POST /v1/traces HTTP/1.1");
        let header = |name: &str| {
            let line =
                head.iter().map(|line| line.to_lowercase()).find(|line| line.starts_with(name));
            line.unwrap().split_once(": ").unwrap().1.to_owned()
        };
        assert_eq!(header("content-type:"), "application/x-protobuf");
        let mut body = vec![0; header("content-length:").parse().unwrap()];
        reader.read_exact(&mut body).unwrap();
        posts.send(ExportTraceServiceRequest::decode(body.as_slice()).unwrap()).unwrap();
        writer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
    }
}

fn service(post: &ExportTraceServiceRequest) -> Option<Attribute> {
    let resource = post.resource_spans[0].resource.as_ref().unwrap();
    let name = resource.attributes.iter().find(|attribute| attribute.key == "service.name");
    name.unwrap().value.as_ref().unwrap().value.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_request_is_one_trace_through_router_orchestrator_and_engine() {
    let (address, received) = collector();
    let args = TraceArgs { otlp_endpoint: Some(format!("http://{address}")), ..Default::default() };
    let silent = tracing_subscriber::fmt::layer().with_writer(std::io::sink);
    let config = args.resolve("cactus-test").unwrap();
    let traces = cactus_telemetry::start(silent, EnvFilter::new("off"), config).unwrap();
    let world = World::start(vec![orchestrator("agave", None)]).await;
    let client = world.funded_client().await;

    let order = client.order(MAX_COST, MAX_COST, 600).unwrap();
    let body = serde_json::to_vec(&question("What is 12 + 30?", 32)).unwrap();
    let request = client.request(Method::POST, "/v1/chat/completions", body).unwrap();
    let request = request
        .header("X-Cactus-Order", order.to_header())
        .header("traceparent", format!("00-{TRACE}-{CALLER}-01"));
    let response = client.router.send(request).await.unwrap();
    assert_eq!(response.headers()["x-request-id"], TRACE);
    let answer = response.text().await.unwrap();
    assert!(answer.contains("42"), "{answer}");
    world.stop().await;
    traces.close().await;

    let posts: Vec<_> = received.try_iter().collect();
    let name = Attribute::StringValue("cactus-test".into());
    assert!(posts.iter().all(|post| service(post) == Some(name.clone())));
    let spans = posts.into_iter().flat_map(|post| post.resource_spans);
    let spans = spans.flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans);
    let spans: BTreeMap<String, Span> = spans
        .filter(|span| hex::encode(&span.trace_id) == TRACE)
        .map(|span| (span.name.clone(), span))
        .collect();
    let names: Vec<&str> = spans.keys().map(String::as_str).collect();
    assert_eq!(names, ["attempt", "engine", "exchange", "request", "task"]);
    assert_eq!(hex::encode(&spans["request"].parent_span_id), CALLER);
    // What the orchestrator records stands under what the routing server recorded.
    let path = ["request", "exchange", "attempt", "task", "engine"];
    for pair in path.windows(2) {
        assert_eq!(spans[pair[1]].parent_span_id, spans[pair[0]].span_id, "{pair:?}");
    }
    let outcome = spans["attempt"].attributes.iter().find(|a| a.key == "outcome").unwrap();
    let outcome = outcome.value.as_ref().unwrap().value.clone();
    assert_eq!(outcome, Some(Attribute::StringValue("verified".into())));
    let recorded = format!("{spans:?}");
    assert!(!recorded.contains("12 + 30"), "no text of a request leaves with its trace");
}
