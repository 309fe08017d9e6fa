// What the TypeScript suite works with: the SDK, an account that has published the probe, and the
// shared cases of cases.json as cases of this suite.

import { readFileSync } from "node:fs";
import {
  Account,
  AccountAddress,
  Aptos,
  AptosApiError,
  AptosConfig,
  Bool,
  EntryFunction,
  FixedBytes,
  Identifier,
  ModuleId,
  MoveOption,
  MoveString,
  MoveVector,
  Network,
  RawTransaction,
  Serializer,
  SimpleTransaction,
  TransactionPayloadEntryFunction,
  U128,
  U16,
  U256,
  U32,
  U64,
  U8,
  parseTypeTag,
} from "@aptos-labs/ts-sdk";

export const APT = 100_000_000;
const PLACEHOLDER = "c0ffee".repeat(10) + "c0ff";
const INTEGERS = { u8: U8, u16: U16, u32: U32, u64: U64, u128: U128, u256: U256 };
const SMALL = new Set(["u8", "u16", "u32"]);

export const cases = [];
export const test = (area, name, run) => cases.push({ area, name, run });

export function equal(found, wanted) {
  const [left, right] = [JSON.stringify(found), JSON.stringify(wanted)];
  if (left !== right) throw new Error(`${left} is not ${right}`);
}

export function contains(text, part) {
  if (!String(text).includes(part)) throw new Error(`${part} is not in ${text}`);
}

export function holds(condition, what) {
  if (!condition) throw new Error(what);
}

/** The node's answer to a call that must be refused. */
export async function refused(call, status, says = "") {
  try {
    await call;
  } catch (error) {
    if (!(error instanceof AptosApiError)) throw error;
    equal(error.status, status);
    contains(JSON.stringify(error.data), says);
    return error.data;
  }
  throw new Error("it was accepted");
}

const inner = (kind, prefix) => (kind.startsWith(prefix) ? kind.slice(prefix.length, -1) : undefined);
const unhex = (text) => Uint8Array.from(Buffer.from(text.replace(/^0x/, ""), "hex"));

/** A JSON value of a type as the SDK's own class for it. */
function typed(kind, value) {
  const [element, maybe] = [inner(kind, "vector<"), inner(kind, "0x1::option::Option<")];
  if (kind in INTEGERS) return new INTEGERS[kind](SMALL.has(kind) ? value : BigInt(value));
  if (kind === "bool") return new Bool(value);
  if (kind === "address") return AccountAddress.from(value);
  if (kind === "0x1::string::String") return new MoveString(value);
  if (kind === "vector<u8>") return MoveVector.U8(unhex(value));
  if (element) return new MoveVector(value.map((one) => typed(element, one)));
  if (maybe) return new MoveOption(value.vec.length ? typed(maybe, value.vec[0]) : null);
  throw new Error(kind);
}

/** A JSON value of a type in the simple form that a program would give to the SDK. */
function simple(kind, value) {
  const [element, maybe] = [inner(kind, "vector<"), inner(kind, "0x1::option::Option<")];
  if (kind === "vector<u8>") return unhex(value);
  if (element) return value.map((one) => simple(element, one));
  if (maybe) return value.vec.length ? simple(maybe, value.vec[0]) : null;
  return kind in INTEGERS && !SMALL.has(kind) ? BigInt(value) : value;
}

export class World {
  constructor([chain, faucet, , folder]) {
    this.chain = chain;
    this.folder = folder;
    this.aptos = new Aptos(new AptosConfig({ network: Network.CUSTOM, fullnode: chain, faucet }));
    this.me = Account.generate();
  }

  probe(name) {
    return `${this.me.accountAddress}::probe::${name}`;
  }

  fresh() {
    return Account.generate().accountAddress;
  }

  async fund(account, octas) {
    const options = { waitForIndexer: false };
    const { accountAddress } = account;
    await this.aptos.fundAccount({ accountAddress, amount: octas, options });
    return account;
  }

  funded(octas) {
    return this.fund(Account.generate(), octas);
  }

  /** A value of cases.json with its placeholders replaced. */
  filled(value) {
    const me = this.me.accountAddress.toString();
    const text = JSON.stringify(value)
      .replaceAll("{me}", me)
      .replaceAll("{trimmed}", me.replace(/^0x0+/, "0x"))
      .replaceAll("{long}", "0x" + "0".repeat(63) + "a")
      .replaceAll("{fresh}", this.fresh().toString());
    return JSON.parse(text);
  }

  balance(address) {
    return this.aptos.getAccountAPTAmount({ accountAddress: address });
  }

  wait(hash) {
    return this.aptos.waitForTransaction({ transactionHash: hash, options: { checkSuccess: false } });
  }

  /** Signs, submits and waits. */
  async send(signer, transaction) {
    const sent = await this.aptos.signAndSubmitTransaction({ signer, transaction });
    return this.wait(sent.hash);
  }

  transfer(sender, to, octas, options) {
    const functionArguments = [to, octas];
    const data = { function: "0x1::aptos_account::transfer", functionArguments };
    return this.aptos.transaction.build.simple({ sender: sender.accountAddress, data, options });
  }

  async pay(sender, to, octas, options) {
    return this.send(sender, await this.transfer(sender, to, octas, options));
  }

  async call(sender, name, args, typeArguments = []) {
    const data = { function: this.probe(name), functionArguments: args, typeArguments };
    const build = this.aptos.transaction.build;
    return this.send(sender, await build.simple({ sender: sender.accountAddress, data }));
  }

  view(name, args = []) {
    const payload = { function: this.probe(name), functionArguments: args };
    return this.aptos.view({ payload });
  }

  /** A transaction whose payload no interface of the chain has checked. */
  async unchecked(sender, one, change = {}) {
    const [address, module, name] = one.function.split("::");
    const args = one.types.map((kind, index) => {
      const bytes = typed(kind, one.arguments[index]).bcsToBytes();
      return new FixedBytes(bytes);
    });
    const tags = (one.type_arguments ?? []).map((kind) => parseTypeTag(kind));
    const id = new ModuleId(AccountAddress.from(address), new Identifier(module));
    const entry = new EntryFunction(id, new Identifier(name), tags, args.map(asArgument));
    const number = change.sequence_number ?? (await this.next(sender));
    const raw = new RawTransaction(
      sender.accountAddress,
      BigInt(number),
      new TransactionPayloadEntryFunction(entry),
      BigInt(change.max_gas ?? 100_000),
      BigInt(change.gas_price ?? 100),
      BigInt(change.expiration ?? Math.floor(Date.now() / 1000) + 60),
      { chainId: change.chain_id ?? 4, serialize: (out) => out.serializeU8(change.chain_id ?? 4) },
    );
    return new SimpleTransaction(raw);
  }

  async next(sender) {
    const accountAddress = sender.accountAddress;
    return (await this.aptos.getAccountInfo({ accountAddress })).sequence_number;
  }

  async publish(variant, { sender = this.me, code } = {}) {
    const bytes = readFileSync(`${this.folder}/probe/${variant}.mv`).toString("hex");
    const mine = this.me.accountAddress.toStringLong().slice(2);
    const moduleBytecode = [code ?? unhex(bytes.replaceAll(PLACEHOLDER, mine))];
    const metadataBytes = packageMetadata();
    const account = sender.accountAddress;
    const transaction = await this.aptos.publishPackageTransaction({
      account,
      metadataBytes,
      moduleBytecode,
    });
    return this.send(sender, transaction);
  }
}

const asArgument = (bytes) => ({
  bcsToBytes: () => bytes.value,
  serialize: (out) => out.serializeFixedBytes(bytes.value),
  serializeForEntryFunction: (out) => out.serializeBytes(bytes.value),
});

/** BCS of `0x1::code::PackageMetadata` for one module. */
function packageMetadata() {
  const out = new Serializer();
  out.serializeStr("probe");
  out.serializeU8(1); // compatible upgrades
  out.serializeU64(0n);
  out.serializeStr(""); // source digest
  out.serializeBytes(new Uint8Array()); // manifest
  out.serializeU32AsUleb128(1);
  out.serializeStr("probe");
  out.serializeBytes(new Uint8Array()); // source
  out.serializeBytes(new Uint8Array()); // source map
  out.serializeU32AsUleb128(0); // no extension
  out.serializeU32AsUleb128(0); // dependencies
  out.serializeU32AsUleb128(0); // no extension
  return out.toUint8Array();
}

function addViews(shared) {
  for (const one of shared.views) {
    test("views, JSON", one.name, async (w) => {
      const given = w.filled(one);
      const payload = {
        function: given.function,
        typeArguments: given.type_arguments ?? [],
        functionArguments: given.arguments ?? [],
      };
      equal(await w.aptos.viewJson({ payload }), given.results);
    });
    test("views, BCS", one.name, async (w) => {
      const given = w.filled(one);
      const types = given.types ?? [];
      const payload = {
        function: given.function,
        typeArguments: given.type_arguments ?? [],
        functionArguments: types.map((kind, index) => simple(kind, given.arguments[index])),
      };
      equal(await w.aptos.view({ payload }), given.results);
    });
  }
  for (const one of shared.refused_views) {
    test("views, refused", one.name, async (w) => {
      const given = w.filled(one);
      const payload = {
        function: given.function,
        typeArguments: given.type_arguments ?? [],
        functionArguments: given.arguments,
      };
      await refused(w.aptos.viewJson({ payload }), given.status, given.says);
    });
  }
}

function check(given, done) {
  contains(done.vm_status, given.status);
  equal(done.success, given.status === "Executed successfully");
}

function addCalls(shared) {
  for (const one of shared.calls) {
    test("calls", one.name, async (w) => {
      const given = w.filled(one);
      const data = {
        function: given.function,
        typeArguments: given.type_arguments ?? [],
        functionArguments: given.types.map((kind, index) => simple(kind, given.arguments[index])),
      };
      // The SDK's builder offers no less gas than this.
      if (given.max_gas < 2_000)
        return check(given, await w.send(w.me, await w.unchecked(w.me, given, given)));
      const options = { maxGasAmount: given.max_gas ?? 100_000 };
      const sender = w.me.accountAddress;
      const transaction = await w.aptos.transaction.build.simple({ sender, data, options });
      check(given, await w.send(w.me, transaction));
    });
  }
  for (const one of shared.failed_calls) {
    test("failed calls", one.name, async (w) => {
      const given = w.filled(one);
      check(given, await w.send(w.me, await w.unchecked(w.me, given)));
    });
  }
}

function addRefusals(shared) {
  for (const { name, change, code } of shared.refusals) {
    test("refusals", name, async (w) => {
      const stranger = Account.generate();
      const sender = change.sender ? stranger : w.me;
      const transfer = {
        function: "0x1::aptos_account::transfer",
        types: ["address", "u64"],
        arguments: [w.fresh().toString(), "1"],
      };
      const number = change.sequence_number ?? (change.sender ? 0 : undefined);
      const changed = { ...change, sequence_number: number };
      const transaction = await w.unchecked(sender, transfer, changed);
      const signer = change.signer ? stranger : sender;
      const senderAuthenticator = signer.signTransactionWithAuthenticator(transaction);
      if (change.tamper) transaction.rawTransaction.gas_unit_price += 1n;
      const sent = w.aptos.transaction.submit.simple({ transaction, senderAuthenticator });
      const { error_code, vm_error_code } = await refused(sent, 400);
      equal([error_code, vm_error_code], ["vm_error", code]);
    });
  }
}

/** Publishes the probe, then runs every case, one after the other. */
export async function run() {
  const world = new World(process.argv.slice(2));
  await world.fund(world.me, 1_000 * APT);
  const own = cases.splice(0);
  const shared = JSON.parse(readFileSync(`${world.folder}/cases.json`, "utf8"));
  test("publish", "a package with an initialiser", async (w) => {
    equal((await w.publish("probe")).success, true);
    equal(await w.view("value", [w.me.accountAddress]), ["0"]);
  });
  addViews(shared);
  addCalls(shared);
  addRefusals(shared);
  cases.push(...own);
  for (const { area, name, run } of cases) {
    let detail = "";
    try {
      await run(world);
    } catch (error) {
      detail = `${error.name}: ${error.message}`.slice(0, 600);
    }
    console.log(JSON.stringify({ area, name, ok: !detail, detail }));
  }
  console.log("end");
}
