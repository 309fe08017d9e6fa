/// Payment channels: one deposit, then any number of payments by signed vouchers that never touch the chain.
/// The same on both hops, client to server and server to orchestrator. Never pays the payee more than was signed.
///
/// A voucher is cumulative: it says how much the channel has paid in all, so the newest replaces all others and none
/// counts twice. A session key, named when the channel opens, signs vouchers, so that the wallet's key stays put.
///
/// Each channel is an object of its own, which `@0x0` owns, so different channels share no state.
module cactus::channel {
    use std::error;
    use std::signer;
    use aptos_std::ed25519;
    use aptos_framework::chain_id;
    use aptos_framework::event;
    use aptos_framework::object;
    use aptos_framework::timestamp;
    use cactus::config;
    use cactus::parameters;
    use cactus::reputation;
    use cactus::server_registry;
    use cactus::vault::{Self, Vault};

    //
    // Errors
    //

    /// There is no channel at this address.
    const ENO_CHANNEL: u64 = 1;
    /// The caller is not the channel's payer.
    const ENOT_PAYER: u64 = 2;
    /// The caller is not the channel's payee.
    const ENOT_PAYEE: u64 = 3;
    /// A payee must be someone other than the payer.
    const EBAD_PAYEE: u64 = 4;
    /// A voucher key must be 32 bytes.
    const EBAD_VOUCHER_KEY: u64 = 5;
    /// The channel would expire too soon, too late, or earlier than before.
    const EBAD_EXPIRY: u64 = 6;
    /// The channel is closing or closed.
    const ENOT_OPEN: u64 = 7;
    /// The channel is closed.
    const ECLOSED: u64 = 8;
    /// The channel's voucher key did not sign this voucher.
    const EBAD_SIGNATURE: u64 = 9;
    /// The voucher pays nothing that is not settled already.
    const ENOTHING_NEW: u64 = 10;
    /// The payee still has time to hand in vouchers.
    const ETOO_EARLY: u64 = 11;
    /// The lists differ in length, or have no or more than 100 entries.
    const EBAD_BATCH: u64 = 12;

    //
    // Constants
    //

    const STATE_UNKNOWN: u8 = 0;
    const STATE_OPEN: u8 = 1;
    const STATE_CLOSING: u8 = 2;
    const STATE_CLOSED: u8 = 3;

    const KEY_BYTES: u64 = 32;
    const MAX_BATCH: u64 = 100;

    //
    // Structs
    //

    /// One channel. At an address of its own, for ever. While it is not closed its vault holds
    /// `deposited - settled`.
    enum Channel has key {
        V1 {
            vault: Vault,
            payer: address,
            payee: address,
            voucher_key: vector<u8>,
            /// Only grows.
            deposited: u64,
            /// Only grows, and never above `deposited`.
            settled: u64,
            /// From here on anyone may close the channel.
            expires_seconds: u64,
            /// How long the payee may hand in vouchers after the payer asked to close; fixed at the start.
            close_seconds: u64,
            state: ChannelState,
        }
    }

    enum ChannelState has copy, drop, store {
        Open,
        Closing { from_seconds: u64 },
        Closed,
    }

    /// What the voucher key signs: the channel has paid `cumulative` octas to the payee in all.
    struct Voucher has drop {
        chain_id: u8,
        channel: address,
        payee: address,
        cumulative: u64,
    }

    /// What `channel` answers, amounts in octas. `state`: 0 unknown, 1 open, 2 closing, 3 closed.
    struct ChannelView has copy, drop {
        state: u8,
        payer: address,
        payee: address,
        voucher_key: vector<u8>,
        deposited: u64,
        settled: u64,
        /// From when anyone may close it; 0 if it is closed.
        closable_from_seconds: u64,
        expires_seconds: u64,
        close_seconds: u64,
        /// The metadata of what it pays in; amounts are in that asset's smallest unit.
        asset: address,
    }

    //
    // Events
    //

    #[event]
    enum ChannelOpened has drop, store {
        V1 {
            channel: address,
            payer: address,
            payee: address,
            voucher_key: vector<u8>,
            deposited: u64,
            expires_seconds: u64,
            close_seconds: u64,
            asset: address,
        }
    }

    #[event]
    enum ChannelToppedUp has drop, store {
        V1 { channel: address, octas: u64, deposited: u64 }
    }

    #[event]
    enum ChannelExtended has drop, store {
        V1 { channel: address, expires_seconds: u64 }
    }

    #[event]
    enum VoucherRedeemed has drop, store {
        V1 { channel: address, payer: address, payee: address, octas: u64, settled: u64, deposited: u64 }
    }

    #[event]
    enum CloseRequested has drop, store {
        V1 { channel: address, payer: address, payee: address, from_seconds: u64 }
    }

    #[event]
    enum ChannelClosed has drop, store {
        V1 { channel: address, payer: address, payee: address, settled: u64, refund_octas: u64 }
    }

    //
    // Views
    //

    #[view]
    /// All about a channel; all zero if there is none.
    public fun channel(channel: address): ChannelView acquires Channel {
        if (!exists<Channel>(channel)) {
            return ChannelView {
                state: STATE_UNKNOWN, payer: @0x0, payee: @0x0, voucher_key: vector[], deposited: 0, settled: 0,
                closable_from_seconds: 0, expires_seconds: 0, close_seconds: 0, asset: @0x0,
            }
        };
        let record = &Channel[channel];
        let (state, closable_from_seconds) = match (&record.state) {
            Open => (STATE_OPEN, record.expires_seconds),
            Closing { from_seconds } => (STATE_CLOSING, earlier(*from_seconds, record.expires_seconds)),
            Closed => (STATE_CLOSED, 0),
        };
        ChannelView {
            state, payer: record.payer, payee: record.payee, voucher_key: record.voucher_key,
            deposited: record.deposited, settled: record.settled, closable_from_seconds,
            expires_seconds: record.expires_seconds, close_seconds: record.close_seconds,
            asset: object::object_address(&record.vault.asset()),
        }
    }

    #[view]
    /// What the channel's vault really holds, in octas.
    public fun vault_balance(channel: address): u64 acquires Channel {
        if (exists<Channel>(channel)) Channel[channel].vault.balance() else 0
    }

    //
    // Entry functions
    //

    /// A payer opens a channel to `payee` with `amount` octas of its own. Vouchers are signed by `voucher_key`, which
    /// may be any ed25519 key. The channel's address is in the event `ChannelOpened`.
    ///
    /// Aborts if channels are paused, the payee is the payer or nobody, the key is not 32 bytes, the channel would
    /// expire before its close delay or later than the parameter `max_channel_seconds` allows, the amount is zero, or
    /// the payer holds less.
    public entry fun open(
        payer: &signer, payee: address, voucher_key: vector<u8>, amount: u64, expires_seconds: u64
    ) {
        create(payer, payee, voucher_key, amount, expires_seconds, vault::apt());
    }

    /// `open` in any allowed asset, named by the address of its metadata. All amounts of the channel are in its
    /// smallest unit. Payments in other assets than APT do not count as an orchestrator's volume.
    ///
    /// Aborts as `open` does, and if the asset is not allowed.
    public entry fun open_in(
        payer: &signer, payee: address, voucher_key: vector<u8>, amount: u64, expires_seconds: u64, asset: address
    ) {
        create(payer, payee, voucher_key, amount, expires_seconds, asset);
    }

    /// The payer adds `amount` octas of its own.
    ///
    /// Aborts if channels are paused, there is no such channel, the caller is not its payer, it is closing or closed,
    /// the amount is zero, or the payer holds less.
    public entry fun top_up(payer: &signer, channel: address, amount: u64) acquires Channel {
        config::assert_may_open_channel();
        let record = borrow_open(payer, channel);
        record.vault.take_from(payer, amount);
        record.deposited += amount;
        event::emit(ChannelToppedUp::V1 { channel, octas: amount, deposited: record.deposited });
    }

    /// The payer lets the channel expire later.
    ///
    /// Aborts if channels are paused, there is no such channel, the caller is not its payer, it is closing or closed,
    /// or the new time is not later than the old one or further away than allowed.
    public entry fun extend(payer: &signer, channel: address, expires_seconds: u64) acquires Channel {
        config::assert_may_open_channel();
        let record = borrow_open(payer, channel);
        assert_expiry(expires_seconds, record.expires_seconds + 1);
        record.expires_seconds = expires_seconds;
        event::emit(ChannelExtended::V1 { channel, expires_seconds });
    }

    /// Anyone hands in a voucher, and the payee gets what it covers beyond what is settled, as far as the deposit
    /// reaches. Possible until the channel is closed. Never paused.
    ///
    /// Aborts if there is no such channel, it is closed, the voucher key did not sign, the signature is not 64 bytes,
    /// or there is nothing to pay.
    public entry fun redeem(
        _anyone: &signer, channel: address, cumulative: u64, signature: vector<u8>
    ) acquires Channel {
        assert!(exists<Channel>(channel), error::not_found(ENO_CHANNEL));
        assert!(Channel[channel].state != ChannelState::Closed, error::invalid_state(ECLOSED));
        verify(&Channel[channel], channel, cumulative, signature);
        assert!(settle(channel, cumulative), error::invalid_state(ENOTHING_NEW));
    }

    /// Anyone hands in vouchers of many channels: the `i`th entries of the lists make one. A voucher whose channel is
    /// closed or that pays nothing new is passed over, so that no one can spoil a batch by being faster. Never paused.
    ///
    /// Aborts if the lists differ in length or have no or more than 100 entries, there is no such channel, or a voucher
    /// key did not sign.
    public entry fun redeem_batch(
        _anyone: &signer, channels: vector<address>, cumulatives: vector<u64>, signatures: vector<vector<u8>>
    ) acquires Channel {
        let count = channels.length();
        assert!(
            count > 0 && count <= MAX_BATCH && cumulatives.length() == count && signatures.length() == count,
            error::invalid_argument(EBAD_BATCH)
        );
        let i = 0;
        while (i < count) {
            let channel = channels[i];
            assert!(exists<Channel>(channel), error::not_found(ENO_CHANNEL));
            if (Channel[channel].state != ChannelState::Closed) {
                verify(&Channel[channel], channel, cumulatives[i], signatures[i]);
                settle(channel, cumulatives[i]);
            };
            i += 1;
        };
    }

    /// The payee closes the channel at once; what is not settled returns to the payer. Never paused.
    ///
    /// Aborts if there is no such channel, the caller is not its payee, or it is closed.
    public entry fun close_by_payee(payee: &signer, channel: address) acquires Channel {
        let record = borrow_channel(channel);
        assert!(signer::address_of(payee) == record.payee, error::permission_denied(ENOT_PAYEE));
        assert!(record.state != ChannelState::Closed, error::invalid_state(ECLOSED));
        close(channel);
    }

    /// The payer asks to close the channel. The payee then has the channel's close delay to hand in vouchers. Never
    /// paused.
    ///
    /// Aborts if there is no such channel, the caller is not its payer, or it is closing or closed.
    public entry fun request_close(payer: &signer, channel: address) acquires Channel {
        let record = borrow_open(payer, channel);
        let from_seconds = timestamp::now_seconds() + record.close_seconds;
        record.state = ChannelState::Closing { from_seconds };
        event::emit(CloseRequested::V1 {
            channel, payer: record.payer, payee: record.payee,
            from_seconds: earlier(from_seconds, record.expires_seconds),
        });
    }

    /// Anyone closes a channel that expired, or whose payer asked to close it and whose close delay is over; what is
    /// not settled returns to the payer. Never paused.
    ///
    /// Aborts if there is no such channel, it is closed, or it is too early.
    public entry fun finalize(_anyone: &signer, channel: address) acquires Channel {
        let record = borrow_channel(channel);
        let from_seconds = match (&record.state) {
            Open => record.expires_seconds,
            Closing { from_seconds } => earlier(*from_seconds, record.expires_seconds),
            Closed => abort error::invalid_state(ECLOSED),
        };
        assert!(timestamp::now_seconds() >= from_seconds, error::invalid_state(ETOO_EARLY));
        close(channel);
    }

    //
    // Helpers
    //

    fun create(
        payer: &signer, payee: address, voucher_key: vector<u8>, amount: u64, expires_seconds: u64, asset: address
    ): address {
        config::assert_may_open_channel();
        let payer_address = signer::address_of(payer);
        assert!(payee != payer_address && payee != @0x0, error::invalid_argument(EBAD_PAYEE));
        assert!(voucher_key.length() == KEY_BYTES, error::invalid_argument(EBAD_VOUCHER_KEY));
        let close_seconds = parameters::channel_close_seconds();
        assert_expiry(expires_seconds, timestamp::now_seconds() + close_seconds);
        let (vault, object) = vault::create_with_signer(asset);
        vault.take_from(payer, amount);
        move_to(&object, Channel::V1 {
            vault, payer: payer_address, payee, voucher_key, deposited: amount, settled: 0, expires_seconds,
            close_seconds, state: ChannelState::Open,
        });
        let channel = signer::address_of(&object);
        event::emit(ChannelOpened::V1 {
            channel, payer: payer_address, payee, voucher_key, deposited: amount,
            expires_seconds, close_seconds, asset,
        });
        channel
    }

    inline fun borrow_channel(channel: address): &mut Channel {
        assert!(exists<Channel>(channel), error::not_found(ENO_CHANNEL));
        &mut Channel[channel]
    }

    inline fun borrow_open(payer: &signer, channel: address): &mut Channel {
        let record = borrow_channel(channel);
        assert!(signer::address_of(payer) == record.payer, error::permission_denied(ENOT_PAYER));
        assert!(record.state == ChannelState::Open, error::invalid_state(ENOT_OPEN));
        record
    }

    fun assert_expiry(expires_seconds: u64, earliest_seconds: u64) {
        assert!(
            expires_seconds >= earliest_seconds
                && expires_seconds <= timestamp::now_seconds() + parameters::max_channel_seconds(),
            error::invalid_argument(EBAD_EXPIRY)
        );
    }

    fun verify(record: &Channel, channel: address, cumulative: u64, signature: vector<u8>) {
        let voucher = Voucher { chain_id: chain_id::get(), channel, payee: record.payee, cumulative };
        assert!(
            ed25519::signature_verify_strict_t(
                &ed25519::new_signature_from_bytes(signature),
                &ed25519::new_unvalidated_public_key_from_bytes(record.voucher_key),
                voucher,
            ),
            error::unauthenticated(EBAD_SIGNATURE)
        );
    }

    // Pays what a verified voucher covers, and says whether that was anything. What an authorised server pays counts
    // as an orchestrator's volume; others could pay themselves a reputation.
    fun settle(channel: address, cumulative: u64): bool acquires Channel {
        let record = &mut Channel[channel];
        let settled = if (cumulative < record.deposited) cumulative else record.deposited;
        if (settled <= record.settled) return false;
        let octas = settled - record.settled;
        record.settled = settled;
        record.vault.pay(record.payee, octas);
        let counts = record.vault.is_of_apt() && server_registry::is_authorized(record.payer);
        if (counts) reputation::record_volume(record.payee, octas);
        event::emit(VoucherRedeemed::V1 {
            channel, payer: record.payer, payee: record.payee, octas, settled, deposited: record.deposited,
        });
        true
    }

    fun close(channel: address) acquires Channel {
        let record = &mut Channel[channel];
        let refund_octas = record.deposited - record.settled;
        record.state = ChannelState::Closed;
        record.vault.pay(record.payer, refund_octas);
        event::emit(ChannelClosed::V1 {
            channel, payer: record.payer, payee: record.payee, settled: record.settled, refund_octas,
        });
    }

    fun earlier(a: u64, b: u64): u64 {
        if (a < b) a else b
    }

    #[test_only]
    public fun new_voucher_for_test(chain_id: u8, channel: address, payee: address, cumulative: u64): Voucher {
        Voucher { chain_id, channel, payee, cumulative }
    }

    #[test_only]
    public fun open_for_test(
        payer: &signer, payee: address, voucher_key: vector<u8>, amount: u64, expires_seconds: u64
    ): address {
        create(payer, payee, voucher_key, amount, expires_seconds, vault::apt())
    }

    #[test_only]
    public fun open_in_for_test(
        payer: &signer, payee: address, voucher_key: vector<u8>, amount: u64, expires_seconds: u64, asset: address
    ): address {
        create(payer, payee, voucher_key, amount, expires_seconds, asset)
    }

    #[test_only]
    public fun unpack_for_test(self: ChannelView): (u8, address, address, u64, u64, u64) {
        (self.state, self.payer, self.payee, self.deposited, self.settled, self.closable_from_seconds)
    }
}
