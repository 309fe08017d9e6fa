//! A routing server of one thread that does what the test says, over real sockets.

use super::PATIENCE;
use cactus_orchestrator::RouterUrl;
use cactus_protocol::{
    Address, Hash, NodeFrame, OutputHasher, Receipt, Scope, ServerFrame, TaskId, Verified,
    frame::{
        self, Challenge, Delta, Failed, Hello, MAX_FRAME_BYTES, PROTOCOL_VERSION, Task, Welcome,
    },
};
use futures::{SinkExt, StreamExt};
use tokio::{
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_tungstenite::{WebSocketStream, accept_async, tungstenite::Message};

pub const SERVER: Address = Address([5; 32]);
pub const SCOPE: Scope = Scope { chain_id: 4, contract: Address([7; 32]) };

pub struct FakeRouter {
    listener: TcpListener,
}

/// One link, seen from the server.
pub struct FakeLink {
    socket: WebSocketStream<TcpStream>,
}

/// An answer as the server received it.
pub struct Answer {
    pub text: String,
    pub deltas: usize,
    pub output_hash: Hash,
    pub receipt: Verified<Receipt>,
    pub receipt_hash: Hash,
}

impl FakeRouter {
    pub async fn bind() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { listener }
    }

    pub fn url(&self) -> RouterUrl {
        let address = self.listener.local_addr().unwrap();
        format!("http://{address}").parse().unwrap()
    }

    /// The node's next connection, before any frame.
    pub async fn accept(&self) -> FakeLink {
        let accepted = timeout(PATIENCE, self.listener.accept()).await;
        let (stream, _) = accepted.expect("the node dials").unwrap();
        let socket = accept_async(stream).await.unwrap();
        FakeLink { socket }
    }

    /// The node's next connection, opened by the book.
    pub async fn open(&self) -> FakeLink {
        let mut link = self.accept().await;
        link.send(ServerFrame::Challenge(challenge())).await;
        link.verified_hello().await;
        link.send(ServerFrame::Welcome(welcome())).await;
        link
    }
}

pub fn challenge() -> Challenge {
    Challenge {
        protocol_version: PROTOCOL_VERSION,
        chain_id: SCOPE.chain_id,
        contract: SCOPE.contract,
        server: SERVER,
        nonce: [3; 32],
        server_time_ms: 0,
    }
}

pub fn welcome() -> Welcome {
    Welcome {
        session_id: 1,
        heartbeat_seconds: 5,
        max_frame_bytes: u32::try_from(MAX_FRAME_BYTES).unwrap(),
    }
}

impl FakeLink {
    pub async fn send(&mut self, frame: ServerFrame) {
        self.send_raw(Message::binary(frame::encode(&frame).unwrap())).await;
    }

    pub async fn send_raw(&mut self, message: Message) {
        self.socket.send(message).await.unwrap();
    }

    pub async fn send_task(&mut self, task: Task) {
        self.send(ServerFrame::Task(Box::new(task))).await;
    }

    /// The next frame, heartbeats included; `None` once the link is closed.
    pub async fn next(&mut self) -> Option<NodeFrame> {
        loop {
            let read = timeout(PATIENCE, self.socket.next()).await;
            match read.expect("the node says something")? {
                Ok(Message::Binary(bytes)) => return Some(frame::parse(&bytes).unwrap()),
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// Reads on to the end of the link; the code of the node's goodbye, if it said one.
    pub async fn goodbye(&mut self) -> Option<u16> {
        loop {
            let read = timeout(PATIENCE, self.socket.next()).await;
            match read.expect("the node ends the link")? {
                Ok(Message::Close(reason)) => return reason.map(|reason| reason.code.into()),
                Ok(_) => {}
                Err(_) => return None,
            }
        }
    }

    /// The next frame that is no heartbeat.
    pub async fn next_work(&mut self) -> Option<NodeFrame> {
        loop {
            match self.next().await {
                Some(NodeFrame::Heartbeat(_)) => {}
                other => return other,
            }
        }
    }

    pub async fn verified_hello(&mut self) -> Verified<Hello> {
        let Some(NodeFrame::Hello(hello)) = self.next().await else {
            panic!("expected a hello");
        };
        let node = hello.body.node;
        hello.verify(SCOPE, &node).expect("signed by its own key")
    }

    pub async fn next_delta(&mut self) -> Delta {
        match self.next_work().await {
            Some(NodeFrame::Delta(delta)) => delta,
            other => panic!("expected a delta, got {other:?}"),
        }
    }

    pub async fn next_failure(&mut self) -> Failed {
        match self.next_work().await {
            Some(NodeFrame::Failed(failed)) => failed,
            other => panic!("expected a failure, got {other:?}"),
        }
    }

    /// Reads one task's frames to its `Done`; fails on any other task's frame.
    pub async fn answer(&mut self, task_id: TaskId) -> Answer {
        self.answer_after(task_id, vec![]).await
    }

    /// Like `answer`, when some deltas were read already.
    pub async fn answer_after(&mut self, task_id: TaskId, read: Vec<Delta>) -> Answer {
        let mut received = Received::default();
        read.into_iter().for_each(|delta| received.add(task_id, delta));
        loop {
            match self.next_work().await {
                Some(NodeFrame::Delta(delta)) => received.add(task_id, delta),
                Some(NodeFrame::Done(done)) => {
                    let receipt_hash = done.receipt.hash();
                    let node = done.receipt.body.node;
                    let receipt = done.receipt.verify(SCOPE, &node).expect("a good signature");
                    assert_eq!(receipt.task_id, task_id);
                    return Answer {
                        text: received.text,
                        deltas: received.count,
                        output_hash: received.hasher.finish(),
                        receipt,
                        receipt_hash,
                    };
                }
                other => panic!("expected more of the answer, got {other:?}"),
            }
        }
    }
}

#[derive(Default)]
struct Received {
    text: String,
    count: usize,
    hasher: OutputHasher,
}

impl Received {
    fn add(&mut self, task_id: TaskId, delta: Delta) {
        assert_eq!(delta.task_id, task_id);
        assert_eq!(usize::try_from(delta.sequence), Ok(self.count), "no gap");
        assert!(!delta.text.is_empty() || !delta.token_ids.is_empty());
        self.hasher.update(&delta.token_ids, &delta.text);
        self.text.push_str(&delta.text);
        self.count += 1;
    }
}
