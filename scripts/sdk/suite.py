"""The conformance suite of the Python SDK: what is particular to it. The cases that all SDKs share
are in cases.json; `world.py` knows how to carry them out here."""

import asyncio
import sys

from aptos_sdk.account import Account
from aptos_sdk.account_address import AccountAddress
from aptos_sdk.account_sequence_number import AccountSequenceNumber
from aptos_sdk.asymmetric_crypto_wrapper import MultiPublicKey, MultiSignature
from aptos_sdk.authenticator import (
    AccountAuthenticator,
    Authenticator,
    FeePayerAuthenticator,
    MultiKeyAuthenticator,
    SingleSenderAuthenticator,
)
from aptos_sdk.transaction_worker import TransactionQueue, TransactionWorker
from aptos_sdk.transactions import (
    FeePayerRawTransaction,
    MultiAgentRawTransaction,
    Script,
    SignedTransaction,
    TransactionPayload,
)

import keys  # noqa: F401  adds its cases
import state  # noqa: F401  adds its cases
from world import APT, World, case, contains, equal, refused, run

APT_COIN = "0x1::aptos_coin::AptosCoin"


# ---- accounts and coins


@case("ledger", "the chain id is 4")
async def _(w: World):
    equal(await w.rest.chain_id(), 4)


@case("ledger", "ledger info has counters as text")
async def _(w: World):
    info = await w.rest.info()
    for name in ("ledger_version", "ledger_timestamp", "block_height", "epoch"):
        assert isinstance(info[name], str) and int(info[name]) >= 0, name
    equal(info["node_role"], "full_node")


@case("ledger", "time goes on")
async def _(w: World):
    before = await w.rest.current_timestamp()
    await w.funded(1)
    assert await w.rest.current_timestamp() > before


@case("faucet", "a new account is funded")
async def _(w: World):
    new = Account.generate()
    await w.faucet.fund_account(new.address(), 7 * APT)
    equal(await w.rest.account_balance(new.address()), 7 * APT)


@case("faucet", "funding adds up")
async def _(w: World):
    new = await w.funded(3)
    await w.faucet.fund_account(new.address(), 4)
    equal(await w.rest.account_balance(new.address()), 7)


@case("faucet", "an address that is none is refused")
async def _(w: World):
    await refused(w.faucet.fund_account("0xnonsense", 1), 400)


@case("accounts", "an account has its key and number")
async def _(w: World):
    new = await w.funded(APT)
    await w.pay(new, w.me.address(), 1)
    account = await w.rest.account(new.address())
    equal(account, {"sequence_number": "1", "authentication_key": new.auth_key()})


@case("accounts", "an unknown account is not found")
async def _(w: World):
    await refused(w.rest.account(w.fresh()), 404, "account_not_found")


@case("accounts", "an unknown account has number 0 and no coins")
async def _(w: World):
    equal(await w.rest.account_sequence_number(w.fresh()), 0)
    equal(await w.rest.account_balance(w.fresh()), 0)


@case("accounts", "a future state is not there")
async def _(w: World):
    await refused(w.rest.account(w.me.address(), 10**12), 404, "version_not_found")


@case("accounts", "an old state has been pruned")
async def _(w: World):
    await refused(w.rest.account(w.me.address(), 1), 410, "version_pruned")


@case("transfer", "coins move and gas is paid")
async def _(w: World):
    alice, bob = await w.funded(2 * APT), w.fresh()
    done = await w.pay(alice, bob, APT)
    gas = int(done["gas_used"]) * int(done["gas_unit_price"])
    assert gas > 0
    equal(await w.rest.account_balance(bob), APT)
    equal(await w.rest.account_balance(alice.address()), APT - gas)


@case("transfer", "transfer_coins moves coins by type")
async def _(w: World):
    alice, bob = await w.funded(2 * APT), w.fresh()
    done = await w.wait(await w.rest.transfer_coins(alice, bob, APT_COIN, 5))
    equal(done["payload"]["type_arguments"], [APT_COIN])
    equal(await w.rest.account_balance(bob), 5)


@case("transfer", "a committed transaction shows what was sent")
async def _(w: World):
    alice, bob = await w.funded(APT), w.fresh()
    done = await w.pay(alice, bob, 3)
    equal(done["type"], "user_transaction")
    equal(done["sender"], str(alice.address()))
    equal(done["payload"]["function"], "0x1::aptos_account::transfer")
    equal(done["payload"]["arguments"], [str(bob), "3"])
    equal(done["signature"]["type"], "ed25519_signature")
    equal(done["signature"]["public_key"], str(alice.public_key()))


@case("transfer", "the fee shows as an event")
async def _(w: World):
    done = await w.pay(await w.funded(APT), w.fresh(), 3)
    types = [event["type"] for event in done["events"]]
    assert "0x1::transaction_fee::FeeStatement" in types, types
    assert "0x1::fungible_asset::Withdraw" in types, types
    assert "0x1::fungible_asset::Deposit" in types, types


@case("wait", "a waiting transaction is pending, then committed")
async def _(w: World):
    alice, bob = await w.funded(APT), w.fresh()
    later = await w.rest.bcs_transfer(alice, bob, 2, sequence_number=1)
    assert await w.rest.transaction_pending(later)
    equal((await w.rest.transaction_by_hash(later))["type"], "pending_transaction")
    await w.pay(alice, bob, 1)
    equal((await w.wait(later))["success"], True)
    equal(await w.rest.account_balance(bob), 3)


@case("wait", "an unknown hash is not found")
async def _(w: World):
    await refused(w.rest.transaction_by_hash("0x" + "77" * 32), 404, "transaction_not_found")


@case("wait", "a malformed hash is refused")
async def _(w: World):
    await refused(w.rest.transaction_by_hash("0x77"), 400, "invalid_input")


# ---- sequence numbers


@case("sequence numbers", "they may arrive in any order")
async def _(w: World):
    alice, bob = await w.funded(APT), w.fresh()
    hashes = [await w.rest.bcs_transfer(alice, bob, 1, n) for n in (4, 2, 3, 1, 0)]
    for one in hashes:
        equal((await w.wait(one))["success"], True)
    equal(await w.rest.account_sequence_number(alice.address()), 5)


@case("sequence numbers", "a submission may be repeated while it waits")
async def _(w: World):
    alice, bob = await w.funded(APT), w.fresh()
    payload = w.payload("0x1::aptos_account::transfer", [], ["address", "u64"], [str(bob), "1"])
    signed = await w.rest.create_bcs_signed_transaction(alice, payload, sequence_number=1)
    first = await w.rest.submit_bcs_transaction(signed)
    equal(await w.rest.submit_bcs_transaction(signed), first)


@case("sequence numbers", "another transaction under the same number is refused")
async def _(w: World):
    alice, bob = await w.funded(APT), w.fresh()
    await w.rest.bcs_transfer(alice, bob, 1, 1)
    await refused(w.rest.bcs_transfer(alice, bob, 2, 1), 400, "invalid_transaction_update")


@case("sequence numbers", "too many waiting ones are refused")
async def _(w: World):
    alice, bob = await w.funded(APT), w.fresh()
    for number in range(1, 101):
        await w.rest.bcs_transfer(alice, bob, 1, number)
    await refused(w.rest.bcs_transfer(alice, bob, 1, 101), 507, "mempool_is_full")


@case("sequence numbers", "the SDK's own counter keeps up")
async def _(w: World):
    alice, bob = await w.funded(APT), w.fresh()
    numbers = AccountSequenceNumber(w.rest, alice.address())
    for _ in range(5):
        await w.rest.bcs_transfer(alice, bob, 1, await numbers.next_sequence_number())
    await numbers.synchronize()
    equal(await w.rest.account_balance(bob), 5)


@case("sequence numbers", "the SDK's worker sends a queue")
async def _(w: World):
    alice, bob = await w.funded(APT), w.fresh()
    queue = TransactionQueue(w.rest)
    worker = TransactionWorker(alice, w.rest, queue.next)
    worker.start()
    args = (["address", "u64"], [str(bob), "1"])
    for _ in range(10):
        await queue.push(w.payload("0x1::aptos_account::transfer", [], *args))
    for _ in range(10):
        sent = await worker.next_processed_transaction()
        assert sent[1] and sent[2] is None, sent
        await w.wait(sent[1])
    worker.stop()
    equal(await w.rest.account_balance(bob), 10)


# ---- signers


def authenticated(raw, sender, sender_authenticator, payer, payer_authenticator):
    fee_payer = FeePayerAuthenticator(
        sender_authenticator, [], (payer.address(), payer_authenticator)
    )
    return SignedTransaction(raw, Authenticator(fee_payer))


@case("signers", "another account pays for gas")
async def _(w: World):
    poor, payer, bob = await w.funded(5), await w.funded(APT), w.fresh()
    raw = await w.raw_transfer(poor, bob, 5)
    sponsored = FeePayerRawTransaction(raw, [], payer.address())
    signed = authenticated(
        raw, poor, poor.sign_transaction(sponsored), payer, payer.sign_transaction(sponsored)
    )
    done = await w.rest.submit_and_wait_for_bcs_transaction(signed)
    equal(done["signature"]["type"], "fee_payer_signature")
    equal(await w.rest.account_balance(poor.address()), 0)
    assert await w.rest.account_balance(payer.address()) < APT


@case("signers", "the sender need not know who pays")
async def _(w: World):
    poor, payer, bob = await w.funded(5), await w.funded(APT), w.fresh()
    raw = await w.raw_transfer(poor, bob, 5)
    blank = FeePayerRawTransaction(raw, [], None)
    named = FeePayerRawTransaction(raw, [], payer.address())
    signed = authenticated(
        raw, poor, poor.sign_transaction(blank), payer, payer.sign_transaction(named)
    )
    done = await w.rest.submit_and_wait_for_bcs_transaction(signed)
    equal(done["signature"]["fee_payer_address"], str(payer.address()))


@case("signers", "a payer that signed for another payer is refused")
async def _(w: World):
    poor, payer, bob = await w.funded(5), await w.funded(APT), w.fresh()
    raw = await w.raw_transfer(poor, bob, 5)
    blank = FeePayerRawTransaction(raw, [], None)
    signed = authenticated(
        raw, poor, poor.sign_transaction(blank), payer, payer.sign_transaction(blank)
    )
    await refused(w.rest.submit_bcs_transaction(signed), 400, "INVALID_SIGNATURE")


@case("signers", "two accounts sign one call")
async def _(w: World):
    other = await w.funded(APT)
    payload = w.payload(w.probe("together"), [], ["u64"], ["2"])
    signed = await w.rest.create_multi_agent_bcs_transaction(w.me, [other], payload)
    done = await w.rest.submit_and_wait_for_bcs_transaction(signed)
    equal(done["signature"]["type"], "multi_agent_signature")
    equal(done["signature"]["secondary_signer_addresses"], [str(other.address())])
    counted = [e for e in done["events"] if e["type"] == w.probe("Counted")]
    equal(counted[0]["data"]["account"], str(other.address()))


@case("signers", "a second signature that is not the account's is refused")
async def _(w: World):
    other, stranger = await w.funded(APT), Account.generate()
    payload = w.payload(w.probe("together"), [], ["u64"], ["2"])
    forged = Account(other.address(), stranger.private_key)
    signed = await w.rest.create_multi_agent_bcs_transaction(w.me, [forged], payload)
    await refused(w.rest.submit_bcs_transaction(signed), 400, "INVALID_AUTH_KEY")


@case("signers", "the same signer twice is refused")
async def _(w: World):
    payload = w.payload(w.probe("together"), [], ["u64"], ["2"])
    signed = await w.rest.create_multi_agent_bcs_transaction(w.me, [w.me], payload)
    await refused(w.rest.submit_bcs_transaction(signed), 400, "SIGNERS_CONTAIN_DUPLICATES")


@case("signers", "a secp256k1 account pays")
async def _(w: World):
    alice, bob = Account.generate_secp256k1_ecdsa(), w.fresh()
    await w.faucet.fund_account(alice.address(), APT)
    done = await w.pay(alice, bob, 9)
    equal(done["signature"]["type"], "single_key_signature")
    equal(await w.rest.account_balance(bob), 9)


def multi_key(keys, threshold):
    public = MultiPublicKey([key.public_key() for key in keys], threshold)
    return public, AccountAddress.from_key(public)


async def multi_signed(w: World, keys, signing, threshold):
    public, address = multi_key(keys, threshold)
    await w.faucet.fund_account(address, APT)
    payload = w.payload(
        "0x1::aptos_account::transfer", [], ["address", "u64"], [str(w.fresh()), "4"]
    )
    raw = await w.rest.create_bcs_transaction(address, payload)
    signatures = [(index, keys[index].sign(raw.keyed())) for index in signing]
    inner = AccountAuthenticator(MultiKeyAuthenticator(public, MultiSignature(signatures)))
    return SignedTransaction(raw, Authenticator(SingleSenderAuthenticator(inner)))


def three_keys():
    kinds = (Account.generate, Account.generate_secp256k1_ecdsa, Account.generate)
    return [make().private_key for make in kinds]


@case("signers", "two of three keys of two kinds sign")
async def _(w: World):
    signed = await multi_signed(w, three_keys(), (0, 1), 2)
    done = await w.rest.submit_and_wait_for_bcs_transaction(signed)
    equal(done["signature"]["type"], "multi_key_signature")


@case("signers", "other two of three keys sign")
async def _(w: World):
    signed = await multi_signed(w, three_keys(), (1, 2), 2)
    equal((await w.rest.submit_and_wait_for_bcs_transaction(signed))["success"], True)


@case("signers", "one of three keys is too few for two")
async def _(w: World):
    signed = await multi_signed(w, three_keys(), (1,), 2)
    await refused(w.rest.submit_bcs_transaction(signed), 400, "INVALID_SIGNATURE")


@case("signers", "a script is refused in so many words")
async def _(w: World):
    payload = TransactionPayload(Script(b"\x01", [], []))
    signed = await w.rest.create_bcs_signed_transaction(w.me, payload)
    await refused(w.rest.submit_bcs_transaction(signed), 400, "scripts are not supported")


@case("signers", "a signature for another purpose is refused")
async def _(w: World):
    raw = await w.raw_transfer(w.me, w.fresh(), 1)
    wrong = w.me.sign_transaction(MultiAgentRawTransaction(raw, []))
    signed = SignedTransaction(raw, Authenticator(wrong.authenticator))
    await refused(w.rest.submit_bcs_transaction(signed), 400, "INVALID_SIGNATURE")


# ---- simulation


@case("simulate", "an outcome, events and changes without effect")
async def _(w: World):
    alice, bob = await w.funded(APT), w.fresh()
    raw = await w.raw_transfer(alice, bob, 5)
    (result,) = await w.rest.simulate_transaction(raw, alice)
    equal((result["success"], result["vm_status"]), (True, "Executed successfully"))
    assert result["events"] and result["changes"] and int(result["gas_used"]) > 0
    equal(await w.rest.account_balance(bob), 0)
    equal(await w.rest.account_sequence_number(alice.address()), 0)


@case("simulate", "gas is estimated")
async def _(w: World):
    alice = await w.funded(APT)
    raw = await w.raw_transfer(alice, w.fresh(), 5)
    (result,) = await w.rest.simulate_transaction(raw, alice, estimate_gas_usage=True)
    equal((result["max_gas_amount"], result["gas_unit_price"]), (str(APT // 100), "100"))


@case("simulate", "an abort is answered")
async def _(w: World):
    alice = await w.funded(APT)
    raw = await w.raw_transfer(alice, w.fresh(), 5 * APT)
    (result,) = await w.rest.simulate_transaction(raw, alice)
    equal(result["success"], False)
    contains(result["vm_status"], "EINSUFFICIENT_BALANCE")


@case("simulate", "what would be discarded is answered")
async def _(w: World):
    alice = await w.funded(APT)
    raw = await w.raw_transfer(alice, w.fresh(), 1, sequence_number=9)
    (result,) = await w.rest.simulate_transaction(raw, alice)
    equal((result["success"], result["vm_status"]), (False, "SEQUENCE_NUMBER_TOO_NEW"))


@case("simulate", "a valid signature is refused")
async def _(w: World):
    raw = await w.raw_transfer(w.me, w.fresh(), 1)
    signed = SignedTransaction(raw, w.me.sign_transaction(raw))
    await refused(w.rest.simulate_bcs_transaction(signed), 400, "must not have a valid signature")


@case("simulate", "a secp256k1 account's transaction")
async def _(w: World):
    alice = Account.generate_secp256k1_ecdsa()
    await w.faucet.fund_account(alice.address(), APT)
    raw = await w.raw_transfer(alice, w.fresh(), 1)
    (result,) = await w.rest.simulate_transaction(raw, alice)
    equal(result["success"], True)


asyncio.run(run(sys.argv[1:]))
