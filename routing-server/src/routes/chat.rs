//! `POST /v1/chat/completions`: parse, start, and answer whole or as events.

use crate::{
    app::App,
    auth::Authenticated,
    error::ApiError,
    exchange::{self, Finished, Reply, Served},
    link::unix_ms,
    openai::{
        ChatCall,
        response::{DONE, Envelope, Events, completion, data},
    },
};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, http::header, web};
use bytes::Bytes;
use cactus_protocol::TaskId;
use futures::{Stream, stream};
use std::{collections::VecDeque, convert::Infallible, time::Instant};
use tokio::sync::mpsc::Receiver;

const TASK_HEADER: &str = "X-Cactus-Task";
const NODE_HEADER: &str = "X-Cactus-Node";
const VERIFIED_HEADER: &str = "X-Cactus-Verified";

/// Answers a chat request.
pub async fn complete(
    app: web::Data<App>,
    request: HttpRequest,
    sender: Authenticated,
) -> Result<HttpResponse, ApiError> {
    let received_at = Instant::now();
    app.authorization.permit()?;
    let call = ChatCall::parse(&sender.body, request.headers())?;
    let (stream, include_usage, model) = (call.stream, call.include_usage, call.model.clone());
    let mut replies = exchange::start(&app, &sender.payer, (call, received_at)).await?;
    let first = first_reply(&mut replies).await?;
    let envelope = |task_id: TaskId| Envelope { task_id, created: unix_ms() / 1000, model };
    match first {
        First::Whole(finished) => Ok(whole(&envelope(finished.served.task_id), &finished)),
        First::Started(served) => {
            debug_assert!(stream);
            let events = Events::new(envelope(served.task_id), include_usage);
            Ok(streamed(served, events, replies))
        }
    }
}

enum First {
    Whole(Box<Finished>),
    Started(Served),
}

async fn first_reply(replies: &mut Receiver<Reply>) -> Result<First, ApiError> {
    match replies.recv().await {
        Some(Reply::Finished(finished)) => Ok(First::Whole(finished)),
        Some(Reply::Started(served)) => Ok(First::Started(served)),
        Some(Reply::Failed(error)) => Err(error),
        Some(Reply::Text(_)) | None => Err(ended_early()),
    }
}

fn ended_early() -> ApiError {
    ApiError::Internal(anyhow::anyhow!("an exchange ended without an end"))
}

fn whole(envelope: &Envelope, finished: &Finished) -> HttpResponse {
    let end = (finished.reason, finished.usage);
    let body = completion(envelope, &finished.text, end, &finished.cactus);
    served_by(&mut HttpResponse::Ok(), finished.served)
        .insert_header((VERIFIED_HEADER, "verified"))
        .json(body)
}

fn streamed(served: Served, events: Events, replies: Receiver<Reply>) -> HttpResponse {
    served_by(&mut HttpResponse::Ok(), served)
        .content_type("text/event-stream")
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        // Proxies such as nginx would hold events back otherwise.
        .insert_header(("X-Accel-Buffering", "no"))
        .streaming(event_stream(events, replies))
}

fn served_by(response: &mut HttpResponseBuilder, served: Served) -> &mut HttpResponseBuilder {
    response
        .insert_header((TASK_HEADER, served.task_id.to_string()))
        .insert_header((NODE_HEADER, served.node.to_string()))
}

/// The events of one answer. Dropped with the connection, which closes the channel and so tells
/// the exchange that the client left.
fn event_stream(
    events: Events,
    replies: Receiver<Reply>,
) -> impl Stream<Item = Result<Bytes, Infallible>> {
    let ready = VecDeque::from([events.role()]);
    let state = (events, Some(replies), ready);
    stream::unfold(state, |(events, mut replies, mut ready)| async move {
        if ready.is_empty() {
            let open = replies.as_mut()?;
            let (more, is_last) = next_events(&events, open.recv().await);
            ready.extend(more);
            if is_last {
                replies = None;
            }
        }
        let event = ready.pop_front()?;
        Some((Ok(event), (events, replies, ready)))
    })
}

/// What a reply looks like on the wire, and whether it is the last.
fn next_events(events: &Events, reply: Option<Reply>) -> (Vec<Bytes>, bool) {
    match reply {
        Some(Reply::Text(text)) => (vec![events.text(&text)], false),
        Some(Reply::Started(_)) => (Vec::new(), false),
        Some(Reply::Finished(finished)) => {
            let reason = events.finish(finished.reason);
            let end = events.end(finished.usage, &finished.cactus);
            (vec![reason, end, DONE], true)
        }
        Some(Reply::Failed(error)) => (vec![data(&error.to_json())], true),
        None => (vec![data(&ended_early().to_json())], true),
    }
}
