"""What the Python suite reads back: resources, modules, tables, lists, events, upgrades."""

from aptos_sdk.account_address import AccountAddress
from aptos_sdk.async_client import ResourceNotFound

from world import APT, World, case, contains, equal, refused


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
