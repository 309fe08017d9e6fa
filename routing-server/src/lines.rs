//! Requests that wait for a busy model, and who is told when there is room. Bounded in number and
//! in time. It chooses no node.

use crate::error::ApiError;
use cactus_dispatch::{Full, Ticket, Turn, WaitingLine};
use cactus_protocol::PublicKey;
use parking_lot::Mutex;
use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Instant,
};
use tokio::sync::watch;

/// Models that are remembered after their last node left.
const MAX_KNOWN: usize = 1024;
/// How many in a row are told of the same room: the first may wish for another node.
const MAX_HANDS: usize = 8;

/// The lines of all models.
#[derive(Debug)]
pub struct Lines {
    capacity: usize,
    waiting: AtomicUsize,
    lines: Mutex<HashMap<String, Line>>,
    known: Mutex<HashSet<String>>,
}

#[derive(Debug)]
struct Line {
    order: WaitingLine,
    bells: HashMap<Turn, watch::Sender<Call>>,
}

/// There may be room.
#[derive(Debug, Clone, Copy, Default)]
pub struct Call {
    /// At this node; anywhere when nothing is known.
    pub node: Option<PublicKey>,
    /// How many were told of it before.
    hands: usize,
}

/// A place in a line; given up when dropped.
#[derive(Debug)]
pub struct Place {
    lines: Arc<Lines>,
    model: String,
    turn: Turn,
    bell: watch::Receiver<Call>,
}

impl Lines {
    /// Nobody waits; each line has room for so many.
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity,
            waiting: AtomicUsize::new(0),
            lines: Mutex::default(),
            known: Mutex::default(),
        }
    }

    /// Whether a node has offered the model since this server started.
    pub fn knows(&self, model: &str) -> bool {
        self.known.lock().contains(model)
    }

    /// Whether somebody waits for the model, so that who comes now has to wait too.
    pub fn is_waited_for(&self, model: &str) -> bool {
        self.waiting.load(Relaxed) > 0 && self.lines.lock().contains_key(model)
    }

    /// Takes a place.
    ///
    /// # Errors
    /// [`ApiError::Overloaded`]: the line is full, or moves too slowly for the deadline.
    pub fn join(self: &Arc<Self>, model: &str, ticket: Ticket) -> Result<Place, ApiError> {
        let mut lines = self.lines.lock();
        let capacity = self.capacity;
        let line = lines
            .entry(model.to_owned())
            .or_insert_with(|| Line { order: WaitingLine::new(capacity), bells: HashMap::new() });
        let turn = line.order.join(ticket, Instant::now());
        let turn = turn.map_err(|Full { retry_after }| ApiError::Overloaded { retry_after })?;
        let (ringer, bell) = watch::channel(Call::default());
        if line.order.first(1).first() == Some(&turn) {
            // Room that came about before there was a line to tell of it.
            ringer.send_replace(Call::default());
        }
        line.bells.insert(turn, ringer);
        self.waiting.fetch_add(1, Relaxed);
        Ok(Place { lines: Arc::clone(self), model: model.to_owned(), turn, bell })
    }

    /// A node that offers these models has room, or just came.
    pub fn wake<'a>(&self, node: PublicKey, models: impl IntoIterator<Item = &'a str>) {
        if self.waiting.load(Relaxed) == 0 {
            return;
        }
        let lines = self.lines.lock();
        for line in models.into_iter().filter_map(|model| lines.get(model)) {
            line.ring(None, Call { node: Some(node), hands: 0 });
        }
    }

    /// Room may have come about by time passing.
    pub fn wake_all(&self) {
        self.lines.lock().values().for_each(|line| line.ring(None, Call::default()));
    }

    /// A node offers these models now.
    pub fn learn<'a>(&self, models: impl IntoIterator<Item = &'a str>) {
        let mut known = self.known.lock();
        for model in models {
            if known.len() < MAX_KNOWN && !known.contains(model) {
                known.insert(model.to_owned());
            }
        }
    }

    fn leave(&self, place: &Place, served: bool) {
        let mut lines = self.lines.lock();
        let Some(line) = lines.get_mut(&place.model) else { return };
        if line.bells.remove(&place.turn).is_none() {
            return;
        }
        self.waiting.fetch_sub(1, Relaxed);
        match served {
            true => line.order.depart(place.turn, Instant::now()),
            false => drop(line.order.leave(place.turn)),
        }
        if line.order.is_empty() {
            lines.remove(&place.model);
        } else if served {
            // There may be room for more than one.
            line.ring(None, *place.bell.borrow());
        }
    }

    fn pass_on(&self, place: &Place, call: Call) {
        if call.hands < MAX_HANDS
            && let Some(line) = self.lines.lock().get(&place.model)
        {
            line.ring(Some(place.turn), Call { hands: call.hands + 1, ..call });
        }
    }
}

impl Line {
    /// Tells the first, or the next after somebody.
    fn ring(&self, after: Option<Turn>, call: Call) {
        let turn = self.order.next_after(after);
        if let Some(bell) = turn.and_then(|turn| self.bells.get(&turn)) {
            bell.send_replace(call);
        }
    }
}

impl Place {
    /// Until there may be room. Cancel-safe.
    pub async fn called(&mut self) -> Call {
        // The other end lives in the line as long as this place does.
        let _ = self.bell.changed().await;
        *self.bell.borrow_and_update()
    }

    /// The room is of no use to this request: the next one is told.
    pub fn pass_on(&self, call: Call) {
        self.lines.pass_on(self, call);
    }

    /// The request is served.
    pub fn depart(self) {
        self.lines.leave(&self, true);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.lines.leave(self, false);
    }
}
