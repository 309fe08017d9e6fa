//! The server's side of the link: one WebSocket per node, many tasks on it. It carries frames and
//! enforces the rules of the wire; it never decides who gets a task or what one is worth.

mod flow;
mod handshake;
mod session;
mod subscription;
mod tasks;

pub use flow::{Violation, Wanted};
pub use handshake::unix_ms;
pub use subscription::{LinkBusy, Subscription, submit};

use crate::{
    app::App,
    error::{ApiError, Invalid},
};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use cactus_protocol::{
    TaskId,
    frame::{Delta, Done, Embedded, Failed, MAX_FRAME_BYTES},
};
use tokio::sync::mpsc;

/// Commands that may wait for a link's loop. A full queue means that the node is busy.
const COMMAND_CAPACITY: usize = 256;

/// To a link's loop.
#[derive(Debug)]
pub enum Command {
    /// Send a task.
    Start(Start),
    /// Let the node send more deltas.
    Credit {
        /// The task.
        task_id: TaskId,
        /// How many more.
        deltas: u32,
    },
    /// Stop a task; its end is still awaited.
    Stop {
        /// The task.
        task_id: TaskId,
    },
    /// Stop a task; nobody listens any more.
    Cancel {
        /// The task.
        task_id: TaskId,
    },
}

/// A task to send.
#[derive(Debug)]
pub struct Start {
    /// The task.
    pub task_id: TaskId,
    /// Its frame, encoded.
    pub frame: Bytes,
    /// Deltas that the frame grants.
    pub credits: u32,
    /// What may come.
    pub wanted: Wanted,
    /// Where the answer goes.
    pub events: mpsc::Sender<LinkEvent>,
}

/// From a link's loop to the one who awaits a task. The channel closes when the link does.
#[derive(Debug)]
pub enum LinkEvent {
    /// The next part, within the rules.
    Delta(Delta),
    /// The next vectors, within the rules.
    Embedded(Embedded),
    /// The end.
    Done(Box<Done>),
    /// The node gave up.
    Failed(Failed),
    /// The node broke the rules; the task was cancelled.
    Violation(Violation),
}

/// `GET /v1/link`.
pub async fn connect(
    app: web::Data<App>,
    request: HttpRequest,
    payload: web::Payload,
) -> actix_web::Result<HttpResponse> {
    if app.links.len() >= app.config.limits.links + HANDSHAKES {
        let message = "this server has as many links as it takes".into();
        return Err(ApiError::Busy { code: "overloaded", message }.into());
    }
    let upgrade = actix_ws::handle(&request, payload).map_err(|error| Invalid {
        code: "upgrade_required",
        param: None,
        message: format!("orchestrators open a WebSocket here: {error}"),
    });
    let (response, socket, messages) = upgrade.map_err(ApiError::from)?;
    let messages = messages
        .max_frame_size(MAX_FRAME_BYTES)
        .aggregate_continuations()
        .max_continuation_size(MAX_FRAME_BYTES);
    let tracker = app.links.clone();
    let link = session::run(app.into_inner(), socket, messages);
    actix_web::rt::spawn(tracker.track_future(link));
    Ok(response)
}

/// Connections that may be in their handshake beyond the limit of links.
const HANDSHAKES: usize = 256;

/// The queue of commands to one link.
fn command_channel() -> (mpsc::Sender<Command>, mpsc::Receiver<Command>) {
    mpsc::channel(COMMAND_CAPACITY)
}
