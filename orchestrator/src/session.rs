//! An open link: one future reads frames and owns the tasks, one writes what they produce and the
//! heartbeats. A task that may not send stops nobody else. It never outlives its tasks.

use crate::{
    assignment::Outlet,
    handshake::{Effect, Phase, Violation, step},
    link::{Link, LinkError, Socket, Timing, read},
    worker::Worker,
};
use cactus_protocol::{
    Address, NodeFrame, ServerFrame, TaskId,
    frame::{self, Failed, Failure, Task, Welcome},
};
use futures::{
    SinkExt, Stream, StreamExt,
    stream::{SplitSink, SplitStream},
};
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, watch},
    task::{Id, JoinError, JoinSet},
    time::{Instant, MissedTickBehavior, interval, sleep_until, timeout},
};
use tokio_tungstenite::tungstenite::{
    self, Message,
    protocol::{CloseFrame, frame::coding::CloseCode},
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

/// Frames that tasks may have queued for the socket; more of them wait in their tasks.
const QUEUED_FRAMES: usize = 256;
/// Frames written before one flush.
const FRAMES_PER_FLUSH: usize = 64;
/// For the last frames and the closing handshake.
const CLOSING: Duration = Duration::from_secs(1);

/// Serves an open link to its end; `Ok` only after shutdown, with no task left.
pub(crate) async fn serve(
    socket: Socket,
    server: Address,
    welcome: &Welcome,
    link: &Link,
) -> Result<(), LinkError> {
    let (sink, stream) = socket.split();
    let (frames, queue) = mpsc::channel(QUEUED_FRAMES);
    let asked = Duration::from_secs(u64::from(welcome.heartbeat_seconds));
    let writer = Writer {
        sink,
        queue,
        worker: Arc::clone(&link.worker),
        heartbeat: link.timing.heartbeat.min(asked),
        limit: link.timing.write,
    };
    let reader = Reader {
        stream,
        frames,
        server,
        worker: Arc::clone(&link.worker),
        timing: link.timing.clone(),
        tasks: HashMap::new(),
        running: JoinSet::new(),
    };
    let writing = writer.run();
    tokio::pin!(writing);
    let (end, mut stream) = tokio::select! {
        written = &mut writing => return written.and(Err(LinkError::Closed("by us".to_owned()))),
        end = reader.run() => end,
    };
    // The reader's tasks are gone, so the writer flushes, says goodbye and ends.
    let goodbye = async {
        let _ = writing.await;
        until_answered(&mut stream).await;
    };
    let _ = timeout(CLOSING, goodbye).await;
    end
}

/// Says goodbye on a socket without tasks and waits for the answer: a peer that sees the
/// connection end first may not read why.
pub(crate) async fn hang_up(mut socket: Socket) {
    let goodbye = async {
        let _ = socket.send(goodbye()).await;
        until_answered(&mut socket).await;
    };
    let _ = timeout(CLOSING, goodbye).await;
}

/// Reads on until the peer has said goodbye too.
async fn until_answered(
    stream: &mut (impl Stream<Item = Result<Message, tungstenite::Error>> + Unpin),
) {
    while let Some(Ok(message)) = stream.next().await {
        if message.is_close() {
            return;
        }
    }
}

fn goodbye() -> Message {
    Message::Close(Some(CloseFrame {
        code: CloseCode::Away,
        reason: "the node ended this link".into(),
    }))
}

/// Reads frames and owns the tasks of this link.
struct Reader {
    stream: SplitStream<Socket>,
    frames: mpsc::Sender<NodeFrame>,
    server: Address,
    worker: Arc<Worker>,
    timing: Timing,
    tasks: HashMap<TaskId, Handle>,
    /// Dropped with the reader: a link that ends takes its tasks with it.
    running: JoinSet<()>,
}

/// What the reader keeps of a running task.
struct Handle {
    runner: Id,
    cancel: CancellationToken,
    granted: watch::Sender<u64>,
}

impl Reader {
    async fn run(mut self) -> (Result<(), LinkError>, SplitStream<Socket>) {
        let end = self.read_until_the_end().await;
        for handle in self.tasks.values() {
            handle.cancel.cancel();
        }
        self.running.shutdown().await;
        (end, self.stream)
    }

    async fn read_until_the_end(&mut self) -> Result<(), LinkError> {
        let shutdown = self.worker.shutdown().clone();
        let mut last_heard = Instant::now();
        let mut drain_until = None;
        let mut evicted = false;
        while drain_until.is_none() || !self.tasks.is_empty() {
            let idle_at = last_heard + self.timing.idle;
            // Every branch is cancel-safe: each takes one whole message, task or instant.
            tokio::select! {
                message = self.stream.next() => {
                    last_heard = Instant::now();
                    if let Some(frame) = read(message)? {
                        self.handle(frame).await?;
                    }
                }
                Some(ended) = self.running.join_next_with_id() => self.forget(ended).await,
                () = sleep_until(idle_at) => {
                    let limit = self.timing.idle;
                    return Err(LinkError::TimedOut { step: "a sign of life", limit });
                }
                () = shutdown.cancelled(), if drain_until.is_none() => {
                    drain_until = Some(Instant::now() + self.timing.drain);
                }
                () = sleep_until(drain_until.unwrap_or(idle_at)), if drain_until.is_some() && !evicted => {
                    evicted = true;
                    self.tasks.values().for_each(|handle| handle.cancel.cancel());
                }
            }
        }
        Ok(())
    }

    async fn handle(&mut self, frame: ServerFrame) -> Result<(), LinkError> {
        let (_, effect) = step(Phase::Open, frame, self.worker.identity().scope)?;
        match effect {
            Effect::Run(task) => self.start(*task).await?,
            // Credits and cancels of unknown tasks crossed our last frame of that task.
            Effect::Grant { task_id, deltas } => {
                if let Some(handle) = self.tasks.get(&task_id) {
                    handle.granted.send_modify(|all| *all = all.saturating_add(u64::from(deltas)));
                }
            }
            Effect::Stop(task_id) => {
                if let Some(handle) = self.tasks.get(&task_id) {
                    handle.cancel.cancel();
                }
            }
            // `step` opens a link only once.
            Effect::SayHello(_) | Effect::Opened(_) | Effect::GiveUp(_) => {}
        }
        Ok(())
    }

    async fn start(&mut self, task: Task) -> Result<(), LinkError> {
        let (task_id, credits) = (task.task_id, task.credits);
        if self.tasks.contains_key(&task_id) {
            return Err(Violation::DuplicateTask(task_id).into());
        }
        let cancel = CancellationToken::new();
        let span =
            tracing::info_span!("task", otel.kind = "server", %task_id, server = %self.server);
        cactus_telemetry::go_on(&span, task.trace);
        let admitted = span.in_scope(|| self.worker.admit(self.server, task, cancel.clone()));
        let job = match admitted {
            Ok(job) => job,
            Err(rejection) => {
                tracing::info!(%task_id, %rejection, "task refused");
                let (reason, message) = (rejection.failure(), rejection.to_string());
                self.fail(task_id, reason, message).await;
                return Ok(());
            }
        };
        let (granted, credit) = watch::channel(u64::from(credits));
        let outlet = Outlet { frames: self.frames.clone(), granted: credit };
        let runner = self.running.spawn(job.run(outlet).instrument(span)).id();
        let handle = Handle { runner, cancel, granted };
        self.tasks.insert(task_id, handle);
        Ok(())
    }

    /// Waits for the writer when the socket is slow: a server that floods us waits with us.
    async fn fail(&self, task_id: TaskId, reason: Failure, message: String) {
        let failed = NodeFrame::Failed(Failed { task_id, reason, message });
        // An error means that the writer ended and with it the link.
        let _ = self.frames.send(failed).await;
    }

    async fn forget(&mut self, ended: Result<(Id, ()), JoinError>) {
        let (runner, crashed) = match &ended {
            Ok((runner, ())) => (*runner, false),
            Err(error) => (error.id(), error.is_panic()),
        };
        let mut tasks = self.tasks.iter();
        let Some(task_id) = tasks.find(|(_, handle)| handle.runner == runner).map(|(id, _)| *id)
        else {
            return;
        };
        self.tasks.remove(&task_id);
        if crashed {
            tracing::error!(%task_id, "the task's runner panicked");
            self.fail(task_id, Failure::Internal, "the node failed".to_owned()).await;
        }
    }
}

/// Writes what tasks produce, and the heartbeats.
struct Writer {
    sink: SplitSink<Socket, Message>,
    queue: mpsc::Receiver<NodeFrame>,
    worker: Arc<Worker>,
    heartbeat: Duration,
    limit: Duration,
}

impl Writer {
    /// Ends well when all senders are gone and everything is written.
    async fn run(mut self) -> Result<(), LinkError> {
        let shutdown = self.worker.shutdown().clone();
        let mut announced = false;
        let mut ticks = interval(self.heartbeat);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                frame = self.queue.recv() => match frame {
                    Some(frame) => self.write_batch(frame).await?,
                    None => break,
                },
                _ = ticks.tick() => self.beat().await?,
                () = shutdown.cancelled(), if !announced => {
                    announced = true;
                    self.beat().await?;
                }
            }
        }
        let goodbye =
            CloseFrame { code: CloseCode::Away, reason: "the node ended this link".into() };
        self.write([Message::Close(Some(goodbye))]).await
    }

    /// `first` and whatever else is ready, in one flush.
    async fn write_batch(&mut self, first: NodeFrame) -> Result<(), LinkError> {
        let mut batch = Vec::with_capacity(1);
        let mut next = Some(first);
        while let Some(frame) = next {
            batch.push(Message::binary(frame::encode(&frame)?));
            next = (batch.len() < FRAMES_PER_FLUSH).then(|| self.queue.try_recv().ok()).flatten();
        }
        self.write(batch).await
    }

    /// The ping makes a living server answer, so that silence means that it is gone.
    async fn beat(&mut self) -> Result<(), LinkError> {
        let heartbeat = NodeFrame::Heartbeat(self.worker.heartbeat());
        let heartbeat = Message::binary(frame::encode(&heartbeat)?);
        self.write([heartbeat, Message::Ping(Vec::new().into())]).await
    }

    async fn write(
        &mut self,
        messages: impl IntoIterator<Item = Message>,
    ) -> Result<(), LinkError> {
        let limit = self.limit;
        let sink = &mut self.sink;
        let writing = async {
            for message in messages {
                sink.feed(message).await?;
            }
            sink.flush().await
        };
        let written = timeout(limit, writing).await;
        let written =
            written.map_err(|_| LinkError::TimedOut { step: "writing to the server", limit })?;
        written.map_err(|error| LinkError::Broken(Box::new(error)))
    }
}
