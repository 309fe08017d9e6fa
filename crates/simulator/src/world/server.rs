//! One routing server of a simulation: its own fleet, its own measurements, its own line.

use super::{MODEL, NodeId, RequestId};
use crate::{
    node::Truth,
    scenario::{LEAST_STAKE, Setting},
};
use cactus_dispatch::{
    Bounds, Fleet, HedgeBudget, Member, NewMember, Rules, Turn, WaitingLine, Weights,
};
use cactus_protocol::{
    Address, Hash, Octas, Price, PublicKey,
    frame::{Feature, ModelKind, ModelOffer},
};
use std::{collections::HashMap, sync::Arc, time::Instant};

pub struct Server {
    pub fleet: Fleet,
    pub members: Vec<Option<Arc<Member>>>,
    pub hedges: HedgeBudget,
    pub line: WaitingLine,
    pub waiting: HashMap<Turn, RequestId>,
    pub turn: usize,
}

impl Server {
    pub fn new(setting: &Setting, origin: Instant) -> Self {
        let bounds = Bounds { min_stake: Octas(LEAST_STAKE), exposure_milli: 500 };
        let fleet = Fleet::new(Rules { bounds, weights: Weights::default() }, origin);
        let nodes = setting.nodes.iter().enumerate();
        let link = |(node, truth)| Some(fleet.link(new_member(node, truth), origin));
        Self {
            members: nodes.map(link).collect(),
            fleet,
            hedges: HedgeBudget::default(),
            line: WaitingLine::new(1024),
            waiting: HashMap::new(),
            turn: 0,
        }
    }
}

pub fn new_member(node: NodeId, truth: &Truth) -> NewMember {
    let price = Price { prompt: Octas(truth.price), output: Octas(truth.price) };
    let offer = ModelOffer {
        id: MODEL.into(),
        revision: Hash([1; 32]),
        context_length: 8_192,
        price,
        kind: ModelKind::Chat,
        features: vec![Feature::TokenIds],
    };
    NewMember {
        key: key_of(node),
        operator: Address(key_of(node).0),
        stake: Octas(truth.stake),
        slots: truth.claimed_slots,
        queue: truth.queue,
        region: String::new(),
        gpus: Vec::new(),
        offers: vec![offer],
    }
}

pub fn key_of(node: NodeId) -> PublicKey {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&u64::try_from(node).unwrap_or(u64::MAX).to_be_bytes());
    PublicKey(key)
}

pub fn node_of(key: &PublicKey) -> NodeId {
    let number = key.0.first_chunk().copied().map_or(0, u64::from_be_bytes);
    usize::try_from(number).unwrap_or(usize::MAX)
}
