//! The mock engine behind a link: it speaks the real protocol, answers slowly or shortly enough to
//! stay within its credit, signs
//! honest receipts, and computes nothing.

use crate::{
    faults::Engine,
    router::{self, SCOPE},
    script::{self, Script},
};
use anyhow::{Context, Result, bail};
use cactus_protocol::{
    FinishReason, Hash, NodeFrame, Octas, OutputHasher, Price, Prompt, Receipt, SecretKey,
    ServerFrame, Signed, Work,
    frame::{
        self, Advert, Challenge, Delta, Done, Feature, HardwareReport, Heartbeat, Hello, ModelKind,
        ModelOffer, Task,
    },
};
use futures::{SinkExt, StreamExt, stream::SplitSink};
use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};
use tokio::{
    net::TcpStream,
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async_with_config, tungstenite::Message,
};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

const REVISION: Hash = Hash([7; 32]);
const SLOTS: u16 = 4096;
/// Frames that wait for the socket.
const OUTBOX: usize = 4096;

/// Who a node is; the same number is the same node in every process.
#[derive(Clone)]
pub struct Identity {
    pub operator: SecretKey,
    pub node: SecretKey,
}

impl Identity {
    pub fn numbered(index: u32) -> Self {
        let key = |kind: u8| {
            let mut seed = [kind; 32];
            seed[..4].copy_from_slice(&index.to_le_bytes());
            SecretKey::from_seed(&seed)
        };
        Self { operator: key(3), node: key(4) }
    }

    fn hello(&self, challenge: &Challenge) -> Hello {
        let octas = Octas(1_000);
        let offer = ModelOffer {
            id: "sprout".into(),
            revision: REVISION,
            context_length: 1 << 17,
            price: Price { prompt: octas, output: octas },
            kind: ModelKind::Chat,
            features: vec![Feature::TokenIds, Feature::Resume],
        };
        Hello {
            protocol_version: challenge.protocol_version,
            nonce: challenge.nonce,
            server: challenge.server,
            operator: self.operator.address(),
            node: self.node.public(),
            advert: Advert {
                models: vec![offer],
                slots: SLOTS,
                queue: SLOTS,
                region: String::new(),
            },
            hardware: HardwareReport::default(),
            software: "bench/1".into(),
        }
    }
}

/// Links a node and serves tasks for as long as the process lives.
pub async fn start(address: SocketAddr, identity: Identity) -> Result<()> {
    start_with(address, identity, Engine::new(&Arc::default())).await
}

/// [`start`] for a node that may be lost.
pub async fn start_with(address: SocketAddr, identity: Identity, engine: Engine) -> Result<()> {
    let (mut socket, _) =
        connect_async_with_config(format!("ws://{address}/v1/link"), None, true).await?;
    let challenge = match receive(&mut socket).await? {
        ServerFrame::Challenge(challenge) => challenge,
        other => bail!("no challenge: {other:?}"),
    };
    let hello = Signed::new(identity.hello(&challenge), SCOPE, &identity.node)?;
    socket.send(encoded(&NodeFrame::Hello(Box::new(hello)))?).await?;
    match receive(&mut socket).await? {
        ServerFrame::Welcome(_) => {}
        other => bail!("not welcome: {other:?}"),
    }
    let (sink, mut stream) = socket.split();
    let (frames, outbox) = mpsc::channel(OUTBOX);
    tokio::spawn(heartbeats(frames.clone()));
    let writing = write(sink, outbox, engine.clone());
    let reading = {
        let engine = engine.clone();
        async move {
            while let Some(Ok(message)) = stream.next().await {
                engine.alive().await;
                if let Message::Binary(bytes) = message
                    && let Ok(ServerFrame::Task(task)) = frame::parse(&bytes)
                {
                    engine.asked.fetch_add(1, Relaxed);
                    tokio::spawn(answer(task, identity.clone(), frames.clone()));
                }
            }
        }
    };
    tokio::spawn(async move {
        // Both halves are dropped together, and the connection with them.
        tokio::select! {
            _ = writing => {}
            () = reading => {}
            () = engine.killed() => {}
        }
    });
    Ok(())
}

async fn receive(socket: &mut Socket) -> Result<ServerFrame> {
    loop {
        let message = socket.next().await.context("the link closed")??;
        if let Message::Binary(bytes) = message {
            return Ok(frame::parse(&bytes)?);
        }
    }
}

fn encoded(frame: &NodeFrame) -> Result<Message> {
    Ok(Message::binary(frame::encode(frame)?))
}

/// Writes what is there, then flushes once.
async fn write(
    mut sink: SplitSink<Socket, Message>,
    mut outbox: mpsc::Receiver<NodeFrame>,
    engine: Engine,
) -> Result<()> {
    while let Some(frame) = outbox.recv().await {
        engine.alive().await;
        sink.feed(encoded(&frame)?).await?;
        while let Ok(frame) = outbox.try_recv() {
            sink.feed(encoded(&frame)?).await?;
        }
        sink.flush().await?;
    }
    Ok(())
}

async fn heartbeats(frames: mpsc::Sender<NodeFrame>) {
    let mut pace = interval(Duration::from_secs(frame::HEARTBEAT_SECONDS.into()));
    loop {
        pace.tick().await;
        let heartbeat = Heartbeat { free_slots: SLOTS, ..Heartbeat::default() };
        if frames.send(NodeFrame::Heartbeat(heartbeat)).await.is_err() {
            return;
        }
    }
}

async fn answer(
    task: Box<Task>,
    identity: Identity,
    frames: mpsc::Sender<NodeFrame>,
) -> Result<()> {
    let Work::Chat(request) = &task.work else { bail!("only chats are measured") };
    let Prompt::Messages(messages) = &request.prompt else { bail!("only messages are measured") };
    let script = Script::parse(&messages[0].content);
    let mut hasher = OutputHasher::default();
    let mut pace = interval(script.cadence.max(Duration::from_micros(1)));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let resumed = u32::try_from(request.resume.len())?;
    for (sequence, token) in (0..).zip(resumed..script.frames) {
        if !script.cadence.is_zero() {
            pace.tick().await;
        }
        let (text, token_ids) = (script::stamped_text(), vec![token]);
        hasher.update(&token_ids, &text);
        let delta = Delta { task_id: task.task_id, sequence, text, token_ids, logprobs: vec![] };
        frames.send(NodeFrame::Delta(delta)).await?;
    }
    let receipt = Receipt {
        task_id: task.task_id,
        server: router::server(),
        operator: identity.operator.address(),
        node: identity.node.public(),
        model: task.work.model().to_owned(),
        model_revision: REVISION,
        request_hash: task.work.hash(),
        output_tokens: hasher.token_count(),
        output_hash: hasher.finish(),
        prompt_tokens: 5 + resumed,
        started_ms: router::now_ms()?,
        ttft_ms: 0,
        total_ms: 0,
        delegate: None,
        evidence_root: Hash::default(),
        price: task.price,
    };
    let receipt = Signed::new(receipt, SCOPE, &identity.node)?;
    let done = Done { finish_reason: FinishReason::Stop, receipt };
    Ok(frames.send(NodeFrame::Done(Box::new(done))).await?)
}
