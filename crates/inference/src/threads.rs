//! What the two threads of a model do: one turns messages into tokens, the other owns the engine.
//! It never decides who computes next; that is the scheduler's.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::gauges::Ticket;
use crate::request::{GenerateError, GenerateEvent, GenerateRequest};
use crate::scheduler::{Next, Scheduler};
use crate::sequence::{Beginning, Job, Reply, cancel_queued, count};
use crate::text::codec::Codec;

/// The longest wait between two looks at cancellations while every sequence is held back by the
/// power cap.
const HELD_BACK_WAIT: Duration = Duration::from_millis(5);

/// Between two looks at requests whose format is being worked out.
const PREPARING_WAIT: Duration = Duration::from_millis(1);

/// A request on its way to be tokenised.
pub(crate) struct Submission {
    pub(crate) request: GenerateRequest,
    pub(crate) reply: Reply,
    pub(crate) ticket: Ticket,
}

/// The thread that turns messages into tokens, apart from the model's so that a long prompt never
/// delays a decode step. Ends when the handle is dropped.
pub(crate) struct Prompts {
    pub(crate) codec: Arc<Codec>,
    pub(crate) context: u32,
    /// Token ids are below this.
    pub(crate) vocabulary: usize,
    pub(crate) stop: CancellationToken,
}

impl Prompts {
    pub(crate) fn serve(&self, submitted: &Receiver<Submission>, jobs: &SyncSender<Job>) {
        let mut unprepared: Vec<Job> = Vec::new();
        loop {
            let submission = match unprepared.is_empty() {
                true => submitted.recv().map_err(|_| RecvTimeoutError::Disconnected),
                false => submitted.recv_timeout(PREPARING_WAIT),
            };
            match submission {
                Ok(submission) => unprepared.extend(self.tokenise(submission)),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if !pass_on(&mut unprepared, jobs) {
                break;
            }
        }
        unprepared.into_iter().for_each(Job::cancel);
    }

    /// The job, unless the request ends here.
    fn tokenise(&self, Submission { request, reply, ticket }: Submission) -> Option<Job> {
        if self.stop.is_cancelled() || reply.is_cancelled() {
            cancel_queued(&reply, Some(ticket), 0);
            return None;
        }
        match self.prepare(&request) {
            Ok(Prepared { prompt, max_tokens, beginning }) => Some(Job {
                prompt,
                beginning,
                sampling: request.sampling,
                max_tokens,
                logprobs: request.logprobs,
                priority: request.priority,
                deadline: request.deadline,
                cache_salt: request.cache_salt,
                reply,
                ticket: Some(ticket),
            }),
            Err(error) => {
                drop(ticket);
                reply.send(GenerateEvent::Failed(error));
                None
            }
        }
    }

    fn prepare(&self, request: &GenerateRequest) -> Result<Prepared, GenerateError> {
        request.check()?;
        let known =
            |token: &u32| usize::try_from(*token).is_ok_and(|token| token < self.vocabulary);
        let named = request.resume.iter().map(|token| ("resume", token));
        let biased = request.sampling.logit_bias.keys().map(|token| ("logit_bias", token));
        if let Some((field, token)) = named.chain(biased).find(|(_, token)| !known(token)) {
            let reason = format!("`{field}` has token {token}, which this model does not know");
            return Err(GenerateError::BadRequest(reason));
        }
        let mut prompt = self.codec.prompt(&request.prompt, self.context)?;
        let room = self.context.saturating_sub(count(prompt.len()));
        let wanted = if request.max_tokens == 0 { room } else { request.max_tokens.min(room) };
        let constraint = self.codec.constraint(&request.response_format, &request.resume)?;
        let beginning =
            Beginning::new(request.stop.clone(), constraint, &request.resume, &self.codec)?;
        prompt.extend_from_slice(&request.resume);
        Ok(Prepared {
            prompt,
            max_tokens: usize::try_from(wanted).unwrap_or(usize::MAX),
            beginning,
        })
    }
}

/// Hands on the jobs that are prepared, and refuses those that turn out not to be servable; whether
/// anyone takes them still.
fn pass_on(unprepared: &mut Vec<Job>, jobs: &SyncSender<Job>) -> bool {
    let (now, mut taken) = (Instant::now(), true);
    for job in unprepared.extract_if(.., |job| job.is_prepared(now)) {
        match job.refusal() {
            _ if job.reply.is_cancelled() => job.cancel(),
            Some(error) => job.refuse(error),
            // The channel has a place for every ticket, so sending does not wait.
            None => taken &= jobs.send(job).is_ok(),
        }
    }
    taken
}

/// What tokenising makes of a request.
struct Prepared {
    prompt: Vec<u32>,
    max_tokens: usize,
    beginning: Beginning,
}

/// The thread that owns the engine. Ends when the prompts thread is gone or at shutdown.
pub(crate) fn serve(mut scheduler: Scheduler, jobs: &Receiver<Job>, shutdown: &CancellationToken) {
    let mut next = Next::Idle;
    while !shutdown.is_cancelled() {
        let arrived = match next {
            Next::Now => jobs.try_recv(),
            Next::Idle => jobs.recv().map_err(|_| TryRecvError::Disconnected),
            Next::At(due) => {
                let wait = due.saturating_duration_since(Instant::now()).min(HELD_BACK_WAIT);
                jobs.recv_timeout(wait).map_err(|error| match error {
                    RecvTimeoutError::Timeout => TryRecvError::Empty,
                    RecvTimeoutError::Disconnected => TryRecvError::Disconnected,
                })
            }
        };
        match arrived {
            Ok(job) => {
                scheduler.push(job);
                jobs.try_iter().for_each(|job| scheduler.push(job));
            }
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => break,
        }
        next = scheduler.step(Instant::now());
    }
    scheduler.cancel_all(Instant::now());
    jobs.iter().for_each(Job::cancel);
}
