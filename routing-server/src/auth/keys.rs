//! API keys: bearer tokens that stand for a client's standing order. Held in memory by their
//! hash, so that authenticating never touches the disk; the key itself is shown once.

use cactus_protocol::{Address, Hash, Scope, SignedOrder};
use parking_lot::RwLock;
use std::{collections::HashMap, sync::Arc};

const PREFIX: &str = "ck_";
/// Live keys of one client at most.
pub const MAX_KEYS_PER_CLIENT: usize = 100;

/// A live key, without the key.
#[derive(Debug, Clone)]
pub struct ApiKey {
    /// Names the key for its owner.
    pub id: String,
    /// Of the key's text.
    pub hash: Hash,
    /// Whose money it spends.
    pub client: Address,
    /// What it may spend.
    pub order: Arc<SignedOrder>,
}

/// All live keys.
#[derive(Debug, Default)]
pub struct ApiKeys {
    by_hash: RwLock<HashMap<Hash, ApiKey>>,
}

/// A fresh key: its text, to be shown once, and what is kept.
pub fn generate(order: SignedOrder) -> (String, ApiKey) {
    let secret: [u8; 32] = rand::random();
    let text = format!("{PREFIX}{}", hex::encode(secret));
    let key = ApiKey {
        id: format!("key_{}", hex::encode(rand::random::<[u8; 12]>())),
        hash: Hash::of(text.as_bytes()),
        client: order.order.client,
        order: Arc::new(order),
    };
    (text, key)
}

impl ApiKeys {
    /// Of stored keys; those whose order does not verify in this scope are left out.
    pub fn new(stored: Vec<ApiKey>, scope: Scope) -> Self {
        let is_valid = |key: &ApiKey| key.order.as_ref().clone().verify(scope).is_ok();
        let valid = stored.into_iter().filter(is_valid);
        let by_hash = valid.map(|key| (key.hash, key)).collect();
        Self { by_hash: RwLock::new(by_hash) }
    }

    /// The key with this text.
    pub fn find(&self, text: &str) -> Option<ApiKey> {
        text.starts_with(PREFIX).then_some(())?;
        self.by_hash.read().get(&Hash::of(text.as_bytes())).cloned()
    }

    /// How many live keys a client has.
    pub fn count(&self, client: &Address) -> usize {
        let keys = self.by_hash.read();
        keys.values().filter(|key| key.client == *client).count()
    }

    /// Adds keys that another server made; those whose order does not verify are left out.
    pub fn merge(&self, made: Vec<ApiKey>, scope: Scope) {
        for key in made {
            let is_known = self.by_hash.read().contains_key(&key.hash);
            if !is_known && key.order.as_ref().clone().verify(scope).is_ok() {
                self.add(key);
            }
        }
    }

    /// Adds a key.
    pub fn add(&self, key: ApiKey) {
        self.by_hash.write().insert(key.hash, key);
    }

    /// Removes a client's key; `false` when the client has no such key.
    pub fn remove(&self, client: &Address, id: &str) -> bool {
        let mut keys = self.by_hash.write();
        let before = keys.len();
        keys.retain(|_, key| key.client != *client || key.id != id);
        keys.len() < before
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cactus_protocol::{Octas, OrderId, SecretKey, chain_message::Order};

    fn order() -> SignedOrder {
        let key = SecretKey::random();
        let order = Order {
            chain_id: 4,
            client: key.address(),
            server: Address([2; 32]),
            order_id: OrderId::random(),
            max_total: Octas(1),
            max_per_task: Octas(1),
            expires_seconds: 1,
        };
        SignedOrder::new(order, Address([9; 32]), &key).unwrap()
    }

    #[test]
    fn only_its_text_finds_a_key_until_it_is_removed() {
        let (keys, order) = (ApiKeys::default(), order());
        let (text, key) = generate(order);
        keys.add(key.clone());
        assert_eq!(keys.find(&text).unwrap().id, key.id);
        assert!(keys.find(&key.hash.to_string()).is_none());
        assert!(keys.find(&text[..text.len() - 1]).is_none());
        assert!(!keys.remove(&Address([7; 32]), &key.id));
        assert!(keys.remove(&key.client, &key.id));
        assert!(keys.find(&text).is_none());
    }
}
