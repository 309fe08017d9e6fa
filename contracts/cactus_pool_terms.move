/// The terms of a compute pool, fixed when it is created. Knows nothing of its members.
module cactus::pool_terms {
    use std::error;
    use std::string::String;
    use aptos_framework::timestamp;
    use cactus::domain;
    use cactus::parameters;

    //
    // Errors
    //

    /// The name or URI is empty or too long, the invite key is not 32 bytes, or a limit is out of bounds.
    const EBAD_TERMS: u64 = 1;
    /// The end lies in the past or too far away.
    const EBAD_END: u64 = 2;

    //
    // Constants
    //

    const KEY_BYTES: u64 = 32;
    const MAX_NAME_BYTES: u64 = 64;
    const MAX_URI_BYTES: u64 = 512;
    const MAX_NODES: u64 = 100000;
    const MAX_UNITS: u64 = 1000000000;
    const MIN_LOCK_SECONDS: u64 = 600;
    const MAX_LOCK_SECONDS: u64 = 2592000;

    //
    // Structs
    //

    struct Terms has copy, drop, store {
        creator: address,
        domain_id: u64,
        name: String,
        data_uri: String,
        /// Signs invites.
        invite_key: vector<u8>,
        max_nodes: u64,
        max_units_per_work: u64,
        /// How long work and activity may be invalidated before they earn.
        lock_seconds: u64,
        /// From here on anyone may end the pool, and nothing is added.
        end_seconds: u64,
    }

    //
    // For the other modules
    //

    /// Terms that are within their bounds.
    ///
    /// Aborts if there is no such domain, a term is out of bounds, or the end lies in the past or too far away.
    package fun new(
        creator: address, domain_id: u64, name: String, data_uri: String, invite_key: vector<u8>, max_nodes: u64,
        max_units_per_work: u64, lock_seconds: u64, end_seconds: u64
    ): Terms {
        domain::assert_exists(domain_id);
        assert!(
            name.length() > 0 && name.length() <= MAX_NAME_BYTES
                && data_uri.length() > 0 && data_uri.length() <= MAX_URI_BYTES
                && invite_key.length() == KEY_BYTES
                && max_nodes > 0 && max_nodes <= MAX_NODES
                && max_units_per_work > 0 && max_units_per_work <= MAX_UNITS
                && lock_seconds >= MIN_LOCK_SECONDS && lock_seconds <= MAX_LOCK_SECONDS,
            error::invalid_argument(EBAD_TERMS)
        );
        let now = timestamp::now_seconds();
        assert!(
            end_seconds > now && end_seconds - now <= parameters::max_pool_seconds(),
            error::invalid_argument(EBAD_END)
        );
        Terms {
            creator, domain_id, name, data_uri, invite_key, max_nodes, max_units_per_work, lock_seconds, end_seconds,
        }
    }

    package fun creator(self: &Terms): address { self.creator }
    package fun invite_key(self: &Terms): vector<u8> { self.invite_key }
    package fun max_nodes(self: &Terms): u64 { self.max_nodes }
    package fun max_units_per_work(self: &Terms): u64 { self.max_units_per_work }
    package fun lock_seconds(self: &Terms): u64 { self.lock_seconds }
    package fun end_seconds(self: &Terms): u64 { self.end_seconds }
}
