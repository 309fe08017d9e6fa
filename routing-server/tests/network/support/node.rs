//! A fake node that speaks the real link protocol, honestly or not.

use super::{SCOPE, TestApp, apt, eventually, within};
use cactus_protocol::{
    FinishReason, Hash, NodeFrame, Octas, OutputHasher, Price, Receipt, SecretKey, ServerFrame,
    Signed, TaskId, Work,
    frame::{
        self, Advert, Alternative, Challenge, Delta, Done, Embedded, Failed, Failure, Feature,
        HardwareReport, Hello, ModelKind, ModelOffer, Task, TokenLogprob,
    },
};
use futures::{SinkExt, StreamExt};
use std::collections::VecDeque;
use tokio::{net::TcpStream, task::JoinHandle};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async_with_config, tungstenite::Message,
};

pub const CONTEXT: u32 = 4096;

/// One token per word, but none after the first sixty: a fake node needs no time for its work, and
/// more would look like tokens that nobody computed.
fn token_ids(sequence: u32) -> Vec<u32> {
    if sequence < 60 { vec![sequence] } else { vec![] }
}

/// As many alternatives as were asked for, for a delta's one token.
fn logprobs(task: &Task, sequence: u32, text: &str) -> Vec<TokenLogprob> {
    let Work::Chat(request) = &task.work else { return vec![] };
    let Some(alternatives) = request.logprobs else { return vec![] };
    let other = |n: u8| Alternative {
        token_id: n.into(),
        bytes: vec![b'a' + n],
        logprob_micro: -1_000_000 * (i32::from(n) + 1),
    };
    let token = TokenLogprob {
        bytes: text.into(),
        logprob_micro: -500_000,
        top: (0..alternatives).map(other).collect(),
    };
    vec![token; token_ids(sequence).len()]
}

/// Who a node is.
#[derive(Clone)]
pub struct Identity {
    pub operator: SecretKey,
    pub node: SecretKey,
    pub price: Octas,
    pub context: u32,
    pub kind: ModelKind,
    pub features: Vec<Feature>,
    pub slots: u16,
    pub queue: u16,
}

impl Identity {
    /// Registered with 100 APT at stake; 0.01 APT per 1,000 tokens.
    pub fn registered(app: &TestApp) -> Self {
        let identity = Self::unknown();
        let (operator, node) = (identity.operator.address(), identity.node.public());
        app.chain.register(operator, node, apt(100));
        identity
    }

    pub fn unknown() -> Self {
        Self {
            operator: SecretKey::random(),
            node: SecretKey::random(),
            price: Octas(1_000_000),
            context: CONTEXT,
            kind: ModelKind::Chat,
            features: vec![Feature::TokenIds],
            slots: 8,
            queue: 8,
        }
    }

    /// Registered, with an engine that can do everything.
    pub fn able(app: &TestApp) -> Self {
        Self { features: Feature::ALL.to_vec(), ..Self::registered(app) }
    }

    /// Registered, with a model that makes vectors of three numbers.
    pub fn embedder(app: &TestApp) -> Self {
        Self { kind: ModelKind::Embedding { dimensions: 3 }, ..Self::registered(app) }
    }

    pub fn hello(&self, challenge: &Challenge) -> Hello {
        let offer = ModelOffer {
            id: "sprout".into(),
            revision: Hash([7; 32]),
            context_length: self.context,
            price: Price { prompt: self.price, output: self.price },
            kind: self.kind,
            features: self.features.clone(),
        };
        Hello {
            protocol_version: challenge.protocol_version,
            nonce: challenge.nonce,
            server: challenge.server,
            operator: self.operator.address(),
            node: self.node.public(),
            advert: Advert {
                models: vec![offer],
                slots: self.slots,
                queue: self.queue,
                region: "test".into(),
            },
            hardware: HardwareReport::default(),
            software: "fake/1".into(),
        }
    }
}

/// One link, frame by frame.
pub struct Node {
    pub identity: Identity,
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    kept: VecDeque<ServerFrame>,
}

impl Node {
    /// Connects and reads the challenge.
    pub async fn dial(app: &TestApp, identity: Identity) -> (Self, Challenge) {
        let url = format!("ws://{}/v1/link", app.address);
        let (socket, _) = within(connect_async_with_config(url, None, true)).await.unwrap();
        let mut node = Self { identity, socket, kept: VecDeque::new() };
        match node.recv().await {
            Some(ServerFrame::Challenge(challenge)) => (node, challenge),
            other => panic!("no challenge: {other:?}"),
        }
    }

    /// A registered node, welcomed.
    pub async fn link(app: &TestApp) -> Self {
        Self::link_as(app, Identity::registered(app)).await
    }

    pub async fn link_as(app: &TestApp, identity: Identity) -> Self {
        let (mut node, challenge) = Self::dial(app, identity).await;
        let hello = node.identity.hello(&challenge);
        let answer = node.greet(hello).await;
        assert!(matches!(answer, Some(ServerFrame::Welcome(_))), "{answer:?}");
        node
    }

    /// Sends a signed `Hello`; the server's answer.
    pub async fn greet(&mut self, hello: Hello) -> Option<ServerFrame> {
        let signed = Signed::new(hello, SCOPE, &self.identity.node).unwrap();
        self.send(&NodeFrame::Hello(Box::new(signed))).await;
        self.recv().await
    }

    /// The next frame; `None` when the server closed the link.
    pub async fn recv(&mut self) -> Option<ServerFrame> {
        if let Some(kept) = self.kept.pop_front() {
            return Some(kept);
        }
        loop {
            match within(self.socket.next()).await? {
                Ok(Message::Binary(bytes)) => return Some(frame::parse(&bytes).unwrap()),
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    pub async fn send(&mut self, frame: &NodeFrame) {
        self.send_bytes(frame::encode(frame).unwrap()).await;
    }

    pub async fn send_bytes(&mut self, bytes: Vec<u8>) {
        // The server may have closed the link; the next `recv` tells.
        let _ = self.socket.send(Message::binary(bytes)).await;
    }

    /// The next task.
    pub async fn task(&mut self) -> Task {
        loop {
            match self.recv().await {
                Some(ServerFrame::Task(task)) => return *task,
                Some(_) => {}
                None => panic!("the link closed"),
            }
        }
    }

    /// Waits for a `Cancel` of the task.
    pub async fn cancelled(&mut self, task_id: TaskId) {
        loop {
            match self.recv().await {
                Some(ServerFrame::Cancel { task_id: id }) if id == task_id => return,
                Some(_) => {}
                None => panic!("the link closed"),
            }
        }
    }

    pub async fn delta(&mut self, task: &Task, sequence: u32, text: &str) {
        self.send(&NodeFrame::Delta(Delta {
            task_id: task.task_id,
            sequence,
            text: text.into(),
            token_ids: token_ids(sequence),
            logprobs: logprobs(task, sequence, text),
        }))
        .await;
    }

    /// Sends vectors.
    pub async fn embed(&mut self, task: &Task, sequence: u32, values: &[f32]) {
        let values = values.iter().map(|value| value.to_bits()).collect();
        let embedded = Embedded { task_id: task.task_id, sequence, dimensions: 3, values };
        self.send(&NodeFrame::Embedded(embedded)).await;
    }

    /// Bills these vectors honestly.
    pub async fn embedded(&mut self, app: &TestApp, task: &Task, values: &[f32]) {
        let mut hasher = OutputHasher::default();
        let bits: Vec<_> = values.iter().map(|value| value.to_bits()).collect();
        hasher.update_values(&bits);
        let receipt = Receipt {
            server: app.server,
            output_hash: hasher.finish(),
            output_tokens: 0,
            ..self.receipt(task, &[])
        };
        self.done(receipt).await;
    }

    /// The honest receipt for these words.
    pub fn receipt(&self, task: &Task, words: &[&str]) -> Receipt {
        let mut hasher = OutputHasher::default();
        for (id, word) in (0..).zip(words) {
            hasher.update(&token_ids(id), word);
        }
        Receipt {
            task_id: task.task_id,
            server: cactus_protocol::Address::default(),
            operator: self.identity.operator.address(),
            node: self.identity.node.public(),
            model: task.work.model().to_owned(),
            model_revision: Hash([7; 32]),
            request_hash: task.work.hash(),
            output_tokens: hasher.token_count(),
            output_hash: hasher.finish(),
            prompt_tokens: 5,
            started_ms: super::client::now_ms(),
            ttft_ms: 0,
            total_ms: 0,
            delegate: None,
            evidence_root: Hash::default(),
            price: task.price,
        }
    }

    pub async fn done(&mut self, receipt: Receipt) {
        let key = self.identity.node.clone();
        self.done_signed_by(receipt, &key).await;
    }

    pub async fn done_signed_by(&mut self, receipt: Receipt, key: &SecretKey) {
        self.end(FinishReason::Stop, Signed::new(receipt, SCOPE, key).unwrap()).await;
    }

    /// Bills these words after a `Cancel`.
    pub async fn bill(&mut self, app: &TestApp, task: &Task, words: &[&str]) {
        let receipt = Receipt { server: app.server, ..self.receipt(task, words) };
        let receipt = Signed::new(receipt, SCOPE, &self.identity.node).unwrap();
        self.end(FinishReason::Cancelled, receipt).await;
    }

    async fn end(&mut self, finish_reason: FinishReason, receipt: Signed<Receipt>) {
        self.send(&NodeFrame::Done(Box::new(Done { finish_reason, receipt }))).await;
    }

    /// Hangs up at once: the close frame and the end of the stream follow the last frame.
    pub async fn hang_up(mut self) {
        let _ = self.socket.close(None).await;
        if let MaybeTlsStream::Plain(stream) = self.socket.get_mut() {
            let _ = tokio::io::AsyncWriteExt::shutdown(stream).await;
        }
    }

    pub async fn fail(&mut self, task: &Task, reason: Failure) {
        let failed = Failed { task_id: task.task_id, reason, message: "because".into() };
        self.send(&NodeFrame::Failed(failed)).await;
    }

    /// Answers a task honestly, keeping to its credit.
    pub async fn answer(&mut self, app: &TestApp, task: &Task, words: &[&str]) {
        let mut credit = task.credits;
        for (sequence, word) in (0..).zip(words) {
            while credit == 0 {
                match self.recv().await {
                    Some(ServerFrame::Credit { task_id, deltas }) if task_id == task.task_id => {
                        credit += deltas;
                    }
                    Some(other) => self.kept.push_back(other),
                    None => return,
                }
            }
            credit -= 1;
            self.delta(task, sequence, word).await;
        }
        let mut receipt = self.receipt(task, words);
        receipt.server = app.server;
        self.done(receipt).await;
    }

    /// Answers every task with these words until the link closes.
    pub fn serve(self, app: &TestApp, words: &'static [&'static str]) -> JoinHandle<()> {
        let (mut node, server) = (self, app.server);
        tokio::spawn(async move {
            while let Some(frame) = node.recv_forever().await {
                if let ServerFrame::Task(task) = frame {
                    for (sequence, word) in (0..).zip(words) {
                        node.delta(&task, sequence, word).await;
                    }
                    let mut receipt = node.receipt(&task, words);
                    receipt.server = server;
                    node.done(receipt).await;
                }
            }
        })
    }

    /// Answers every task with what `words` says, until the link closes.
    pub fn serve_each(
        self,
        app: &TestApp,
        mut words: impl FnMut(&Task) -> Vec<String> + Send + 'static,
    ) -> JoinHandle<()> {
        let (mut node, server) = (self, app.server);
        tokio::spawn(async move {
            while let Some(frame) = node.recv_forever().await {
                let ServerFrame::Task(task) = frame else { continue };
                let words = words(&task);
                let words: Vec<_> = words.iter().map(String::as_str).collect();
                for (sequence, word) in (0..).zip(&words) {
                    node.delta(&task, sequence, word).await;
                }
                let receipt = Receipt { server, ..node.receipt(&task, &words) };
                node.done(receipt).await;
            }
        })
    }

    pub async fn recv_forever(&mut self) -> Option<ServerFrame> {
        loop {
            match self.socket.next().await? {
                Ok(Message::Binary(bytes)) => return Some(frame::parse(&bytes).unwrap()),
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }
}

/// Waits until this many nodes are linked.
pub async fn linked(app: &TestApp, count: usize) {
    eventually(async || (app.nodes().await.len() == count).then_some(())).await;
}
