//! One link to one routing server: dials, proves who the node is, stays linked and dials again.
//! It never signs for a network that is not configured and never waits without a limit.

use crate::{
    backoff::{Backoff, jittered},
    handshake::{Effect, Phase, Violation, step},
    logging::one_line,
    router_url::RouterUrl,
    session,
    worker::Worker,
};
use cactus_protocol::{
    Address, NodeFrame, ServerFrame,
    frame::{self, BadFrame, Challenge, MAX_FRAME_BYTES, Refusal, Refused, Welcome},
};
use futures::{SinkExt, StreamExt, future::BoxFuture};
use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async_with_config,
    tungstenite::{self, Message, protocol::WebSocketConfig},
};
use tokio_util::sync::CancellationToken;

pub(crate) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A link that was open this long was a good one: the next pause is short again.
const GOOD_LINK: Duration = Duration::from_secs(10);
/// The longest pause while a validator or an operator has to act on the chain.
const CHAIN_RETRY: Duration = Duration::from_secs(5);
/// Clocks that differ by more are worth a warning.
const CLOCK_SKEW: Duration = Duration::from_secs(30);

/// How long each step of a link may take.
#[derive(Debug, Clone)]
pub struct Timing {
    /// To open the socket, TLS and WebSocket upgrade included.
    pub connect: Duration,
    /// For each answer of the server before the link is open.
    pub answer: Duration,
    /// For the server to take what is written to it.
    pub write: Duration,
    /// Without any sign of life from the server (it answers each heartbeat's ping).
    pub idle: Duration,
    /// Between heartbeats, at most; a server may ask for more of them.
    pub heartbeat: Duration,
    /// For running tasks to finish after shutdown.
    pub drain: Duration,
    /// Before the first attempt to dial again; doubles from there.
    pub first_retry: Duration,
    /// Between attempts, at most.
    pub slowest_retry: Duration,
    /// Between attempts when someone has to change a configuration or a version first.
    pub refused_retry: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            answer: Duration::from_secs(10),
            write: Duration::from_secs(20),
            idle: Duration::from_secs(30),
            heartbeat: Duration::from_secs(5),
            drain: Duration::from_secs(30),
            first_retry: Duration::from_millis(500),
            slowest_retry: Duration::from_secs(30),
            refused_retry: Duration::from_secs(120),
        }
    }
}

/// Why no work is done for a server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServerDoubt {
    /// The chain says that it cannot pay.
    #[error("the server {0} is not registered and authorised on the chain; it could not pay")]
    CannotPay(Address),
    /// The chain could not be asked.
    #[error("cannot ask the chain about the server: {0}")]
    Unknown(String),
}

/// Asks the chain whether a server can pay.
pub type ServerCheck =
    Arc<dyn Fn(Address) -> BoxFuture<'static, Result<(), ServerDoubt>> + Send + Sync>;

/// Why a link ended.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The network or the server is away.
    #[error("cannot reach the routing server: {0}")]
    Unreachable(#[source] Box<tungstenite::Error>),
    /// The network or the server failed while the link was open.
    #[error("the link broke: {0}")]
    Broken(#[source] Box<tungstenite::Error>),
    /// A step took too long.
    #[error("{step} took longer than {limit:?}")]
    TimedOut {
        /// What was waited for.
        step: &'static str,
        /// The limit.
        limit: Duration,
    },
    /// The server closed the link.
    #[error("the server closed the link: {0}")]
    Closed(String),
    /// The server sent what is no frame.
    #[error(transparent)]
    BadFrame(#[from] BadFrame),
    /// The server broke the protocol.
    #[error(transparent)]
    Violation(#[from] Violation),
    /// The server does not want this node.
    #[error("the server refuses this node ({:?}): {}", .0.reason, .0.message)]
    Refused(Refused),
    /// The server would not be able to pay.
    #[error(transparent)]
    Doubt(#[from] ServerDoubt),
    /// Our own `Hello` has no BCS form.
    #[error("the hello cannot be signed")]
    Unsignable,
}

impl LinkError {
    /// What the operator can do, when waiting alone does not help.
    fn advice(&self) -> Option<&'static str> {
        match self {
            Self::Violation(Violation::OtherNetwork { .. }) => {
                Some("check --chain-url and --contract, or remove this --router")
            }
            Self::Violation(Violation::OtherVersion { .. }) => Some("update the older of the two"),
            Self::Doubt(ServerDoubt::CannotPay(_)) => {
                Some("check the address of the --router, or ask its operator to register")
            }
            Self::Refused(refused) => match refused.reason {
                Refusal::Version => Some("update this software"),
                Refusal::BadAdvert => Some("check --model, --slots, --queue and the prices"),
                Refusal::BadSignature => Some("check --contract and this machine's clock"),
                Refusal::NotRegistered => {
                    Some("ask a validator of this network to vouch for this operator and node")
                }
                Refusal::StakeTooLow => Some("raise --stake and restart"),
                Refusal::AlreadyLinked => Some("is a second process using the same node key?"),
                Refusal::Unavailable => None,
            },
            _ => None,
        }
    }

    /// How soon dialling again can help.
    fn retry(&self) -> Retry {
        match self {
            Self::Violation(Violation::OtherNetwork { .. } | Violation::OtherVersion { .. }) => {
                Retry::WhenChanged
            }
            Self::Refused(refused) => match refused.reason {
                Refusal::Version | Refusal::BadSignature | Refusal::BadAdvert => Retry::WhenChanged,
                Refusal::NotRegistered | Refusal::StakeTooLow => Retry::WhenTheChainMoves,
                Refusal::AlreadyLinked | Refusal::Unavailable => Retry::Soon,
            },
            Self::Doubt(ServerDoubt::CannotPay(_)) => Retry::WhenTheChainMoves,
            _ => Retry::Soon,
        }
    }
}

/// When it makes sense to dial again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Retry {
    /// With growing pauses: what was wrong passes by itself.
    Soon,
    /// With growing pauses that stay short: someone acts on the chain, and then work begins.
    WhenTheChainMoves,
    /// Seldom: someone must change a configuration or a version.
    WhenChanged,
}

/// A link to be kept.
pub struct Link {
    /// Where to.
    pub router: RouterUrl,
    /// What is behind it; shared by all links.
    pub worker: Arc<Worker>,
    /// Limits.
    pub timing: Timing,
    /// Whether a server is worth working for.
    pub server_check: ServerCheck,
}

impl Link {
    /// Keeps the link until the worker shuts down and its tasks on this link are done.
    pub async fn run(self) {
        let shutdown = self.worker.shutdown().clone();
        let mut backoff = Backoff::new(self.timing.first_retry, self.timing.slowest_retry);
        while !shutdown.is_cancelled() {
            let dialled = Instant::now();
            let Err(error) = self.serve_once(&shutdown).await else {
                break;
            };
            if dialled.elapsed() > GOOD_LINK {
                backoff.reset();
            }
            let share = rand::random::<f64>();
            let pause = match error.retry() {
                Retry::Soon => backoff.next_pause(share),
                Retry::WhenTheChainMoves => backoff.next_pause(share).min(CHAIN_RETRY),
                Retry::WhenChanged => jittered(self.timing.refused_retry, share),
            };
            tracing::warn!(router = %self.router, %error, advice = error.advice(), ?pause, "not linked");
            let _ = timeout(pause, shutdown.cancelled()).await;
        }
        tracing::info!(router = %self.router, "link closed");
    }

    /// One connection, from dialling to its end; `Ok` only after shutdown.
    async fn serve_once(&self, shutdown: &CancellationToken) -> Result<(), LinkError> {
        let opened = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            opened = self.open() => opened?,
        };
        let (socket, server, welcome) = opened;
        tracing::info!(
            router = %self.router,
            %server,
            session_id = welcome.session_id,
            "linked"
        );
        session::serve(socket, server, &welcome, self).await
    }

    async fn open(&self) -> Result<(Socket, Address, Welcome), LinkError> {
        let mut socket = self.connect().await?;
        match self.greet(&mut socket).await {
            Ok((server, welcome)) => Ok((socket, server, welcome)),
            Err(error) => {
                session::hang_up(socket).await;
                Err(error)
            }
        }
    }

    /// Challenge, hello, verdict.
    async fn greet(&self, socket: &mut Socket) -> Result<(Address, Welcome), LinkError> {
        let mut phase = Phase::AwaitChallenge;
        let mut server = Address::default();
        loop {
            let frame = self.next_answer(socket).await?;
            let (next, effect) = step(phase, frame, self.worker.identity().scope)?;
            phase = next;
            match effect {
                Effect::SayHello(challenge) => {
                    server = challenge.server;
                    self.say_hello(socket, &challenge).await?;
                }
                Effect::Opened(welcome) => return Ok((server, welcome)),
                Effect::GiveUp(refused) => {
                    let message = one_line(&refused.message);
                    return Err(LinkError::Refused(Refused { message, ..refused }));
                }
                // `step` lets no task in before the link is open.
                Effect::Run(_) | Effect::Grant { .. } | Effect::Stop(_) => {}
            }
        }
    }

    async fn connect(&self) -> Result<Socket, LinkError> {
        let limits = WebSocketConfig::default()
            .max_message_size(Some(MAX_FRAME_BYTES))
            .max_frame_size(Some(MAX_FRAME_BYTES))
            .read_buffer_size(16 * 1024);
        // The last argument turns Nagle's algorithm off: each token leaves at once.
        let dialling = connect_async_with_config(self.router.as_str(), Some(limits), true);
        let limit = self.timing.connect;
        let connected = timeout(limit, dialling).await;
        let connected = connected.map_err(|_| LinkError::TimedOut { step: "connecting", limit })?;
        let (socket, _) = connected.map_err(|error| LinkError::Unreachable(Box::new(error)))?;
        Ok(socket)
    }

    async fn say_hello(&self, socket: &mut Socket, challenge: &Challenge) -> Result<(), LinkError> {
        warn_of_clock_skew(challenge.server_time_ms);
        let limit = self.timing.answer;
        let too_long = |step| LinkError::TimedOut { step, limit };
        let checking = timeout(limit, (self.server_check)(challenge.server));
        checking.await.map_err(|_| too_long("asking the chain about the server"))??;
        let hello = self.worker.hello(challenge.server, challenge.nonce);
        let hello = self.worker.sign_hello(hello).map_err(|_| LinkError::Unsignable)?;
        let bytes = frame::encode(&NodeFrame::Hello(Box::new(hello)))?;
        let sending = timeout(limit, socket.send(Message::binary(bytes)));
        let sent = sending.await.map_err(|_| too_long("saying hello"))?;
        sent.map_err(|error| LinkError::Broken(Box::new(error)))
    }

    /// The next frame before the link is open; all control messages together share the limit.
    async fn next_answer(&self, socket: &mut Socket) -> Result<ServerFrame, LinkError> {
        let limit = self.timing.answer;
        let waiting = async {
            loop {
                if let Some(frame) = read(socket.next().await)? {
                    return Ok(frame);
                }
            }
        };
        timeout(limit, waiting)
            .await
            .map_err(|_| LinkError::TimedOut { step: "waiting for the server's answer", limit })?
    }
}

/// What was read: a frame, or `None` for a ping or pong (tungstenite answers pings itself).
pub(crate) fn read(
    message: Option<Result<Message, tungstenite::Error>>,
) -> Result<Option<ServerFrame>, LinkError> {
    match message {
        Some(Ok(Message::Binary(bytes))) => Ok(Some(frame::parse(&bytes)?)),
        Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Ok(None),
        Some(Ok(Message::Text(_))) => {
            Err(BadFrame::Malformed("text instead of a binary frame".to_owned()).into())
        }
        Some(Ok(Message::Close(reason))) => Err(LinkError::Closed(
            reason
                .map_or_else(|| "no reason given".to_owned(), |frame| one_line(&frame.to_string())),
        )),
        Some(Err(error)) => Err(LinkError::Broken(Box::new(error))),
        None => Err(LinkError::Closed("the connection ended".to_owned())),
    }
}

fn warn_of_clock_skew(server_time_ms: u64) {
    let server_time = SystemTime::UNIX_EPOCH + Duration::from_millis(server_time_ms);
    let now = SystemTime::now();
    let skew = match now.duration_since(server_time) {
        Ok(behind) => behind,
        Err(ahead) => ahead.duration(),
    };
    if skew > CLOCK_SKEW {
        tracing::warn!(
            ?skew,
            "this machine's clock and the server's differ; receipts carry times: check NTP"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(error: LinkError, expect: Retry) {
        assert_eq!(error.retry(), expect, "{error}");
        let says_what_to_do = error.advice().is_some();
        assert!(says_what_to_do || expect == Retry::Soon, "{error}");
    }

    #[test]
    fn whoever_can_help_decides_how_soon_the_node_dials_again() {
        let refused = |reason| {
            let message = String::new();
            LinkError::Refused(Refused { reason, message })
        };
        for reason in [Refusal::Version, Refusal::BadSignature, Refusal::BadAdvert] {
            check(refused(reason), Retry::WhenChanged);
        }
        for reason in [Refusal::NotRegistered, Refusal::StakeTooLow] {
            check(refused(reason), Retry::WhenTheChainMoves);
        }
        for reason in [Refusal::AlreadyLinked, Refusal::Unavailable] {
            check(refused(reason), Retry::Soon);
        }
        let doubt = ServerDoubt::CannotPay(Address([1; 32]));
        check(LinkError::Doubt(doubt), Retry::WhenTheChainMoves);
        let doubt = ServerDoubt::Unknown("away".into());
        check(LinkError::Doubt(doubt), Retry::Soon);
        let version = Violation::OtherVersion { theirs: 2 };
        check(LinkError::Violation(version), Retry::WhenChanged);
        check(LinkError::Closed("restart".into()), Retry::Soon);
    }
}
