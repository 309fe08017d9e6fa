//! Nodes that speak the real link, sign honest receipts, and break off as their script says.

use super::{
    Shared,
    script::{Answer, Fault, PROMPT_TOKENS},
};
use crate::support::{
    SCOPE,
    node::{Identity, Node},
};
use cactus_protocol::{
    FinishReason, Hash, NodeFrame, OutputHasher, Receipt, ServerFrame, Signed, TaskId, Work,
    frame::{Delta, Done, Failed, Failure, Task},
};
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};
use tokio::{sync::mpsc, task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;

/// How long a node that hangs stays linked.
const HANGS_FOR: Duration = Duration::from_millis(400);
const OUTBOX: usize = 1024;

/// What a node did for a task.
#[derive(Debug, Clone, Copy, Default)]
pub struct Effort {
    pub seed: u64,
    /// Tokens of other nodes that it went on after.
    pub resumed: u32,
    pub sent: u32,
}

enum Out {
    Frame(NodeFrame),
    Break(Fault),
}

/// Links again and again.
pub async fn serve(shared: Arc<Shared>, identity: Identity, number: u64) {
    let mut rng = SmallRng::seed_from_u64(shared.plan.seed.wrapping_add(number));
    loop {
        let linked = link(&shared, identity.clone()).await;
        match linked {
            Some(node) => live(&shared, node, &mut rng).await,
            // The server has not noticed the end of the last link yet.
            None => sleep(Duration::from_millis(5)).await,
        }
    }
}

async fn link(shared: &Shared, identity: Identity) -> Option<Node> {
    let (mut node, challenge) = Node::dial(&shared.app, identity).await;
    let hello = node.identity.hello(&challenge);
    matches!(node.greet(hello).await, Some(ServerFrame::Welcome(_))).then_some(node)
}

/// One link to its end. What is unfinished then dies with it.
async fn live(shared: &Arc<Shared>, mut node: Node, rng: &mut SmallRng) {
    let (out, mut outbox) = mpsc::channel(OUTBOX);
    let mut jobs = JoinSet::new();
    let mut stops: HashMap<TaskId, CancellationToken> = HashMap::new();
    loop {
        tokio::select! {
            frame = node.recv_forever() => match frame {
                Some(ServerFrame::Task(task)) => {
                    let stop = CancellationToken::new();
                    stops.insert(task.task_id, stop.clone());
                    let job = Job::new(shared, &node.identity, (*task, rng.random()));
                    jobs.spawn(job.run(out.clone(), stop));
                }
                Some(ServerFrame::Cancel { task_id }) => {
                    shared.cancelled(task_id);
                    stops.get(&task_id).inspect(|stop| stop.cancel());
                }
                Some(_) => {}
                None => return,
            },
            Some(next) = outbox.recv() => match next {
                Out::Frame(frame) => node.send(&frame).await,
                Out::Break(fault) => {
                    shared.counts.breaks.fetch_add(1, Relaxed);
                    if fault == Fault::Hang {
                        sleep(HANGS_FOR).await;
                    }
                    return;
                }
            },
            Some(_) = jobs.join_next() => {}
        }
    }
}

struct Job {
    shared: Arc<Shared>,
    identity: Identity,
    task: Task,
    answer: Answer,
    fault: Option<(Fault, u32)>,
    start: u32,
    hasher: OutputHasher,
}

impl Job {
    fn new(shared: &Arc<Shared>, identity: &Identity, (task, seed): (Task, u64)) -> Self {
        let Work::Chat(request) = &task.work else { panic!("not a chat") };
        let answer = Answer::of(request.sampling.seed);
        let start = u32::try_from(request.resume.len()).unwrap();
        let expected: Vec<_> = (0..start).map(|position| answer.token(position)).collect();
        assert_eq!(request.resume, expected, "another answer is to be gone on with");
        assert_eq!(request.max_tokens, answer.max_tokens - start);
        let mut rng = SmallRng::seed_from_u64(seed);
        let fault = shared.plan.odds.fault(answer, start, &mut rng);
        let work = Effort { seed: request.sampling.seed, resumed: start, sent: 0 };
        shared.works.lock().unwrap().insert(task.task_id, work);
        Self {
            shared: Arc::clone(shared),
            identity: identity.clone(),
            task,
            answer,
            fault,
            start,
            hasher: OutputHasher::default(),
        }
    }

    /// A link that is gone swallows what is sent.
    async fn run(mut self, out: mpsc::Sender<Out>, stop: CancellationToken) {
        let cadence = self.shared.plan.cadence;
        for position in self.start..=self.answer.length {
            if let Some((fault, _)) = self.fault.filter(|(_, at)| *at == position) {
                return self.break_off(fault, &out).await;
            }
            if position == self.answer.length {
                break;
            }
            tokio::select! {
                () = stop.cancelled() => return self.end(FinishReason::Cancelled, &out).await,
                () = sleep(cadence) => {}
            }
            let frame = self.delta(position);
            let _ = out.send(Out::Frame(frame)).await;
        }
        self.end(self.answer.reason(), &out).await;
    }

    async fn break_off(self, fault: Fault, out: &mpsc::Sender<Out>) {
        let what = match fault {
            Fault::Forget => {
                self.shared.counts.breaks.fetch_add(1, Relaxed);
                return;
            }
            Fault::Fail => Out::Frame(self.failed()),
            Fault::Cut | Fault::Hang => Out::Break(fault),
        };
        let _ = out.send(what).await;
    }

    fn failed(&self) -> NodeFrame {
        self.shared.counts.breaks.fetch_add(1, Relaxed);
        let (task_id, reason) = (self.task.task_id, Failure::Internal);
        NodeFrame::Failed(Failed { task_id, reason, message: "as scripted".into() })
    }

    fn delta(&mut self, position: u32) -> NodeFrame {
        let (text, token_ids) = (self.answer.word(position), vec![self.answer.token(position)]);
        self.hasher.update(&token_ids, &text);
        let task_id = self.task.task_id;
        self.shared.works.lock().unwrap().get_mut(&task_id).unwrap().sent += 1;
        let sequence = position - self.start;
        NodeFrame::Delta(Delta { task_id, sequence, text, token_ids, logprobs: vec![] })
    }

    async fn end(&self, finish_reason: FinishReason, out: &mpsc::Sender<Out>) {
        let sent = self.hasher.token_count();
        if finish_reason == FinishReason::Cancelled && sent == 0 {
            return;
        }
        let receipt = Receipt {
            task_id: self.task.task_id,
            server: self.shared.app.server,
            operator: self.identity.operator.address(),
            node: self.identity.node.public(),
            model: self.task.work.model().to_owned(),
            model_revision: Hash([7; 32]),
            request_hash: self.task.work.hash(),
            output_tokens: sent,
            output_hash: self.hasher.clone().finish(),
            prompt_tokens: PROMPT_TOKENS + self.start,
            started_ms: 0,
            ttft_ms: 0,
            total_ms: 0,
            delegate: None,
            evidence_root: Hash::default(),
            price: self.task.price,
        };
        let receipt = Signed::new(receipt, SCOPE, &self.identity.node).unwrap();
        let done = NodeFrame::Done(Box::new(Done { finish_reason, receipt }));
        let _ = out.send(Out::Frame(done)).await;
    }
}
