//! Who takes part: people with keys and money, the same in every sequence.
//! Never changes during a run.

use cactus_move_vm::AccountAddress;
use ed25519_dalek::SigningKey;
use sha3::{Digest, Sha3_256};

use crate::chain::CONTRACT;

/// Unix time at the start of each sequence.
pub const NOW_SECONDS: u64 = 1_700_000_000;
/// What each actor owns at the start, in octas: 1,000 APT.
pub const WALLET_OCTAS: u64 = 100_000_000_000;

/// Someone with a key.
#[derive(Debug, Clone)]
pub struct Actor {
    /// The account that the key opens.
    pub address: AccountAddress,
    /// The key.
    pub key: SigningKey,
}

impl Actor {
    fn named(name: &str) -> Self {
        let seed: [u8; 32] = Sha3_256::digest(name).into();
        let key = SigningKey::from_bytes(&seed);
        let hash = Sha3_256::new().chain_update(key.verifying_key().as_bytes()).chain_update([0]);
        Self { address: AccountAddress(hash.finalize().into()), key }
    }

    /// The public key's 32 bytes.
    pub fn public_key(&self) -> Vec<u8> {
        self.key.verifying_key().to_bytes().to_vec()
    }
}

/// Everyone.
#[derive(Debug, Clone)]
pub struct Cast {
    /// Owns the contracts and is admin and validator at the start.
    pub admin: Actor,
    /// People who may take over as admin.
    pub heirs: Vec<Actor>,
    /// Validators.
    pub validators: Vec<Actor>,
    /// Routing servers.
    pub servers: Vec<Actor>,
    /// Operators of orchestrators.
    pub operators: Vec<Actor>,
    /// Clients.
    pub clients: Vec<Actor>,
    /// People with no part of their own: accusers, finalisers, thieves.
    pub strangers: Vec<Actor>,
    /// Keys of nodes; not accounts.
    pub nodes: Vec<Actor>,
    /// Keys that sign vouchers; not accounts.
    pub sessions: Vec<Actor>,
}

impl Default for Cast {
    fn default() -> Self {
        let group = |name: &str, count: usize| {
            (0..count)
                .map(|index| Actor::named(&format!("cactus::truth::{name}::{index}")))
                .collect()
        };
        let admin = Actor::named("cactus::localnet::admin");
        debug_assert_eq!(admin.address, CONTRACT);
        Self {
            admin,
            heirs: group("heir", 1),
            validators: group("validator", 3),
            servers: group("server", 2),
            operators: group("operator", 3),
            clients: group("client", 4),
            strangers: group("stranger", 2),
            nodes: group("node", 5),
            sessions: group("session", 2),
        }
    }
}

impl Cast {
    /// Everyone with an account.
    pub fn everyone(&self) -> impl Iterator<Item = &Actor> {
        let groups = [
            &self.heirs,
            &self.validators,
            &self.servers,
            &self.operators,
            &self.clients,
            &self.strangers,
        ];
        std::iter::once(&self.admin).chain(groups.into_iter().flatten())
    }

    /// The actor at `address`.
    pub fn actor(&self, address: &AccountAddress) -> Option<&Actor> {
        self.everyone().find(|actor| actor.address == *address)
    }
}
