#[test_only]
/// A pool with a fund, two operators, and invites. Used by the tests of pools and rewards.
module cactus::campus {
    use cactus::domain;
    use cactus::invite::{Self, Invite};
    use cactus::pool;
    use cactus::rewards;
    use cactus::world::{Self, Person};

    const CREATOR: address = @0xc7;
    const OPERATOR: address = @0x0c1;
    const HOUR: u64 = 3600;
    const DAY: u64 = 86400;

    struct Campus has copy, drop {
        pool: address,
        inviter: Person,
        /// A validated node of `OPERATOR`.
        node: vector<u8>,
    }

    public fun pool_of(campus: &Campus): address { campus.pool }
    public fun node_of(campus: &Campus): vector<u8> { campus.node }

    /// A pending pool for two nodes: lock window an hour, end in ten days, 1,000 units per work at most. It pays one
    /// and a half octas per second and a quarter per unit.
    public fun pending(): Campus {
        let campus = without_fund();
        rewards::open(&creator(), campus.pool, 1500000000, 250000000);
        campus
    }

    /// The same without a fund.
    public fun without_fund(): Campus {
        world::start();
        domain::create_domain(&world::admin(), world::text(b"d"), world::text(b"v"), world::text(b"p"));
        world::fund(CREATOR, world::apt());
        let inviter = world::person(0);
        let (text, key) = (world::text(b"text"), world::public_key_of(&inviter));
        let pool = pool::create_for_test(&creator(), 1, text, text, key, 2, 1000, HOUR, world::now() + 10 * DAY);
        Campus { pool, inviter, node: world::working_operator(OPERATOR) }
    }

    /// The same, started, with `octas` in its fund.
    public fun active(octas: u64): Campus {
        let campus = pending();
        start(&campus);
        if (octas > 0) rewards::fund(&creator(), campus.pool, octas);
        campus
    }

    /// The same with the node in it.
    public fun joined(octas: u64): Campus {
        let campus = active(octas);
        join(&campus, 1);
        campus
    }

    public fun start(campus: &Campus) { pool::start_pool(&creator(), campus.pool) }

    public fun creator(): signer { world::sign_as(CREATOR) }

    public fun join(campus: &Campus, nonce: u8) { join_with(campus, OPERATOR, campus.node, nonce) }

    public fun join_with(campus: &Campus, operator: address, node: vector<u8>, nonce: u8) {
        let expires = world::now() + 20 * DAY;
        let signature = invitation(campus, operator, node, nonce, expires);
        pool::join_pool(&world::sign_as(operator), campus.pool, node, world::id(nonce), expires, signature);
    }

    public fun invitation(
        campus: &Campus, operator: address, node: vector<u8>, nonce: u8, expires: u64
    ): vector<u8> {
        let invite =
            invite::new_for_test(world::chain_id(), campus.pool, operator, node, world::id(nonce), expires);
        sign(campus, invite)
    }

    /// Signs an invite with the pool's key.
    public fun sign(campus: &Campus, invite: Invite): vector<u8> { world::sign(&campus.inviter, invite) }

    public fun leave(campus: &Campus) {
        pool::leave_pool(&world::sign_as(OPERATOR), campus.pool, campus.node)
    }

    public fun submit(campus: &Campus, work: u8, units: u64) {
        pool::submit_work(&world::sign_as(OPERATOR), campus.pool, campus.node, world::id(work), units)
    }

    public fun claim(campus: &Campus) { rewards::claim(&world::sign_as(OPERATOR), campus.pool, campus.node) }

    /// State of the pool and number of active nodes.
    public fun check(campus: &Campus, state: u8, nodes: u64) {
        let (s, _, n) = pool::unpack_for_test(pool::pool(campus.pool));
        assert!(s == state, (s as u64));
        assert!(n == nodes, n);
    }

    /// What the node was paid and could claim; no coin is missing.
    public fun check_account(campus: &Campus, paid: u64, claimable: u64) {
        let (p, c) = rewards::unpack_for_test(rewards::account(campus.pool, campus.node));
        assert!(p == paid, p);
        assert!(c == claimable, c);
        assert!(world::coins(OPERATOR) == 8 * world::apt() + paid, 3);
        let (funded, balance) = rewards::unpack_fund_for_test(rewards::fund_of(campus.pool));
        assert!(balance == funded - paid, 4);
        world::assert_supply(vector[CREATOR, OPERATOR], balance);
    }
}
