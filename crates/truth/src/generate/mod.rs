//! Makes up the next step of a sequence: mostly what a sensible party would do now, sometimes the
//! same with one thing wrong. Never looks at what an operation answered, only at the state.

mod channels;
mod dates;
mod disputes;
mod hostile;
mod network;
mod payments;
mod pools;
mod rewards;
mod stakes;

use std::collections::HashMap;

use cactus_move_vm::AccountAddress as Address;

use crate::argument::Argument;
use crate::books::Books;
use crate::cast::Cast;
use crate::operation::{Operation, Step};
use crate::random::Random;
use crate::rules::Signed;
use crate::signing::{Invite, Opinion, Order, Voucher};

/// Who calls with what; `None` in place of a caller if the function takes none.
type Draft = (Option<Address>, Vec<Argument>);
/// Makes a sensible call, if there is one now.
type Maker = fn(&mut Generator, &Books) -> Option<Draft>;

/// One entry function and how often it is tried.
pub struct Kind {
    pub function: &'static str,
    pub weight: u64,
    pub make: Maker,
}

/// One operation in this many is spoiled.
const SPOILED_ONE_IN: u64 = 6;
/// How much more often a sequence calls what it focuses on.
const FOCUS_FACTOR: u64 = 15;
const HOUR: u64 = 3_600;
const DAY: u64 = 86_400;

/// What a sequence is mostly about.
#[derive(Debug, Clone, Copy)]
pub struct Focus {
    /// Modules whose entry functions are called more often; none in particular if empty.
    pub modules: &'static [&'static str],
    /// One step in this many lets time pass.
    pub wait_one_in: u64,
}

/// An order and its signature.
#[derive(Debug, Clone)]
struct SignedOrder {
    order: Order,
    signature: Vec<u8>,
}

/// The source of steps.
pub struct Generator {
    /// Who takes part.
    pub cast: Cast,
    /// What was signed so far.
    pub(crate) signed: Signed,
    random: Random,
    nonce: u64,
    seconds: u64,
    focus: Focus,
    prelude: Vec<Planned>,
    orders: Vec<SignedOrder>,
    /// What validators committed to: by case, whether it is the appeal, and validator.
    opinions: HashMap<(Address, bool, Address), (bool, Vec<u8>)>,
    /// By signature: the secret key and what it signed.
    vouchers: HashMap<Vec<u8>, (Vec<u8>, Voucher)>,
    /// By signature: the secret key and what it signed.
    invites: HashMap<Vec<u8>, (Vec<u8>, Invite)>,
    /// Of invites: the pool and the nonce.
    nonces: Vec<(Address, Vec<u8>)>,
    /// By commitment.
    commitments: HashMap<Vec<u8>, Opinion>,
}

impl Focus {
    fn weight(&self, kind: &Kind) -> u64 {
        let is_in = |module: &&str| {
            let rest = kind.function.strip_prefix(module);
            rest.is_some_and(|rest| rest.starts_with("::"))
        };
        if self.modules.iter().any(is_in) { FOCUS_FACTOR * kind.weight } else { kind.weight }
    }
}

/// A call to come: a function and its draft.
type Planned = (&'static str, Draft);

impl Generator {
    /// The steps that follow from `random`.
    pub fn new(random: Random) -> Self {
        let mut generator = Self {
            cast: Cast::default(),
            signed: Signed::default(),
            random,
            nonce: 0,
            seconds: 0,
            focus: Focus { modules: &[], wait_one_in: 25 },
            prelude: Vec::new(),
            orders: Vec::new(),
            opinions: HashMap::new(),
            vouchers: HashMap::new(),
            invites: HashMap::new(),
            nonces: Vec::new(),
            commitments: HashMap::new(),
        };
        generator.prelude = network::prelude(&mut generator);
        generator.prelude.extend(pools::prelude(&generator));
        generator.prelude.reverse();
        generator
    }

    /// Makes the rest of the sequence mostly about something.
    pub(crate) fn focus(&mut self, focus: Focus) {
        self.focus = focus;
    }

    /// The calls that make a network out of strangers, which would come first.
    pub(crate) fn take_prelude(&mut self) -> Vec<Operation> {
        let mut operations = Vec::new();
        while let Some((function, draft)) = self.prelude.pop() {
            operations.push(self.operation(function, draft));
        }
        operations
    }

    /// The secret key and the voucher behind a signature that was made here.
    pub(crate) fn voucher_signed_by(&self, signature: &[u8]) -> Option<(Vec<u8>, Voucher)> {
        self.vouchers.get(signature).cloned()
    }

    /// The secret key and the invite behind a signature that was made here.
    pub(crate) fn invite_signed_by(&self, signature: &[u8]) -> Option<(Vec<u8>, Invite)> {
        self.invites.get(signature).cloned()
    }

    /// The opinion behind a commitment that was made here.
    pub(crate) fn opinion_committed_by(&self, commitment: &[u8]) -> Option<&Opinion> {
        self.commitments.get(commitment)
    }

    /// All entry functions that are tried.
    pub fn kinds() -> impl Iterator<Item = &'static Kind> + Clone {
        let modules = [
            network::KINDS,
            stakes::KINDS,
            payments::KINDS,
            channels::KINDS,
            disputes::KINDS,
            pools::KINDS,
            rewards::KINDS,
        ];
        modules.into_iter().flatten()
    }

    /// The next step for a chain in the state `books` at `seconds`.
    pub fn next(&mut self, books: &Books, seconds: u64) -> Step {
        self.seconds = seconds;
        if let Some((function, draft)) = self.prelude.pop() {
            return Step::Call(self.operation(function, draft));
        }
        if self.random.once_in(self.focus.wait_one_in) {
            return Step::Wait(self.wait(books));
        }
        loop {
            let focus = self.focus;
            let chosen = self.random.weighted(Self::kinds().map(|kind| focus.weight(kind)));
            let Some(kind) = Self::kinds().nth(chosen) else { continue };
            let Some(mut draft) = (kind.make)(self, books) else { continue };
            if self.random.once_in(SPOILED_ONE_IN) {
                hostile::spoil(&mut self.random, &self.cast, &mut draft);
            }
            return Step::Call(self.operation(kind.function, draft));
        }
    }

    fn operation(&mut self, function: &'static str, (signer, arguments): Draft) -> Operation {
        self.nonce += 1;
        Operation { nonce: self.nonce, function, signer, arguments }
    }

    /// Mostly moments, so that tasks can finish; now and then days, so that bonds mature; and often
    /// until a second before, at or after something that time changes.
    fn wait(&mut self, books: &Books) -> u64 {
        let most = match self.random.below(100) {
            0..=39 => 120,
            40..=49 => HOUR,
            50..=54 => DAY / 2,
            55..=56 => 8 * DAY,
            _ => return self.wait_for_a_date(books),
        };
        self.random.below(most)
    }

    fn wait_for_a_date(&mut self, books: &Books) -> u64 {
        let now = self.seconds;
        let dates = dates::all(books, now);
        let Some(kind) = self.random.pick(&dates) else { return 0 };
        // The nearest of three, so that not everything is overdue at once.
        let nearest = (0..3).filter_map(|_| self.random.pick(kind)).min();
        nearest.map_or(0, |date| date - now - 1) + self.random.below(3)
    }

    /// Between 1 and `most` octas: all of it, one, little or anything. `None` if `most` is 0.
    fn amount(&mut self, most: u64) -> Option<u64> {
        if most == 0 {
            return None;
        }
        Some(match self.random.below(10) {
            0 => most,
            1 => 1,
            2..=7 => self.random.between(1, (most / 50).max(1)),
            _ => self.random.between(1, most),
        })
    }

    fn address_in(&mut self, actors: fn(&Cast) -> &[crate::cast::Actor]) -> Option<Address> {
        self.random.pick(actors(&self.cast)).map(|actor| actor.address)
    }

    fn anyone(&mut self) -> Option<Address> {
        let everyone: Vec<Address> = self.cast.everyone().map(|actor| actor.address).collect();
        self.random.pick(&everyone).copied()
    }

    /// Any key of `map` whose value is wanted.
    fn key_of<K: Clone, V>(
        &mut self,
        map: &std::collections::BTreeMap<K, V>,
        wanted: impl Fn(&K, &V) -> bool,
    ) -> Option<K> {
        let keys: Vec<&K> =
            map.iter().filter(|(key, value)| wanted(key, value)).map(|(key, _)| key).collect();
        self.random.pick(&keys).map(|key| (*key).clone())
    }

    /// APT, or sometimes what is no asset.
    fn asset(&mut self) -> Argument {
        let apt = crate::books::APT;
        Argument::Address(if self.random.once_in(5) { Address(self.random.bytes32()) } else { apt })
    }

    fn id(&mut self) -> Vec<u8> {
        self.random.bytes32().to_vec()
    }
}

fn text(text: &str) -> Argument {
    Argument::Text(text.to_owned())
}
