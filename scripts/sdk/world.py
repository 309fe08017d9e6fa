"""What the Python suite works with: the SDK's clients, an account that has published the probe, and
the shared cases of cases.json as cases of this suite."""

import json
import os
import pathlib
import traceback

from aptos_sdk.account import Account
from aptos_sdk.account_address import AccountAddress
from aptos_sdk.async_client import ApiError, ClientConfig, FaucetClient, RestClient
from aptos_sdk.bcs import Serializer
from aptos_sdk.package_publisher import PackagePublisher
from aptos_sdk.transactions import (
    EntryFunction,
    ModuleId,
    RawTransaction,
    SignedTransaction,
    TransactionArgument,
    TransactionPayload,
)
from aptos_sdk.type_tag import StructTag, TypeTag

APT = 100_000_000
PLACEHOLDER = bytes.fromhex("c0ffee" * 10 + "c0ff")
CASES = []
INTEGERS = ("u8", "u16", "u32", "u64", "u128", "u256")


def case(area: str, name: str):
    """Adds an async function of a World as a case."""

    def add(function):
        CASES.append((area, name, function))
        return function

    return add


def inner(kind: str, prefix: str) -> str | None:
    return kind[len(prefix) : -1] if kind.startswith(prefix) else None


def has_tags(one: dict) -> bool:
    """Whether this SDK can encode the type arguments: it writes a value after the tag of a plain
    type, and has no tag for vectors."""
    return all("::" in kind and "<" not in kind for kind in one.get("type_arguments", []))


def type_tag(kind: str) -> TypeTag:
    return TypeTag(StructTag.from_str(kind))


def write(out: Serializer, kind: str, value) -> None:
    """BCS of a JSON value of a type, by the SDK's serializer."""
    element, maybe = inner(kind, "vector<"), inner(kind, "0x1::option::Option<")
    if kind in INTEGERS:
        getattr(out, kind)(int(value))
    elif kind == "bool":
        out.bool(value)
    elif kind == "address":
        AccountAddress.from_str(value).serialize(out)
    elif kind == "0x1::string::String":
        out.str(value)
    elif kind == "vector<u8>":
        out.to_bytes(bytes.fromhex(value.removeprefix("0x")))
    elif element or maybe:
        items = value if element else value["vec"]
        out.uleb128(len(items))
        for item in items:
            write(out, element or maybe, item)
    else:
        raise NotImplementedError(kind)


def encode(kind: str, value) -> bytes:
    out = Serializer()
    write(out, kind, value)
    return out.output()


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


class World:
    """One chain, one publisher."""

    def __init__(self, chain: str, faucet: str, contract: str, folder: str):
        config = ClientConfig(http2=False, transaction_wait_in_seconds=10)
        self.rest = RestClient(chain, config)
        self.faucet = FaucetClient(faucet, self.rest)
        self.contract = contract
        self.folder = pathlib.Path(folder)
        self.me = Account.generate()

    def probe(self, name: str) -> str:
        return f"{self.me.address()}::probe::{name}"

    def fresh(self) -> AccountAddress:
        """An address that nobody has used."""
        return AccountAddress(os.urandom(32))

    async def funded(self, octas: int) -> Account:
        account = Account.generate()
        await self.faucet.fund_account(account.address(), octas)
        return account

    def filled(self, value):
        """A value of cases.json with its placeholders replaced."""
        if isinstance(value, list):
            return [self.filled(one) for one in value]
        if isinstance(value, dict):
            return {name: self.filled(one) for name, one in value.items()}
        if isinstance(value, str):
            me = str(self.me.address())
            names = {"{me}": me, "{trimmed}": "0x" + me[2:].lstrip("0"), "{long}": "0x" + "0" * 63 + "a"}
            for name, text in {**names, "{fresh}": str(self.fresh())}.items():
                value = value.replace(name, text)
        return value

    def payload(self, function: str, type_arguments, types, arguments) -> TransactionPayload:
        module, name = function.rsplit("::", 1)
        encoded = [encode(kind, value) for kind, value in zip(types, arguments, strict=True)]
        tags = [type_tag(kind) for kind in type_arguments]
        return TransactionPayload(EntryFunction(ModuleId.from_str(module), name, tags, encoded))

    async def wait(self, txn_hash: str) -> dict:
        """The committed transaction, failed or not: the SDK's own wait insists on success."""
        try:
            await self.rest.wait_for_transaction(txn_hash)
        except AssertionError:
            pass
        return await self.rest.transaction_by_hash(txn_hash)

    async def call(
        self, sender: Account, function, types, arguments, type_arguments=(), max_gas=100_000
    ) -> dict:
        payload = self.payload(function, type_arguments, types, arguments)
        raw = await self.rest.create_bcs_transaction(sender, payload)
        raw.max_gas_amount = max_gas
        signed = SignedTransaction(raw, sender.sign_transaction(raw))
        return await self.wait(await self.rest.submit_bcs_transaction(signed))

    async def pay(self, sender: Account, to: AccountAddress, octas: int) -> dict:
        return await self.wait(await self.rest.bcs_transfer(sender, to, octas))

    async def raw_transfer(self, sender, to, octas, sequence_number=None) -> RawTransaction:
        types, values = ["address", "u64"], [str(to), str(octas)]
        payload = self.payload("0x1::aptos_account::transfer", [], types, values)
        return await self.rest.create_bcs_transaction(sender, payload, sequence_number)

    async def view(self, function, type_arguments, arguments) -> list:
        return json.loads(await self.rest.view(function, type_arguments, arguments))

    async def publish(self, variant: str, sender=None, code=None, succeeds=True) -> dict:
        bytecode = (self.folder / "probe" / f"{variant}.mv").read_bytes()
        bytecode = bytecode.replace(PLACEHOLDER, self.me.address().address)
        publisher = PackagePublisher(self.rest)
        sent = await publisher.publish_package(
            sender or self.me, package_metadata(), code or [bytecode]
        )
        done = await self.wait(sent)
        assert done["success"] == succeeds, done["vm_status"]
        return done


def package_metadata() -> bytes:
    """BCS of `0x1::code::PackageMetadata` for one module."""
    out = Serializer()
    out.str("probe")
    out.u8(1)  # compatible upgrades
    out.u64(0)
    out.str("")  # source digest
    out.to_bytes(b"")  # manifest
    out.uleb128(1)
    out.str("probe")
    out.to_bytes(b"")  # source
    out.to_bytes(b"")  # source map
    out.uleb128(0)  # no extension
    out.uleb128(0)  # dependencies
    out.uleb128(0)  # no extension
    return out.output()


def shared(name: str) -> list:
    return json.loads((pathlib.Path(__file__).parent / "cases.json").read_text())[name]


def add_views() -> None:
    for one in shared("views"):

        async def by_json(w: World, one=one):
            given = w.filled(one)
            found = await w.view(
                given["function"], given.get("type_arguments", []), given.get("arguments", [])
            )
            assert found == given["results"], f"{found} is not {given['results']}"

        CASES.append(("views, JSON", one["name"], by_json))
        if not has_tags(one):
            continue

        async def by_bcs(w: World, one=one):
            given = w.filled(one)
            module, name = given["function"].rsplit("::", 1)
            pairs = zip(given.get("types", []), given.get("arguments", []), strict=True)
            found = await w.rest.view_bcs_payload(
                module,
                name,
                [type_tag(kind) for kind in given.get("type_arguments", [])],
                [TransactionArgument(v, lambda o, x, k=k: write(o, k, x)) for k, v in pairs],
            )
            assert found == given["results"], f"{found} is not {given['results']}"

        CASES.append(("views, BCS", one["name"], by_bcs))
    for one in shared("refused_views"):

        async def refused(w: World, one=one):
            given = w.filled(one)
            try:
                found = await w.view(
                    given["function"], given.get("type_arguments", []), given["arguments"]
                )
            except ApiError as error:
                assert error.status_code == given["status"], error
                assert given["says"] in str(error), error
            else:
                raise AssertionError(f"it answered {found}")

        CASES.append(("views, refused", one["name"], refused))


def add_calls() -> None:
    for group in ("calls", "failed_calls"):
        for one in filter(has_tags, shared(group)):

            async def called(w: World, one=one):
                given = w.filled(one)
                done = await w.call(
                    w.me,
                    given["function"],
                    given["types"],
                    given["arguments"],
                    given.get("type_arguments", []),
                    given.get("max_gas", 100_000),
                )
                assert given["status"] in done["vm_status"], done["vm_status"]
                assert done["success"] == (given["status"] == "Executed successfully")

            CASES.append((group.replace("_", " "), one["name"], called))


def add_refusals() -> None:
    for one in shared("refusals"):

        async def refused(w: World, one=one):
            await refusal(w, one["change"], one["code"])

        CASES.append(("refusals", one["name"], refused))


async def refusal(w: World, change: dict, code: int) -> None:
    stranger = Account.generate()
    sender = stranger if change.get("sender") else w.me
    raw = await w.raw_transfer(sender, w.fresh(), 1)
    names = {
        "expiration": "expiration_timestamps_secs",
        "max_gas": "max_gas_amount",
        "gas_price": "gas_unit_price",
    }
    for name, value in change.items():
        if isinstance(value, int) and not isinstance(value, bool):
            setattr(raw, names.get(name, name), value)
    signer = stranger if change.get("signer") else sender
    signed = SignedTransaction(raw, signer.sign_transaction(raw))
    if change.get("tamper"):
        signed.transaction.gas_unit_price += 1
    try:
        await w.rest.submit_bcs_transaction(signed)
    except ApiError as error:
        assert error.status_code == 400, error
        body = json.loads(str(error))
        assert (body["error_code"], body["vm_error_code"]) == ("vm_error", code), error
    else:
        raise AssertionError("it was accepted")


async def run(arguments: list[str]) -> None:
    """Publishes the probe, then runs every case, one after the other."""
    world = World(*arguments)
    await world.faucet.fund_account(world.me.address(), 1_000 * APT)
    own = list(CASES)
    CASES.clear()

    async def published(w: World):
        await w.publish("probe")
        assert await w.view(w.probe("value"), [], [str(w.me.address())]) == ["0"]

    CASES.append(("publish", "a package with an initialiser", published))
    add_views()
    add_calls()
    add_refusals()
    CASES.extend(own)
    for area, name, function in CASES:
        detail = ""
        try:
            await function(world)
        except Exception as error:  # any failure is a failed case
            line = traceback.extract_tb(error.__traceback__)[-1]
            detail = f"{type(error).__name__}: {error} ({line.name}:{line.lineno})"[:600]
        print(json.dumps({"area": area, "name": name, "ok": not detail, "detail": detail}))
    await world.rest.close()
    print("end")
