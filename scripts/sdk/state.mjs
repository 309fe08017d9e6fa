// What the TypeScript suite reads back: resources, modules, tables, lists, events, upgrades.

import { APT, contains, equal, holds, refused, test } from "./world.mjs";

const PURSE = 5 * APT;

const mine = (w) => ({ accountAddress: w.me.accountAddress });

test("resources", "one resource", async (w) => {
  const data = await w.aptos.getAccountResource({ ...mine(w), resourceType: w.probe("Values") });
  equal([data.byte, data.long, data.widest], [1, "4", "6"]);
  equal([data.text, data.texts, data.maybe], ["acht", ["elf", ""], { vec: ["12"] }]);
});

test("resources", "a generic resource", async (w) => {
  const resourceType = `${w.probe("Holder")}<0x1::string::String>`;
  equal(await w.aptos.getAccountResource({ ...mine(w), resourceType }), { item: "held" });
});

test("resources", "one that was removed is not there", async (w) => {
  const resourceType = `${w.probe("Holder")}<u64>`;
  const missing = w.aptos.getAccountResource({ ...mine(w), resourceType });
  await refused(missing, 404, "resource_not_found");
});

test("resources", "all of an account", async (w) => {
  const types = (await w.aptos.getAccountResources(mine(w))).map((one) => one.type);
  for (const wanted of ["0x1::account::Account", "0x1::code::PackageRegistry", w.probe("Counter")])
    contains(types, wanted);
});

test("resources", "page by page", async (w) => {
  const all = await w.aptos.getAccountResources(mine(w));
  const found = [];
  let cursor;
  do {
    const page = await w.aptos.getAccountResourcesPage({ ...mine(w), options: { limit: 2, cursor } });
    holds(page.resources.length <= 2, "a page is too long");
    found.push(...page.resources);
    cursor = page.cursor;
  } while (cursor);
  equal(found, all);
});

test("resources", "a state of the future is not there", async (w) => {
  const options = { ledgerVersion: 10 ** 12 };
  const call = w.aptos.getAccountResource({ ...mine(w), resourceType: w.probe("Values"), options });
  await refused(call, 404, "version_not_found");
});

test("modules", "the interface of a module", async (w) => {
  const { abi } = await w.aptos.getAccountModule({ ...mine(w), moduleName: "probe" });
  const add = abi.exposed_functions.find((one) => one.name === "add");
  equal([add.params, add.is_entry, add.is_view], [["&signer", "u64"], true, false]);
  const hold = abi.exposed_functions.find((one) => one.name === "hold");
  equal(hold.generic_type_params, [{ constraints: ["store"] }]);
});

test("modules", "all modules of an account", async (w) => {
  const modules = await w.aptos.getAccountModules(mine(w));
  equal(modules.map((one) => one.abi.name), ["probe"]);
});

test("modules", "page by page", async (w) => {
  const accountAddress = "0x1";
  const all = await w.aptos.getAccountModules({ accountAddress });
  const found = [];
  let cursor;
  do {
    const options = { limit: 10, cursor };
    const page = await w.aptos.getAccountModulesPage({ accountAddress, options });
    found.push(...page.modules);
    cursor = page.cursor;
  } while (cursor);
  equal(found.map((one) => one.abi.name), all.map((one) => one.abi.name));
});

test("modules", "a module that is not there", async (w) => {
  const missing = w.aptos.getAccountModule({ ...mine(w), moduleName: "absent" });
  await refused(missing, 404, "module_not_found");
});

async function item(w, field, key_type, value_type, key) {
  const counter = await w.aptos.getAccountResource({ ...mine(w), resourceType: w.probe("Counter") });
  const data = { key_type, value_type, key };
  return w.aptos.getTableItem({ handle: counter[field].handle, data });
}

test("tables", "a number as key", async (w) => {
  equal(await item(w, "notes", "u64", "0x1::string::String", "1"), "eins");
});

test("tables", "a text as key and a structure as value", async (w) => {
  const found = await item(w, "entries", "0x1::string::String", w.probe("Entry"), "lamp");
  equal(found, { amount: "3", owner: w.me.accountAddress.toString(), tags: "0xbeef" });
});

test("tables", "an item that was removed", async (w) => {
  await refused(item(w, "notes", "u64", "0x1::string::String", "2"), 404, "table_item_not_found");
});

test("tables", "a key of another type is refused", async (w) => {
  await refused(item(w, "notes", "u64", "0x1::string::String", "one"), 400, "invalid_input");
});

// ---- lists

test("lists", "transactions by version", async (w) => {
  const done = await w.pay(await w.funded(PURSE), w.fresh(), 3);
  equal(await w.aptos.getTransactionByVersion({ ledgerVersion: done.version }), done);
});

test("lists", "transactions from a start", async (w) => {
  const [first, second] = await w.aptos.getTransactions({ options: { offset: 0, limit: 2 } });
  equal([first.type, second.type], ["genesis_transaction", "block_metadata_transaction"]);
});

test("lists", "an account's transactions", async (w) => {
  const alice = await w.funded(PURSE);
  for (const octas of [1, 2, 3]) await w.pay(alice, w.fresh(), octas);
  const sent = await w.aptos.getAccountTransactions({
    accountAddress: alice.accountAddress,
    options: { offset: 1, limit: 2 },
  });
  equal(sent.map((one) => one.payload.arguments[1]), ["2", "3"]);
});

test("lists", "blocks by height and by version agree", async (w) => {
  const done = await w.pay(await w.funded(PURSE), w.fresh(), 3);
  const options = { withTransactions: true };
  const block = await w.aptos.getBlockByVersion({ ledgerVersion: done.version, options });
  contains(block.transactions.map((one) => one.hash), done.hash);
  equal(await w.aptos.getBlockByHeight({ blockHeight: block.block_height, options }), block);
});

test("lists", "a block that is not there yet", async (w) => {
  await refused(w.aptos.getBlockByHeight({ blockHeight: 10 ** 9 }), 404, "block_not_found");
});

test("events", "events of a call with their data", async (w) => {
  const done = await w.call(w.me, "add", [1]);
  const [counted] = done.events.filter((event) => event.type === w.probe("Counted"));
  equal(counted.data.account, w.me.accountAddress.toString());
  equal(counted.guid, { creation_number: "0", account_address: "0x0" });
});

test("events", "an event with an enum and an option", async (w) => {
  const starter = await w.funded(PURSE);
  const done = await w.call(starter, "draw", [3, 4]);
  const [drawn] = done.events.filter((event) => event.type === w.probe("Drawn"));
  equal(drawn.data.label, { vec: ["drawn"] });
  equal(drawn.data.shape, { __variant__: "Rectangle", width: "3", height: "4" });
});

// ---- publishing

test("publish", "a compatible upgrade", async (w) => {
  const done = await w.publish("probe_next");
  const event = done.events.find((one) => one.type === "0x1::code::PublishPackage");
  equal([done.success, event.data.is_upgrade], [true, true]);
  equal(await w.view("version"), ["2"]);
});

test("publish", "an incompatible upgrade fails", async (w) => {
  const done = await w.publish("probe_broken");
  equal(done.success, false);
  contains(done.vm_status, "BACKWARD_INCOMPATIBLE_MODULE_UPDATE");
});

test("publish", "code for another address fails", async (w) => {
  const done = await w.publish("probe", { sender: await w.funded(PURSE) });
  contains(done.vm_status, "MODULE_ADDRESS_DOES_NOT_MATCH_SENDER");
});

test("publish", "code that is none fails", async (w) => {
  const code = Uint8Array.from(Buffer.from("a11ceb0b0700000000", "hex"));
  equal((await w.publish("probe", { code })).success, false);
});
