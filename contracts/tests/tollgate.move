#[test_only]
/// A payer with a channel, and what one does to it. Used by the tests of channels.
module cactus::tollgate {
    use cactus::channel;
    use cactus::world::{Self, Person};

    const PAYEE: address = @0x5e1;
    const STRANGER: address = @0x99;
    const DAY: u64 = 86400;

    struct Setting has copy, drop {
        payer: Person,
        session: Person,
        channel: address,
    }

    public fun address_of(setting: &Setting): address { setting.channel }
    public fun payer_of(setting: &Setting): Person { setting.payer }
    public fun session_of(setting: &Setting): Person { setting.session }

    public fun setting_of(payer: Person, session: Person, channel: address): Setting {
        Setting { payer, session, channel }
    }

    /// A payer with 1,000 octas left and a channel of 1,000 to `PAYEE` that expires in ten days.
    public fun start(): Setting {
        world::start();
        let payer = world::person(2000);
        let session = world::person(0);
        Setting { payer, session, channel: open(&payer, &session, PAYEE) }
    }

    public fun open(payer: &Person, session: &Person, payee: address): address {
        channel::open_for_test(
            &world::signer_of(payer), payee, world::public_key_of(session), 1000, world::now() + 10 * DAY
        )
    }

    public fun voucher(setting: &Setting, cumulative: u64): vector<u8> {
        let message = channel::new_voucher_for_test(world::chain_id(), setting.channel, PAYEE, cumulative);
        world::sign(&setting.session, message)
    }

    public fun redeem(setting: &Setting, cumulative: u64) {
        let signature = voucher(setting, cumulative);
        channel::redeem(&world::sign_as(STRANGER), setting.channel, cumulative, signature);
    }

    public fun payer(setting: &Setting): signer { world::signer_of(&setting.payer) }

    public fun request_close(setting: &Setting) { channel::request_close(&payer(setting), setting.channel) }

    public fun close_by_payee(setting: &Setting) {
        channel::close_by_payee(&world::sign_as(PAYEE), setting.channel)
    }

    public fun finalize(setting: &Setting) { channel::finalize(&world::sign_as(STRANGER), setting.channel) }

    public fun check(setting: &Setting, state: u8, deposited: u64, settled: u64, closable_from: u64) {
        let address = world::address_of(&setting.payer);
        let (s, payer, payee, d, t, c) = channel::unpack_for_test(channel::channel(setting.channel));
        assert!(s == state && payer == address && payee == PAYEE, 1);
        assert!(d == deposited && t == settled, 2);
        assert!(c == closable_from, 3);
        assert!(world::coins(PAYEE) == settled, 4);
        let returned = if (state == 3) deposited - settled else 0;
        assert!(world::coins(address) == 2000 - deposited + returned, 5);
        world::assert_conserved_with(vector[address, PAYEE, STRANGER], vector[setting.channel]);
    }

    /// The same people with a further channel.
    public fun with_another_channel(setting: &Setting): Setting {
        let channel = open(&setting.payer, &setting.session, PAYEE);
        Setting { payer: setting.payer, session: setting.session, channel }
    }
}
