//! Payment channels and their vouchers. Never signs a voucher without noting it among the signed.

use cactus_move_vm::AccountAddress as Address;

use super::{DAY, Draft, Generator, Kind};
use crate::argument::Argument::{Address as A, Addresses, ByteLists, Bytes, Numbers, U64};
use crate::books::Books;
use crate::cast::Actor;
use crate::chain::CHAIN_ID;
use crate::records::{Channel, ChannelState};
use crate::signing::{Voucher, sign};

pub const KINDS: &[Kind] = &[
    Kind { function: "channel::open", weight: 4, make: open },
    Kind { function: "channel::open_in", weight: 2, make: open_in },
    Kind { function: "channel::top_up", weight: 4, make: top_up },
    Kind { function: "channel::extend", weight: 2, make: extend },
    Kind { function: "channel::redeem", weight: 10, make: redeem },
    Kind { function: "channel::redeem_batch", weight: 3, make: redeem_batch },
    Kind { function: "channel::close_by_payee", weight: 1, make: close_by_payee },
    Kind { function: "channel::request_close", weight: 1, make: request_close },
    Kind { function: "channel::finalize", weight: 3, make: finalize },
];

const CLOSE_SECONDS: usize = 9;
const MAX_SECONDS: usize = 10;

fn open(generator: &mut Generator, books: &Books) -> Option<Draft> {
    let is_client = generator.random.once_in(2);
    let (payer, payee) = if is_client {
        (generator.address_in(|cast| &cast.clients)?, generator.address_in(|cast| &cast.servers)?)
    } else {
        (generator.address_in(|cast| &cast.servers)?, generator.address_in(|cast| &cast.operators)?)
    };
    let key = generator.random.pick(&generator.cast.sessions)?.public_key();
    let amount = generator.amount(books.wallet(&payer) / 20)?;
    let (close, most) = (books.parameter(CLOSE_SECONDS), books.parameter(MAX_SECONDS));
    let lasts = generator.random.between(close.min(most), most.min(close + 10 * DAY));
    let expires = generator.seconds + lasts;
    Some((Some(payer), vec![A(payee), Bytes(key), U64(amount), U64(expires)]))
}

fn open_in(generator: &mut Generator, books: &Books) -> Option<Draft> {
    let (signer, mut arguments) = open(generator, books)?;
    arguments.push(generator.asset());
    Some((signer, arguments))
}

fn channel(
    generator: &mut Generator,
    books: &Books,
    wanted: fn(ChannelState) -> bool,
) -> Option<Address> {
    generator.key_of(&books.channels, |_, channel| wanted(channel.state))
}

fn is_open(state: ChannelState) -> bool {
    state == ChannelState::Open
}

fn is_live(state: ChannelState) -> bool {
    state != ChannelState::Closed
}

fn top_up(generator: &mut Generator, books: &Books) -> Option<Draft> {
    let at = channel(generator, books, is_open)?;
    let payer = books.channels.get(&at)?.payer;
    let amount = generator.amount(books.wallet(&payer) / 40)?;
    Some((Some(payer), vec![A(at), U64(amount)]))
}

fn extend(generator: &mut Generator, books: &Books) -> Option<Draft> {
    let at = channel(generator, books, is_open)?;
    let record = books.channels.get(&at)?;
    let latest = generator.seconds + books.parameter(MAX_SECONDS);
    let earliest = (record.expires_seconds + 1).min(latest);
    let expires = generator.random.between(earliest, latest);
    Some((Some(record.payer), vec![A(at), U64(expires)]))
}

/// A voucher that pays something, or now and then one that was signed before.
fn voucher(generator: &mut Generator, at: Address, channel: &Channel) -> Option<(u64, Vec<u8>)> {
    let has_key = |actor: &&Actor| actor.public_key() == channel.voucher_key;
    // A channel whose key was spoiled has nobody who could sign.
    let session = generator.cast.sessions.iter().find(has_key)?.clone();
    let rest = channel.deposited.saturating_sub(channel.settled);
    let cumulative = match generator.random.below(12) {
        0 => channel.settled,
        1 => channel.deposited.saturating_mul(2),
        _ => channel.settled + generator.amount(rest.max(1))?,
    };
    let signed = generator.signed.vouchers.entry(at).or_default();
    *signed = cumulative.max(*signed);
    let voucher = Voucher { chain_id: CHAIN_ID, channel: at, payee: channel.payee, cumulative };
    let signature = sign(&session.key, &voucher);
    let secret = session.key.to_bytes().to_vec();
    generator.vouchers.insert(signature.clone(), (secret, voucher));
    Some((cumulative, signature))
}

fn redeem(generator: &mut Generator, books: &Books) -> Option<Draft> {
    let at = channel(generator, books, is_live)?;
    let (cumulative, signature) = voucher(generator, at, books.channels.get(&at)?)?;
    Some((Some(generator.anyone()?), vec![A(at), U64(cumulative), Bytes(signature)]))
}

fn redeem_batch(generator: &mut Generator, books: &Books) -> Option<Draft> {
    let (mut channels, mut cumulatives, mut signatures) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..=generator.random.below(4) {
        // Closed ones too: they must be passed over.
        let at = channel(generator, books, |_| true)?;
        let (cumulative, signature) = voucher(generator, at, books.channels.get(&at)?)?;
        channels.push(at);
        cumulatives.push(cumulative);
        signatures.push(signature);
    }
    let arguments = vec![Addresses(channels), Numbers(cumulatives), ByteLists(signatures)];
    Some((Some(generator.anyone()?), arguments))
}

fn close_by_payee(generator: &mut Generator, books: &Books) -> Option<Draft> {
    let at = channel(generator, books, is_live)?;
    Some((Some(books.channels.get(&at)?.payee), vec![A(at)]))
}

fn request_close(generator: &mut Generator, books: &Books) -> Option<Draft> {
    let at = channel(generator, books, is_open)?;
    Some((Some(books.channels.get(&at)?.payer), vec![A(at)]))
}

fn finalize(generator: &mut Generator, books: &Books) -> Option<Draft> {
    let now = generator.seconds;
    let early = generator.random.once_in(10);
    let due = |_: &Address, channel: &Channel| match channel.state {
        ChannelState::Open => early || channel.expires_seconds <= now,
        ChannelState::Closing { from_seconds } => early || from_seconds <= now,
        ChannelState::Closed => false,
    };
    let at = generator.key_of(&books.channels, due)?;
    Some((Some(generator.anyone()?), vec![A(at)]))
}
