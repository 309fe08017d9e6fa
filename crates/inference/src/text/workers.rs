//! Threads for work that strangers shape and nobody can interrupt: whoever asked may stop waiting.
//! They never belong to a step of the engine, and their number is fixed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Pieces of work that may wait for a thread.
const QUEUE: usize = 1024;
/// Bytes of stack of each thread: what is recursive in it is bounded by the size of a request.
/// Memory is taken as it is touched.
const STACK: usize = 64 << 20;

type Work = Box<dyn FnOnce() + Send>;

/// A fixed number of threads, started when they are first needed.
pub(crate) struct Workers {
    most: usize,
    queue: SyncSender<Work>,
    waiting: Arc<Mutex<Receiver<Work>>>,
    threads: Mutex<usize>,
    /// Pieces of work that run or wait.
    open: Arc<AtomicUsize>,
}

/// A piece of work whose outcome is awaited. Dropping it gives up what has not begun.
pub(crate) struct Pending<T> {
    outcome: Receiver<(Option<T>, Duration)>,
    ticket: Arc<Ticket>,
    submitted: Instant,
}

#[derive(Default)]
struct Ticket {
    begun: OnceLock<Instant>,
    given_up: AtomicBool,
}

/// How a piece of work stands.
pub(crate) enum Progress<T> {
    /// It is done; how long it ran.
    Done(T, Duration),
    /// It waits or runs, within its time.
    Going,
    /// It has run for longer than it may.
    TooLong,
    /// It panicked.
    Broken,
    /// No thread had time for it, or none can be started.
    Refused,
}

impl Workers {
    /// At most so many threads.
    pub(crate) fn new(most: usize) -> Self {
        let (queue, waiting) = sync_channel(QUEUE);
        let waiting = Arc::new(Mutex::new(waiting));
        Self { most, queue, waiting, threads: Mutex::new(0), open: Arc::default() }
    }

    /// Hands a piece of work to the next free thread. Never blocks.
    pub(crate) fn submit<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Pending<T> {
        let (answer, outcome) = sync_channel(1);
        let ticket = Arc::new(Ticket::default());
        let pending = Pending { outcome, ticket: Arc::clone(&ticket), submitted: Instant::now() };
        let open = Arc::clone(&self.open);
        let job = move || {
            let done = (!ticket.given_up.load(Ordering::Relaxed)).then(|| {
                let begun = *ticket.begun.get_or_init(Instant::now);
                let done = catch_unwind(AssertUnwindSafe(work)).ok();
                (done, begun.elapsed())
            });
            open.fetch_sub(1, Ordering::Relaxed);
            if let Some(done) = done {
                // Whoever asked may have gone.
                let _ = answer.send(done);
            }
        };
        // Counted before a thread can take it, so that there is a thread for each while there may.
        let open = self.open.fetch_add(1, Ordering::Relaxed) + 1;
        self.start_thread_for(open);
        if let Err(TrySendError::Full(refused) | TrySendError::Disconnected(refused)) =
            self.queue.try_send(Box::new(job))
        {
            drop(refused);
            self.open.fetch_sub(1, Ordering::Relaxed);
        }
        pending
    }

    /// Starts one more thread if fewer run than there is work for. They end when the queue is
    /// closed, and are not joined: one of them may be at work for long.
    fn start_thread_for(&self, open: usize) {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        if *threads >= open.min(self.most) {
            return;
        }
        let waiting = Arc::clone(&self.waiting);
        let next = move || waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let body = move || std::iter::from_fn(|| next().ok()).for_each(|work| work());
        let builder = std::thread::Builder::new().name("formats".to_owned()).stack_size(STACK);
        match builder.spawn(body) {
            Ok(_) => *threads += 1,
            Err(error) => tracing::error!(%error, "cannot start a thread"),
        }
    }
}

impl<T> Pending<T> {
    /// How it stands at `until`, or earlier if it is over then. `limit` is the longest that it may
    /// wait, and the longest that it may run.
    pub(crate) fn wait(&self, until: Instant, limit: Duration) -> Progress<T> {
        match self.outcome.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok((Some(done), ran)) => Progress::Done(done, ran),
            Ok((None, _)) => Progress::Broken,
            Err(RecvTimeoutError::Disconnected) => Progress::Refused,
            Err(RecvTimeoutError::Timeout) => match self.ticket.begun.get() {
                Some(begun) if begun.elapsed() > limit => Progress::TooLong,
                None if self.submitted.elapsed() > limit => Progress::Refused,
                _ => Progress::Going,
            },
        }
    }
}

impl<T> Drop for Pending<T> {
    fn drop(&mut self) {
        self.ticket.given_up.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(20);

    fn outcome<T>(pending: &Pending<T>) -> Progress<T> {
        pending.wait(Instant::now() + Duration::from_secs(60), LIMIT)
    }

    #[test]
    fn work_is_done_and_a_panic_in_it_is_an_outcome() {
        let workers = Workers::new(2);
        let numbers: Vec<_> = (0..100).map(|number| workers.submit(move || number * 2)).collect();
        for (number, pending) in (0..).zip(&numbers) {
            assert!(matches!(outcome(pending), Progress::Done(double, _) if double == number * 2));
        }
        let broken = workers.submit(|| assert_eq!(1, 2));
        assert!(matches!(outcome(&broken), Progress::Broken));
        assert!(matches!(outcome(&workers.submit(|| 7)), Progress::Done(7, _)));
    }

    #[test]
    fn work_that_takes_too_long_is_told_apart_from_work_that_never_began() {
        let workers = Workers::new(1);
        let (release, held) = sync_channel::<()>(0);
        let stuck = workers.submit(move || held.recv().is_ok());
        let (behind, begun) = (workers.submit(|| ()), Instant::now());
        let settled = |pending: &Pending<bool>| loop {
            match pending.wait(Instant::now() + LIMIT / 4, LIMIT) {
                Progress::Going => assert!(begun.elapsed() < Duration::from_secs(60)),
                progress => return progress,
            }
        };
        assert!(matches!(settled(&stuck), Progress::TooLong));
        assert!(matches!(behind.wait(Instant::now() + LIMIT, LIMIT), Progress::Refused));
        drop(behind);
        release.send(()).unwrap();
        assert!(matches!(outcome(&stuck), Progress::Done(true, _)));
        assert!(matches!(outcome(&workers.submit(|| 7)), Progress::Done(7, _)));
    }

    #[test]
    fn more_than_the_queue_holds_is_refused_at_once() {
        let workers = Workers::new(1);
        let (release, held) = sync_channel::<()>(0);
        let stuck = workers.submit(move || held.recv().is_ok());
        let pending: Vec<_> = (0..QUEUE + 2).map(|_| workers.submit(|| ())).collect();
        let last = pending.last().unwrap();
        assert!(matches!(last.wait(Instant::now(), LIMIT), Progress::Refused));
        release.send(()).unwrap();
        assert!(matches!(outcome(&stuck), Progress::Done(true, _)));
        assert!(matches!(outcome(&pending[0]), Progress::Done((), _)));
    }
}
