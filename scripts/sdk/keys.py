"""What the Python suite tries with keys that change, objects that change hands, transactions in
JSON and packages in chunks."""

from aptos_sdk.account import Account, RotationProofChallenge
from aptos_sdk.account_address import AccountAddress
from aptos_sdk.bcs import Serializer
from aptos_sdk.transactions import SignedTransaction

from world import APT, PLACEHOLDER, World, case, contains, equal, package_metadata, refused

BYTES = "vector<u8>"


async def rotate(w: World, old: Account, new: Account, prover: Account) -> dict:
    number = await w.rest.account_sequence_number(old.address())
    current = AccountAddress.from_str(old.auth_key())
    challenge = RotationProofChallenge(number, old.address(), current, new.public_key())
    out = Serializer()
    challenge.serialize(out)
    keys = [account.public_key().key.encode() for account in (old, new)]
    proofs = [account.sign(out.output()).data() for account in (old, prover)]
    types = ["u8", BYTES, "u8", BYTES, BYTES, BYTES]
    values = ["0", keys[0].hex(), "0", keys[1].hex(), proofs[0].hex(), proofs[1].hex()]
    return await w.call(old, "0x1::account::rotate_authentication_key", types, values)


@case("keys", "an account changes its key and keeps its address")
async def _(w: World):
    old, new = await w.funded(5 * APT), Account.generate()
    equal((await rotate(w, old, new, new))["success"], True)
    late = await w.raw_transfer(old, w.fresh(), 1)
    signed = SignedTransaction(late, old.sign_transaction(late))
    await refused(w.rest.submit_bcs_transaction(signed), 400, "INVALID_AUTH_KEY")
    renewed, bob = Account(old.address(), new.private_key), w.fresh()
    equal((await w.pay(renewed, bob, 9))["success"], True)
    equal(await w.rest.account_balance(bob), 9)


@case("keys", "a key that did not agree is refused")
async def _(w: World):
    old, new = await w.funded(5 * APT), Account.generate()
    done = await rotate(w, old, new, Account.generate())
    contains(done["vm_status"], "EINVALID_PROOF_OF_KNOWLEDGE")


async def drawn(w: World) -> tuple[Account, AccountAddress]:
    """Someone with an object."""
    alice = await w.funded(5 * APT)
    await w.call(alice, w.probe("draw"), ["u64", "u64"], ["3", "4"])
    return alice, AccountAddress.for_named_object(alice.address(), b"shape")


@case("objects", "an object changes hands by its address")
async def _(w: World):
    alice, shape = await drawn(w)
    bob = w.fresh()
    done = await w.wait(await w.rest.transfer_object(alice, shape, bob))
    equal(done["success"], True)
    core = await w.rest.account_resource(shape, "0x1::object::ObjectCore")
    equal(core["data"]["owner"], str(bob))


@case("objects", "another's object stays where it is")
async def _(w: World):
    _, shape = await drawn(w)
    mallory = await w.funded(5 * APT)
    done = await w.wait(await w.rest.transfer_object(mallory, shape, w.fresh()))
    contains(done["vm_status"], "ENOT_OBJECT_OWNER")


async def post(w: World, path: str, body: dict) -> tuple[int, dict]:
    answer = await w.rest.client.post(f"{w.rest.base_url}/{path}", json=body)
    return answer.status_code, answer.json()


@case("json", "a transaction handed in as it was printed")
async def _(w: World):
    alice = await w.funded(APT)
    raw = await w.raw_transfer(alice, w.fresh(), 1, sequence_number=1)
    signed = SignedTransaction(raw, alice.sign_transaction(raw))
    sent = await w.rest.submit_bcs_transaction(signed)
    printed = await w.rest.transaction_by_hash(sent)
    equal(await post(w, "transactions", printed), (202, printed))


@case("json", "the node encodes what the SDK signs")
async def _(w: World):
    bob = w.fresh()
    raw = await w.raw_transfer(w.me, bob, 7)
    request = {
        "sender": str(raw.sender),
        "sequence_number": str(raw.sequence_number),
        "max_gas_amount": str(raw.max_gas_amount),
        "gas_unit_price": str(raw.gas_unit_price),
        "expiration_timestamp_secs": str(raw.expiration_timestamps_secs),
        "payload": {
            "type": "entry_function_payload",
            "function": "0x1::aptos_account::transfer",
            "type_arguments": [],
            "arguments": [str(bob), "7"],
        },
    }
    encoded = await post(w, "transactions/encode_submission", request)
    equal(encoded, (200, f"0x{raw.keyed().hex()}"))


async def staged(w: World, owner: Account, name: str, metadata: bytes, part: bytes) -> dict:
    values = [metadata.hex(), ["0"], [part.hex()]]
    types = [BYTES, "vector<u16>", f"vector<{BYTES}>"]
    return await w.call(owner, f"0x7::large_packages::{name}", types, values)


@case("publish", "a package in chunks")
async def _(w: World):
    alice = await w.funded(5 * APT)
    code = (w.folder / "probe" / "probe.mv").read_bytes()
    code = code.replace(PLACEHOLDER, alice.address().address)
    done = await staged(w, alice, "stage_code_chunk", package_metadata(), code[:1000])
    equal(done["success"], True)
    last = "stage_code_chunk_and_publish_to_account"
    equal((await staged(w, alice, last, b"", code[1000:]))["vm_status"], "Executed successfully")
    equal(await w.view(f"{alice.address()}::probe::version", [], []), ["1"])
