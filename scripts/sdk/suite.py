"""The conformance suite of the Python SDK: what is particular to it. The cases that all SDKs share
are in cases.json; `world.py` knows how to carry them out here."""

import asyncio
import sys

from aptos_sdk.account import Account
from aptos_sdk.account_address import AccountAddress
from aptos_sdk.account_sequence_number import AccountSequenceNumber
from aptos_sdk.async_client import ApiError, ResourceNotFound
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

from world import APT, World, case, run

APT_COIN = "0x1::aptos_coin::AptosCoin"


def equal(found, wanted):
    assert found == wanted, f"{found!r} is not {wanted!r}"


def contains(text, part):
    assert part in str(text), f"{part!r} is not in {text!r}"


async def refused(call, status, says=""):
    """The node's answer to a call that must be refused."""
    try:
        await call
    except ApiError as error:
        equal(error.status_code, status)
        contains(error, says)
    else:
        raise AssertionError("it was accepted")


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


# ---- state


@case("resources", "one resource")
async def _(w: World):
    found = await w.rest.account_resource(w.me.address(), w.probe("Values"))
    equal(found["type"], w.probe("Values"))
    data = found["data"]
    equal((data["byte"], data["long"], data["widest"]), (1, "4", "6"))
    equal((data["text"], data["texts"], data["maybe"]), ("acht", ["elf", ""], {"vec": ["12"]}))


@case("resources", "a generic resource")
async def _(w: World):
    kind = f"{w.probe('Holder')}<0x1::string::String>"
    found = await w.rest.account_resource(w.me.address(), kind)
    equal(found, {"type": kind, "data": {"item": "held"}})


@case("resources", "one that was removed is not there")
async def _(w: World):
    try:
        await w.rest.account_resource(w.me.address(), f"{w.probe('Holder')}<u64>")
    except ResourceNotFound:
        return
    raise AssertionError("it is there")


@case("resources", "all of an account")
async def _(w: World):
    types = [one["type"] for one in await w.rest.account_resources(w.me.address())]
    for wanted in ("0x1::account::Account", "0x1::code::PackageRegistry", w.probe("Counter")):
        assert wanted in types, types


@case("resources", "none of an unknown account")
async def _(w: World):
    equal(await w.rest.account_resources(w.fresh()), [])


@case("resources", "a type that is none is refused")
async def _(w: World):
    await refused(w.rest.account_resource(w.me.address(), "0x1::nonsense"), 400, "invalid_input")


@case("modules", "the interface of a module")
async def _(w: World):
    abi = (await w.rest.account_module(w.me.address(), "probe"))["abi"]
    functions = {one["name"]: one for one in abi["exposed_functions"]}
    equal(functions["add"]["params"], ["&signer", "u64"])
    equal((functions["add"]["is_entry"], functions["add"]["is_view"]), (True, False))
    equal((functions["value"]["return"], functions["value"]["is_view"]), (["u64"], True))
    structs = {one["name"]: one for one in abi["structs"]}
    equal((structs["Counted"]["is_event"], structs["Shape"]["is_enum"]), (True, True))


@case("modules", "all modules of an account")
async def _(w: World):
    modules = await w.rest.account_modules(w.me.address())
    equal([one["abi"]["name"] for one in modules], ["probe"])


@case("modules", "a page of modules")
async def _(w: World):
    modules = await w.rest.account_modules(AccountAddress.from_str("0x1"), limit=3)
    equal(len(modules), 3)


@case("modules", "a module that is not there")
async def _(w: World):
    await refused(w.rest.account_module(w.me.address(), "absent"), 404, "module_not_found")


async def counter(w: World):
    return (await w.rest.account_resource(w.me.address(), w.probe("Counter")))["data"]


@case("tables", "a number as key")
async def _(w: World):
    handle = (await counter(w))["notes"]["handle"]
    equal(await w.rest.get_table_item(handle, "u64", "0x1::string::String", "1"), "eins")


@case("tables", "a text as key and a structure as value")
async def _(w: World):
    handle = (await counter(w))["entries"]["handle"]
    found = await w.rest.get_table_item(handle, "0x1::string::String", w.probe("Entry"), "lamp")
    equal(found, {"amount": "3", "owner": str(w.me.address()), "tags": "0xbeef"})


@case("tables", "an item that was removed")
async def _(w: World):
    handle = (await counter(w))["notes"]["handle"]
    item = w.rest.get_table_item(handle, "u64", "0x1::string::String", "2")
    await refused(item, 404, "table_item_not_found")


@case("tables", "a key of another type is refused")
async def _(w: World):
    handle = (await counter(w))["notes"]["handle"]
    item = w.rest.get_table_item(handle, "u64", "0x1::string::String", "one")
    await refused(item, 400, "invalid_input")


# ---- lists


@case("lists", "transactions by version")
async def _(w: World):
    done = await w.pay(await w.funded(APT), w.fresh(), 3)
    equal(await w.rest.transaction_by_version(int(done["version"])), done)


@case("lists", "a version that is not there yet")
async def _(w: World):
    await refused(w.rest.transaction_by_version(10**12), 404, "version_not_found")


@case("lists", "transactions from a start")
async def _(w: World):
    (first, second) = await w.rest.transactions(limit=2, start=0)
    equal((first["type"], first["version"], second["version"]), ("genesis_transaction", "0", "1"))
    equal(second["type"], "block_metadata_transaction")


@case("lists", "the newest transactions")
async def _(w: World):
    newest = await w.rest.transactions(limit=3)
    equal(len(newest), 3)
    assert int(newest[0]["version"]) < int(newest[2]["version"])


@case("lists", "an account's transactions")
async def _(w: World):
    alice = await w.funded(APT)
    for octas in (1, 2, 3):
        await w.pay(alice, w.fresh(), octas)
    sent = await w.rest.transactions_by_account(alice.address(), limit=2, start=1)
    equal([one["payload"]["arguments"][1] for one in sent], ["2", "3"])


@case("lists", "whether a sequence number is committed")
async def _(w: World):
    alice = await w.funded(APT)
    await w.pay(alice, w.fresh(), 1)
    status = w.rest.account_transaction_sequence_number_status
    equal((await status(alice.address(), 0), await status(alice.address(), 1)), (True, False))


@case("lists", "blocks by height and by version agree")
async def _(w: World):
    done = await w.pay(await w.funded(APT), w.fresh(), 3)
    block = await w.rest.blocks_by_version(int(done["version"]), with_transactions=True)
    assert done["hash"] in [one["hash"] for one in block["transactions"]]
    by_height = await w.rest.blocks_by_height(int(block["block_height"]), True)
    equal(by_height, block)


@case("lists", "a block without its transactions")
async def _(w: World):
    equal((await w.rest.blocks_by_height(1)).get("transactions"), None)


@case("lists", "a block that is not there yet")
async def _(w: World):
    await refused(w.rest.blocks_by_height(10**9), 404, "block_not_found")


@case("events", "no event handles, so no events by number")
async def _(w: World):
    equal(await w.rest.event_by_creation_number(w.me.address(), 0), [])


@case("events", "a field that is no event handle is refused")
async def _(w: World):
    events = w.rest.events_by_event_handle(w.me.address(), w.probe("Counter"), "value")
    await refused(events, 400, "invalid_input")


@case("events", "events of a call with their data")
async def _(w: World):
    done = await w.call(w.me, w.probe("add"), ["u64"], ["1"])
    (counted,) = [e for e in done["events"] if e["type"] == w.probe("Counted")]
    equal(counted["data"]["account"], str(w.me.address()))
    equal(counted["guid"], {"creation_number": "0", "account_address": "0x0"})


# ---- publishing


@case("publish", "a compatible upgrade")
async def _(w: World):
    done = await w.publish("probe_next")
    (event,) = [e for e in done["events"] if e["type"] == "0x1::code::PublishPackage"]
    equal(event["data"]["is_upgrade"], True)
    equal(await w.view(w.probe("version"), [], []), ["2"])


@case("publish", "an incompatible upgrade fails")
async def _(w: World):
    done = await w.publish("probe_broken", succeeds=False)
    contains(done["vm_status"], "BACKWARD_INCOMPATIBLE_MODULE_UPDATE")
    equal(await w.view(w.probe("version"), [], []), ["2"])


@case("publish", "code for another address fails")
async def _(w: World):
    done = await w.publish("probe", sender=await w.funded(5 * APT), succeeds=False)
    contains(done["vm_status"], "MODULE_ADDRESS_DOES_NOT_MATCH_SENDER")


@case("publish", "code that is none fails")
async def _(w: World):
    garbage = [bytes.fromhex("a11ceb0b0700000000")]
    done = await w.publish("probe", code=garbage, succeeds=False)
    assert done["success"] is False


asyncio.run(run(sys.argv[1:]))
