//! `POST /v1/chat/completions` and `/v1/completions`: parse, start a task for each choice, and
//! answer whole or as events.

use super::answer::{Cactus, Choices, ended_early, finish_all, served_by, start_all};
use crate::{
    app::App,
    auth::{Authenticated, Payer},
    error::{ApiError, Invalid},
    exchange::{Finished, Reply},
    link::unix_ms,
    openai::{
        TextCall, expect_json,
        response::{DONE, Envelope, Events, Usage, data, text},
    },
    trace,
};
use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{self, HeaderMap},
    web,
};
use bytes::Bytes;
use cactus_protocol::TaskId;
use futures::{Stream, stream};
use std::{collections::VecDeque, convert::Infallible, time::Instant};

/// Reads a body and the headers that came with it.
type Parse = fn(&[u8], &HeaderMap) -> Result<TextCall, Invalid>;

/// Answers a conversation.
pub async fn chat(
    app: web::Data<App>,
    request: HttpRequest,
    sender: Authenticated,
) -> Result<HttpResponse, ApiError> {
    answer(&app, &request, (sender, TextCall::parse_chat)).await
}

/// Goes on where a prompt ends.
pub async fn plain(
    app: web::Data<App>,
    request: HttpRequest,
    sender: Authenticated,
) -> Result<HttpResponse, ApiError> {
    answer(&app, &request, (sender, TextCall::parse_plain)).await
}

async fn answer(
    app: &web::Data<App>,
    request: &HttpRequest,
    (sender, parse): (Authenticated, Parse),
) -> Result<HttpResponse, ApiError> {
    let received_at = Instant::now();
    app.authorization.permit()?;
    expect_json(request.headers())?;
    let call = parse(&sender.body, request.headers())?;
    let (stream, include_usage) = (call.stream, call.include_usage);
    let (shape, model) = (call.shape, call.model);
    let envelope = |task_id: TaskId| Envelope { task_id, created: unix_ms() / 1000, model, shape };
    let payer: &Payer = &sender.payer;
    let mut choices = start_all(app, payer, (call.choices, received_at)).await?;
    if stream {
        let served = choices.first_served().await?;
        let events = Events::new(envelope(served.task_id), include_usage, choices.count());
        let mut response = HttpResponse::Ok();
        return Ok(served_by(&mut response, served)
            .content_type("text/event-stream")
            .insert_header((header::CACHE_CONTROL, "no-cache"))
            // Proxies such as nginx would hold events back otherwise.
            .insert_header(("X-Accel-Buffering", "no"))
            .streaming(event_stream(events, choices)));
    }
    let finished = finish_all(choices).await?;
    let served = finished.first().ok_or_else(ended_early)?.served;
    let answers = finished.iter().map(|choice| (&choice.output, choice.reason));
    let envelope = envelope(served.task_id);
    let body = text(&envelope, answers, totals(&finished));
    Ok(served_by(&mut HttpResponse::Ok(), served)
        .insert_header(("X-Cactus-Verified", "verified"))
        .json(body))
}

fn totals(finished: &[Box<Finished>]) -> (Usage, Cactus<'_>) {
    (Usage::sum(finished.iter().map(|choice| choice.usage)), Cactus::of(finished))
}

/// What a stream of events goes on from. Dropped with the connection, which closes the channels
/// and so tells the exchanges that the client left.
struct Streaming {
    events: Events,
    choices: Choices,
    ready: VecDeque<Bytes>,
    finished: Vec<(usize, Box<Finished>)>,
    is_over: bool,
    trace_id: String,
}

fn event_stream(events: Events, choices: Choices) -> impl Stream<Item = Result<Bytes, Infallible>> {
    let ready = events.roles().into();
    let (finished, trace_id) = (Vec::new(), trace::id());
    let streaming = Streaming { events, choices, ready, finished, is_over: false, trace_id };
    stream::unfold(streaming, |mut streaming| async move {
        loop {
            if let Some(event) = streaming.ready.pop_front() {
                return Some((Ok(event), streaming));
            }
            if streaming.is_over {
                return None;
            }
            let next = streaming.choices.next().await;
            streaming.take(next);
        }
    })
}

impl Streaming {
    /// What a reply looks like on the wire.
    fn take(&mut self, next: Option<(usize, Reply)>) {
        match next {
            Some((index, Reply::Part { text, logprobs })) => {
                self.ready.push_back(self.events.part(index, &text, &logprobs));
            }
            Some((_, Reply::Started(_))) => {}
            Some((index, Reply::Finished(finished))) => {
                self.ready.push_back(self.events.finish(index, finished.reason));
                self.finished.push((index, finished));
                if self.finished.len() == self.choices.count() {
                    self.end();
                }
            }
            Some((_, Reply::Failed(error))) => self.fail(&error),
            None => self.fail(&ended_early()),
        }
    }

    fn end(&mut self) {
        self.finished.sort_by_key(|(index, _)| *index);
        let finished: Vec<_> = self.finished.drain(..).map(|(_, finished)| finished).collect();
        let (usage, cactus) = totals(&finished);
        self.ready.extend([self.events.end(usage, cactus), DONE]);
        self.is_over = true;
    }

    /// One choice less is no answer: the others are stopped, and what they delivered is paid.
    fn fail(&mut self, error: &ApiError) {
        self.ready.push_back(data(&error.to_json_of(&self.trace_id)));
        self.choices.stop();
        self.is_over = true;
    }
}
