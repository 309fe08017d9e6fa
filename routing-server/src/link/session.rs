//! The life of one link: challenge, hello, welcome, then frames both ways until either side
//! leaves. One slow task never stalls it: tasks are fed without waiting.

use super::{
    Command, command_channel,
    handshake::{self, Admitted, refuse},
    tasks::{Tasks, Then},
};
use crate::{
    app::App,
    nodes::{NewLink, Node, NotLinked},
};
use actix_ws::{
    AggregatedMessage, AggregatedMessageStream, CloseCode, CloseReason, ProtocolError, Session,
};
use bytes::Bytes;
use cactus_protocol::{
    NodeFrame, ServerFrame, Signed,
    frame::{
        self, GONE_AFTER_MISSED, HEARTBEAT_SECONDS, Hello, MAX_FRAME_BYTES, Refusal, Refused,
        Welcome,
    },
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

/// A node that does not take a frame for this long is gone.
const WRITE_LIMIT: Duration = Duration::from_secs(10);

/// For reading what came before a connection's end.
const HEAR_OUT_LIMIT: Duration = Duration::from_secs(1);

/// Why a link ends.
#[derive(Debug, thiserror::Error)]
enum LinkEnd {
    #[error("the node closed the link")]
    Closed,
    #[error("the connection broke")]
    Broken,
    #[error("the node was silent too long")]
    Silent,
    #[error("the node does not read")]
    NotReading,
    #[error("the server stops")]
    Stopping,
    #[error("the node was refused: {0:?}")]
    Refused(Refusal),
    #[error("protocol error: {0}")]
    Protocol(String),
}

impl LinkEnd {
    fn close_code(&self) -> CloseCode {
        match self {
            Self::Protocol(_) => CloseCode::Protocol,
            Self::Refused(_) => CloseCode::Policy,
            Self::Stopping => CloseCode::Restart,
            _ => CloseCode::Normal,
        }
    }
}

struct Link {
    app: Arc<App>,
    socket: Session,
    messages: AggregatedMessageStream,
}

/// Runs one link to its end.
pub async fn run(app: Arc<App>, socket: Session, messages: AggregatedMessageStream) {
    let mut link = Link { app, socket, messages };
    let end = link.serve().await;
    tracing::info!(reason = %end, "link ended");
    let reason = CloseReason { code: end.close_code(), description: Some(end.to_string()) };
    let close = link.socket.close(Some(reason));
    let _ = tokio::time::timeout(WRITE_LIMIT, close).await;
}

impl Link {
    async fn serve(&mut self) -> LinkEnd {
        let limit = Duration::from_millis(self.app.config.limits.handshake_ms);
        let admitted = match tokio::time::timeout(limit, self.greet()).await {
            Ok(Ok(admitted)) => admitted,
            Ok(Err(end)) => return end,
            Err(_) => return LinkEnd::Silent,
        };
        let (commands, queue) = command_channel();
        let node = match self.join(admitted, commands).await {
            Ok(node) => node,
            Err(end) => return end,
        };
        let end = match self.welcome(&node).await {
            Ok(()) => self.carry(&node, queue).await,
            Err(end) => end,
        };
        self.app.nodes.unlink(&node);
        self.app.metrics.linked_nodes.dec();
        end
    }

    /// Challenge, hello and every check.
    async fn greet(&mut self) -> Result<Admitted, LinkEnd> {
        let challenge = handshake::challenge(self.app.scope, &self.app.config);
        self.send(&ServerFrame::Challenge(challenge)).await?;
        let hello = self.read_hello().await?;
        if self.app.stopping.is_cancelled() {
            let refused = refuse(Refusal::Unavailable, "this server is shutting down");
            return Err(self.turn_away(refused).await);
        }
        match handshake::admit(self.app.chain.as_ref(), &challenge, hello).await {
            Ok(admitted) => Ok(admitted),
            Err(refused) => Err(self.turn_away(refused).await),
        }
    }

    async fn read_hello(&mut self) -> Result<Signed<Hello>, LinkEnd> {
        loop {
            match self.messages.recv().await {
                Some(Ok(AggregatedMessage::Binary(bytes))) => match parse(&bytes)? {
                    NodeFrame::Hello(hello) => return Ok(*hello),
                    _ => return Err(LinkEnd::Protocol("the first frame is no hello".into())),
                },
                message => self.control(message).await?,
            }
        }
    }

    async fn join(
        &mut self,
        admitted: Admitted,
        commands: mpsc::Sender<Command>,
    ) -> Result<Arc<Node>, LinkEnd> {
        let new = NewLink {
            hello: admitted.hello,
            stake: admitted.stake,
            session_id: rand::random(),
            commands,
        };
        let max_links = self.app.config.limits.links;
        let refused = match self.app.nodes.link(new, max_links, Instant::now()) {
            Ok(node) => {
                self.app.metrics.linked_nodes.inc();
                tracing::info!(node = %node.key, operator = %node.operator, "node linked");
                return Ok(node);
            }
            Err(NotLinked::Already) => refuse(Refusal::AlreadyLinked, "this node is linked"),
            Err(NotLinked::Full) => refuse(Refusal::Unavailable, "this server is full"),
        };
        Err(self.turn_away(refused).await)
    }

    async fn turn_away(&mut self, refused: Refused) -> LinkEnd {
        let reason = refused.reason;
        tracing::warn!(?reason, message = refused.message, "node refused");
        match self.send(&ServerFrame::Refused(refused)).await {
            Ok(()) => LinkEnd::Refused(reason),
            Err(end) => end,
        }
    }

    async fn welcome(&mut self, node: &Node) -> Result<(), LinkEnd> {
        let welcome = Welcome {
            session_id: node.session_id,
            heartbeat_seconds: HEARTBEAT_SECONDS,
            max_frame_bytes: u32::try_from(MAX_FRAME_BYTES).unwrap_or(u32::MAX),
        };
        self.send(&ServerFrame::Welcome(welcome)).await
    }

    /// Frames both ways to the end, with what is left to read then.
    async fn carry(&mut self, node: &Node, mut queue: mpsc::Receiver<Command>) -> LinkEnd {
        let mut tasks = Tasks::default();
        let end = self.exchange(node, (&mut queue, &mut tasks)).await;
        if matches!(end, LinkEnd::Broken) {
            let reading = self.hear_out(&mut tasks);
            let _ = tokio::time::timeout(HEAR_OUT_LIMIT, reading).await;
        }
        end
    }

    /// The connection is gone, but frames that came before its end may still wait to be read, and
    /// a last frame is work that was done.
    async fn hear_out(&mut self, tasks: &mut Tasks) {
        while let Some(message) = self.messages.recv().await {
            let frame = match message {
                Ok(AggregatedMessage::Binary(bytes)) => parse(&bytes),
                Ok(AggregatedMessage::Close(_)) => return,
                Ok(_) | Err(ProtocolError::Io(_)) => continue,
                Err(_) => return,
            };
            let then = match frame {
                Ok(NodeFrame::Delta(delta)) => tasks.delta(delta),
                Ok(NodeFrame::Embedded(embedded)) => tasks.embedded(embedded),
                Ok(NodeFrame::Done(done)) => tasks.done(done),
                Ok(NodeFrame::Failed(failed)) => tasks.failed(failed),
                Ok(NodeFrame::Heartbeat(_)) => Then::Continue,
                Ok(NodeFrame::Hello(_)) | Err(_) => return,
            };
            if then == Then::Close {
                return;
            }
        }
    }

    /// Frames both ways. Every branch of the `select!` is cancel-safe: a socket's and a queue's
    /// `recv`, a timer, a token.
    async fn exchange(
        &mut self,
        node: &Node,
        (queue, tasks): (&mut mpsc::Receiver<Command>, &mut Tasks),
    ) -> LinkEnd {
        let gone_after = Duration::from_secs(u64::from(HEARTBEAT_SECONDS * GONE_AFTER_MISSED));
        let mut clock = tokio::time::interval(Duration::from_secs(HEARTBEAT_SECONDS.into()));
        let stop = self.app.links_stop.clone();
        loop {
            let step = tokio::select! {
                message = self.messages.recv() => self.receive(message, node, tasks).await,
                Some(command) = queue.recv() => self.command(command, tasks).await,
                _ = clock.tick() => {
                    let silent = node.member.silent_for(Instant::now()) > gone_after;
                    if silent { Err(LinkEnd::Silent) } else { Ok(()) }
                }
                () = stop.cancelled() => Err(LinkEnd::Stopping),
            };
            if let Err(end) = step {
                return end;
            }
        }
    }

    async fn receive(
        &mut self,
        message: Option<Result<AggregatedMessage, ProtocolError>>,
        node: &Node,
        tasks: &mut Tasks,
    ) -> Result<(), LinkEnd> {
        let Some(Ok(AggregatedMessage::Binary(bytes))) = message else {
            return self.control(message).await;
        };
        let frame = parse(&bytes)?;
        if !matches!(frame, NodeFrame::Heartbeat(_)) {
            node.member.speak(Instant::now());
        }
        let then = match frame {
            NodeFrame::Heartbeat(heartbeat) => {
                node.hear(heartbeat, Instant::now());
                Then::Continue
            }
            NodeFrame::Delta(delta) => tasks.delta(delta),
            NodeFrame::Embedded(embedded) => tasks.embedded(embedded),
            NodeFrame::Done(done) => tasks.done(done),
            NodeFrame::Failed(failed) => tasks.failed(failed),
            NodeFrame::Hello(_) => return Err(LinkEnd::Protocol("a second hello".into())),
        };
        match then {
            Then::Continue => Ok(()),
            Then::Cancel(task_id) => self.send(&ServerFrame::Cancel { task_id }).await,
            Then::Close => Err(LinkEnd::Protocol("a frame about a task that is not here".into())),
        }
    }

    async fn command(&mut self, command: Command, tasks: &mut Tasks) -> Result<(), LinkEnd> {
        match command {
            Command::Start(start) => {
                let frame = start.frame.clone();
                tasks.start(start);
                self.write(frame).await
            }
            Command::Credit { task_id, deltas } if tasks.grant(&task_id, deltas) => {
                self.send(&ServerFrame::Credit { task_id, deltas }).await
            }
            Command::Stop { task_id } if tasks.is_open(&task_id) => {
                self.send(&ServerFrame::Cancel { task_id }).await
            }
            Command::Cancel { task_id } if tasks.cancel(task_id) => {
                self.send(&ServerFrame::Cancel { task_id }).await
            }
            Command::Credit { .. } | Command::Stop { .. } | Command::Cancel { .. } => Ok(()),
        }
    }

    /// Everything but binary messages.
    async fn control(
        &mut self,
        message: Option<Result<AggregatedMessage, ProtocolError>>,
    ) -> Result<(), LinkEnd> {
        match message {
            Some(Ok(AggregatedMessage::Ping(bytes))) => {
                let pong = self.socket.pong(&bytes);
                match tokio::time::timeout(WRITE_LIMIT, pong).await {
                    Ok(Ok(())) => Ok(()),
                    Ok(Err(_)) => Err(LinkEnd::Broken),
                    Err(_) => Err(LinkEnd::NotReading),
                }
            }
            Some(Ok(AggregatedMessage::Pong(_))) => Ok(()),
            Some(Ok(AggregatedMessage::Close(_))) | None => Err(LinkEnd::Closed),
            Some(Ok(_)) => Err(LinkEnd::Protocol("frames are binary".into())),
            Some(Err(ProtocolError::Io(_))) => Err(LinkEnd::Broken),
            Some(Err(error)) => Err(LinkEnd::Protocol(error.to_string())),
        }
    }

    async fn send(&mut self, frame: &ServerFrame) -> Result<(), LinkEnd> {
        let bytes = frame::encode(frame).map_err(|e| LinkEnd::Protocol(e.to_string()))?;
        self.write(bytes.into()).await
    }

    async fn write(&mut self, bytes: Bytes) -> Result<(), LinkEnd> {
        match tokio::time::timeout(WRITE_LIMIT, self.socket.binary(bytes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(LinkEnd::Broken),
            Err(_) => Err(LinkEnd::NotReading),
        }
    }
}

fn parse(bytes: &[u8]) -> Result<NodeFrame, LinkEnd> {
    frame::parse(bytes).map_err(|error| LinkEnd::Protocol(error.to_string()))
}
