// The conformance suite of the TypeScript SDK: what is particular to it. The cases that all SDKs
// share are in cases.json; world.mjs knows how to carry them out here.

import {
  Account,
  Ed25519PrivateKey,
  MultiEd25519Account,
  MultiEd25519PublicKey,
  MultiKey,
  MultiKeyAccount,
  SigningSchemeInput,
} from "@aptos-labs/ts-sdk";
import "./keys.mjs";
import "./state.mjs";
import { APT, contains, equal, holds, refused, run, test } from "./world.mjs";

// The SDK offers 2 APT for gas unless it is told otherwise.
const PURSE = 5 * APT;
const APT_COIN = "0x1::aptos_coin::AptosCoin";

// ---- ledger and accounts

test("ledger", "the chain id is 4", async (w) => equal(await w.aptos.getChainId(), 4));

test("ledger", "ledger info has counters as text", async (w) => {
  const info = await w.aptos.getLedgerInfo();
  for (const name of ["ledger_version", "ledger_timestamp", "block_height", "epoch"])
    holds(typeof info[name] === "string" && Number(info[name]) >= 0, name);
});

test("ledger", "the price of gas", async (w) => {
  const price = await w.aptos.getGasPriceEstimation();
  equal([price.deprioritized_gas_estimate, price.gas_estimate], [100, 100]);
});

test("faucet", "a new account is funded", async (w) => {
  const new_ = await w.funded(7 * APT);
  equal(await w.balance(new_.accountAddress), 7 * APT);
});

test("faucet", "funding adds up", async (w) => {
  const new_ = await w.funded(3);
  await w.fund(new_, 4);
  equal(await w.balance(new_.accountAddress), 7);
});

test("accounts", "an account has its key and number", async (w) => {
  const alice = await w.funded(PURSE);
  await w.pay(alice, w.fresh(), 1);
  const info = await w.aptos.getAccountInfo({ accountAddress: alice.accountAddress });
  equal(info.sequence_number, "1");
  equal(info.authentication_key, alice.publicKey.authKey().toString());
});

test("accounts", "balances by coin and by asset agree", async (w) => {
  const { accountAddress } = await w.funded(5);
  equal(await w.aptos.getBalance({ accountAddress, asset: APT_COIN }), 5);
  equal(await w.aptos.getBalance({ accountAddress, asset: "0xa" }), 5);
  equal(await w.aptos.getAccountCoinAmount({ accountAddress, coinType: APT_COIN }), 5);
});

test("accounts", "an unknown account has nothing", async (w) => {
  equal(await w.balance(w.fresh()), 0);
});

// ---- transfer and wait

test("transfer", "coins move and gas is paid", async (w) => {
  const [alice, bob] = [await w.funded(PURSE), w.fresh()];
  const sender = alice.accountAddress;
  const transaction = await w.aptos.transferCoinTransaction({ sender, recipient: bob, amount: APT });
  const done = await w.send(alice, transaction);
  const gas = Number(done.gas_used) * Number(done.gas_unit_price);
  holds(gas > 0, "no gas");
  equal([await w.balance(bob), await w.balance(sender)], [APT, PURSE - APT - gas]);
});

test("transfer", "an asset moves by its metadata", async (w) => {
  const [alice, bob] = [await w.funded(PURSE), w.fresh()];
  const transaction = await w.aptos.transferFungibleAsset({
    sender: alice,
    fungibleAssetMetadataAddress: "0xa",
    recipient: bob,
    amount: 5,
  });
  equal((await w.send(alice, transaction)).success, true);
  equal(await w.balance(bob), 5);
});

test("transfer", "a committed transaction shows what was sent", async (w) => {
  const [alice, bob] = [await w.funded(PURSE), w.fresh()];
  const done = await w.pay(alice, bob, 3);
  equal([done.type, done.sender], ["user_transaction", alice.accountAddress.toString()]);
  equal(done.payload.arguments, [bob.toString(), "3"]);
  equal(done.signature.type, "ed25519_signature");
  equal(done.replay_protection_nonce, null);
});

test("transfer", "the events of a transfer", async (w) => {
  const done = await w.pay(await w.funded(PURSE), w.fresh(), 3);
  const types = done.events.map((event) => event.type);
  for (const name of ["fungible_asset::Withdraw", "fungible_asset::Deposit"])
    contains(types, `0x1::${name}`);
  contains(types, "0x1::transaction_fee::FeeStatement");
});

test("wait", "a parked transaction is pending, then committed", async (w) => {
  const [alice, bob] = [await w.funded(PURSE), w.fresh()];
  const later = await w.transfer(alice, bob, 2, { accountSequenceNumber: 1n });
  const sent = await w.aptos.signAndSubmitTransaction({ signer: alice, transaction: later });
  equal(await w.aptos.isPendingTransaction({ transactionHash: sent.hash }), true);
  await w.pay(alice, bob, 1);
  equal((await w.wait(sent.hash)).success, true);
  equal(await w.balance(bob), 3);
});

test("wait", "waiting for a failed transaction says why", async (w) => {
  const alice = await w.funded(PURSE);
  const transaction = await w.transfer(alice, w.fresh(), 2 * PURSE);
  const sent = await w.aptos.signAndSubmitTransaction({ signer: alice, transaction });
  try {
    await w.aptos.waitForTransaction({ transactionHash: sent.hash });
  } catch (error) {
    return contains(error.message, "EINSUFFICIENT_BALANCE");
  }
  throw new Error("it succeeded");
});

test("wait", "an unknown hash is not found", async (w) => {
  const unknown = w.aptos.getTransactionByHash({ transactionHash: "0x" + "77".repeat(32) });
  await refused(unknown, 404, "transaction_not_found");
});

test("wait", "a malformed hash is refused", async (w) => {
  await refused(w.aptos.getTransactionByHash({ transactionHash: "0x77" }), 400, "invalid_input");
});

// ---- sequence numbers and nonces

test("sequence numbers", "they may arrive in any order", async (w) => {
  const [alice, bob] = [await w.funded(PURSE), w.fresh()];
  const hashes = [];
  for (const number of [4, 2, 3, 1, 0]) {
    const transaction = await w.transfer(alice, bob, 1, { accountSequenceNumber: number });
    hashes.push((await w.aptos.signAndSubmitTransaction({ signer: alice, transaction })).hash);
  }
  for (const hash of hashes) equal((await w.wait(hash)).success, true);
  equal(await w.balance(bob), 5);
});

test("sequence numbers", "another transaction under the same number is refused", async (w) => {
  const [alice, bob] = [await w.funded(PURSE), w.fresh()];
  const send = async (octas) => {
    const transaction = await w.transfer(alice, bob, octas, { accountSequenceNumber: 1 });
    return w.aptos.signAndSubmitTransaction({ signer: alice, transaction });
  };
  await send(1);
  await refused(send(2), 400, "invalid_transaction_update");
});

test("sequence numbers", "the SDK's batch worker sends them all", async (w) => {
  const [alice, bob] = [await w.funded(PURSE), w.fresh()];
  const payload = { function: "0x1::aptos_account::transfer", functionArguments: [bob, 1] };
  const finished = new Promise((resolve, reject) => {
    w.aptos.transaction.batch.on("executionFinish", resolve);
    w.aptos.transaction.batch.on("transactionSendFailed", (data) => reject(new Error(data.error)));
  });
  w.aptos.transaction.batch.forSingleAccount({ sender: alice, data: Array(12).fill(payload) });
  await finished;
  while ((await w.balance(bob)) < 12) await w.aptos.getLedgerInfo();
  equal(await w.balance(bob), 12);
});

const orderless = (w, sender, to, octas, nonce, more = {}) =>
  w.transfer(sender, to, octas, { replayProtectionNonce: nonce, ...more });

test("orderless", "a transaction runs without a sequence number", async (w) => {
  const [alice, bob] = [await w.funded(PURSE), w.fresh()];
  const done = await w.send(alice, await orderless(w, alice, bob, 5, 77n));
  equal([done.success, done.replay_protection_nonce], [true, "77"]);
  equal(done.payload.function, "0x1::aptos_account::transfer");
  equal([await w.balance(bob), await w.next(alice)], [5, "0"]);
});

test("orderless", "the same transaction again is refused", async (w) => {
  const alice = await w.funded(PURSE);
  const transaction = await orderless(w, alice, w.fresh(), 5, 1n);
  await w.send(alice, transaction);
  await refused(w.send(alice, transaction), 400, "NONCE_ALREADY_USED");
});

test("orderless", "another transaction under the same nonce is refused", async (w) => {
  const alice = await w.funded(PURSE);
  await w.send(alice, await orderless(w, alice, w.fresh(), 5, 9n));
  const again = orderless(w, alice, w.fresh(), 6, 9n).then((other) => w.send(alice, other));
  await refused(again, 400, "NONCE_ALREADY_USED");
});

test("orderless", "two accounts may use the same nonce", async (w) => {
  for (const sender of [await w.funded(PURSE), await w.funded(PURSE)])
    equal((await w.send(sender, await orderless(w, sender, w.fresh(), 5, 9n))).success, true);
});

test("orderless", "many at once and in no order", async (w) => {
  const [alice, bob] = [await w.funded(PURSE), w.fresh()];
  const sent = [5n, 1n, 4n, 2n, 3n].map(async (nonce) =>
    w.send(alice, await orderless(w, alice, bob, 1, nonce)),
  );
  for (const done of await Promise.all(sent)) equal(done.success, true);
  equal(await w.balance(bob), 5);
});

test("orderless", "an expiry too far ahead is refused", async (w) => {
  const alice = await w.funded(PURSE);
  const expireTimestamp = Math.floor(Date.now() / 1000) + 600;
  const late = await orderless(w, alice, w.fresh(), 1, 1n, { expireTimestamp });
  await refused(w.send(alice, late), 400, "TRANSACTION_EXPIRATION_TOO_FAR_IN_FUTURE");
});

test("orderless", "it can be simulated", async (w) => {
  const alice = await w.funded(PURSE);
  const transaction = await orderless(w, alice, w.fresh(), 1, 1n);
  const signerPublicKey = alice.publicKey;
  const [result] = await w.aptos.transaction.simulate.simple({ signerPublicKey, transaction });
  equal(result.success, true);
  equal((await w.send(alice, transaction)).success, true);
});

test("orderless", "another account pays for gas", async (w) => {
  const [poor, payer, bob] = [await w.funded(5), await w.funded(PURSE), w.fresh()];
  const transaction = await w.aptos.transaction.build.simple({
    sender: poor.accountAddress,
    data: { function: "0x1::aptos_account::transfer", functionArguments: [bob, 5] },
    options: { replayProtectionNonce: 3n },
    withFeePayer: true,
  });
  const senderAuthenticator = poor.signTransactionWithAuthenticator(transaction);
  const feePayer = payer;
  const sent = await w.aptos.signAndSubmitAsFeePayer({ feePayer, senderAuthenticator, transaction });
  equal((await w.wait(sent.hash)).success, true);
  equal(await w.balance(poor.accountAddress), 0);
});

// ---- signers

async function sponsored(w, sender, payer, to) {
  const transaction = await w.aptos.transaction.build.simple({
    sender: sender.accountAddress,
    data: { function: "0x1::aptos_account::transfer", functionArguments: [to, 5] },
    withFeePayer: true,
  });
  const senderAuthenticator = sender.signTransactionWithAuthenticator(transaction);
  const sent = w.aptos.signAndSubmitAsFeePayer({ feePayer: payer, senderAuthenticator, transaction });
  return w.wait((await sent).hash);
}

test("signers", "another account pays for gas", async (w) => {
  const [poor, payer, bob] = [await w.funded(5), await w.funded(PURSE), w.fresh()];
  const done = await sponsored(w, poor, payer, bob);
  equal(done.signature.type, "fee_payer_signature");
  equal(done.signature.fee_payer_address, payer.accountAddress.toString());
  equal([await w.balance(poor.accountAddress), await w.balance(bob)], [0, 5]);
});

test("signers", "an account that is not on chain acts when another pays", async (w) => {
  const [nobody, payer] = [Account.generate(), await w.funded(PURSE)];
  const data = { function: "0x1::aptos_account::create_account", functionArguments: [w.fresh()] };
  const sender = nobody.accountAddress;
  const transaction = await w.aptos.transaction.build.simple({ sender, data, withFeePayer: true });
  const senderAuthenticator = nobody.signTransactionWithAuthenticator(transaction);
  const feePayer = payer;
  const sent = await w.aptos.signAndSubmitAsFeePayer({ feePayer, senderAuthenticator, transaction });
  equal((await w.wait(sent.hash)).success, true);
});

test("signers", "a payer with too little is refused", async (w) => {
  await refused(sponsored(w, await w.funded(5), await w.funded(1), w.fresh()), 400, "INSUFFICIENT_BALANCE");
});

async function together(w, first, second, signing = second) {
  const transaction = await w.aptos.transaction.build.multiAgent({
    sender: first.accountAddress,
    secondarySignerAddresses: [second.accountAddress],
    data: { function: w.probe("together"), functionArguments: [2] },
  });
  const sent = await w.aptos.transaction.submit.multiAgent({
    transaction,
    senderAuthenticator: first.signTransactionWithAuthenticator(transaction),
    additionalSignersAuthenticators: [signing.signTransactionWithAuthenticator(transaction)],
  });
  return w.wait(sent.hash);
}

test("signers", "two accounts sign one call", async (w) => {
  const other = await w.funded(PURSE);
  const done = await together(w, w.me, other);
  equal(done.signature.type, "multi_agent_signature");
  const counted = done.events.find((event) => event.type === w.probe("Counted"));
  equal(counted.data.account, other.accountAddress.toString());
});

test("signers", "another's signature in place of the second is refused", async (w) => {
  const call = together(w, w.me, await w.funded(PURSE), Account.generate());
  await refused(call, 400, "INVALID_AUTH_KEY");
});

test("signers", "the same signer twice is refused", async (w) => {
  await refused(together(w, w.me, w.me), 400, "SIGNERS_CONTAIN_DUPLICATES");
});

test("signers", "two accounts sign and a third pays", async (w) => {
  const [other, payer] = [await w.funded(1), await w.funded(PURSE)];
  const transaction = await w.aptos.transaction.build.multiAgent({
    sender: w.me.accountAddress,
    secondarySignerAddresses: [other.accountAddress],
    data: { function: w.probe("together"), functionArguments: [1] },
    withFeePayer: true,
  });
  const signs = (account) => account.signTransactionWithAuthenticator(transaction);
  const feePayerAuthenticator = w.aptos.transaction.signAsFeePayer({ signer: payer, transaction });
  const sent = await w.aptos.transaction.submit.multiAgent({
    transaction,
    senderAuthenticator: signs(w.me),
    additionalSignersAuthenticators: [signs(other)],
    feePayerAuthenticator,
  });
  equal((await w.wait(sent.hash)).success, true);
  holds((await w.balance(payer.accountAddress)) < PURSE, "the payer did not pay");
});

for (const [name, options] of Object.entries({
  "an ed25519 key in the new scheme": { scheme: SigningSchemeInput.Ed25519, legacy: false },
  "a secp256k1 key": { scheme: SigningSchemeInput.Secp256k1Ecdsa },
}))
  test("signers", `${name} signs`, async (w) => {
    const [alice, bob] = [await w.fund(Account.generate(options), PURSE), w.fresh()];
    const done = await w.pay(alice, bob, 9);
    equal([done.success, done.signature.type], [true, "single_key_signature"]);
    equal(await w.balance(bob), 9);
  });

const threeKeys = () => [
  Account.generate({ scheme: SigningSchemeInput.Ed25519, legacy: false }),
  Account.generate({ scheme: SigningSchemeInput.Secp256k1Ecdsa }),
  Account.generate(),
];

function multiKeyAccount(keys, signers, signaturesRequired) {
  const publicKeys = keys.map((key) => key.publicKey);
  return new MultiKeyAccount({ multiKey: new MultiKey({ publicKeys, signaturesRequired }), signers });
}

for (const chosen of [[0, 1], [1, 2], [2, 0]])
  test("signers", `keys ${chosen} of three sign`, async (w) => {
    const keys = threeKeys();
    const signers = chosen.map((index) => keys[index]);
    const account = await w.fund(multiKeyAccount(keys, signers, 2), PURSE);
    const done = await w.pay(account, w.fresh(), 4);
    equal([done.success, done.signature.type], [true, "multi_key_signature"]);
  });

test("signers", "one of three keys of the old multi scheme signs", async (w) => {
  const privateKeys = [0, 1, 2].map(() => Ed25519PrivateKey.generate());
  const publicKeys = privateKeys.map((key) => key.publicKey());
  const publicKey = new MultiEd25519PublicKey({ publicKeys, threshold: 1 });
  const signers = [privateKeys[2]];
  const account = await w.fund(new MultiEd25519Account({ publicKey, signers }), PURSE);
  const done = await w.pay(account, w.fresh(), 4);
  equal([done.success, done.signature.type], [true, "multi_ed25519_signature"]);
});

test("signers", "a script is refused in so many words", async (w) => {
  const data = { bytecode: "0x01", functionArguments: [] };
  const sender = w.me.accountAddress;
  const transaction = await w.aptos.transaction.build.simple({ sender, data });
  await refused(w.send(w.me, transaction), 400, "scripts are not supported");
});

// ---- simulation

async function simulated(w, sender, octas, options) {
  const transaction = await w.transfer(sender, w.fresh(), octas);
  const signerPublicKey = sender.publicKey;
  const [result] = await w.aptos.transaction.simulate.simple({ signerPublicKey, transaction, options });
  return result;
}

test("simulate", "an outcome, events and changes without effect", async (w) => {
  const alice = await w.funded(PURSE);
  const result = await simulated(w, alice, 5);
  equal([result.success, result.vm_status], [true, "Executed successfully"]);
  holds(result.events.length > 0 && result.changes.length > 0, "no effects");
  equal([await w.balance(alice.accountAddress), await w.next(alice)], [PURSE, "0"]);
});

test("simulate", "gas is estimated", async (w) => {
  const options = { estimateGasUnitPrice: true, estimateMaxGasAmount: true };
  const result = await simulated(w, await w.funded(PURSE), 5, options);
  equal([result.max_gas_amount, result.gas_unit_price], ["2000000", "100"]);
});

test("simulate", "without a public key", async (w) => {
  const transaction = await w.transfer(await w.funded(PURSE), w.fresh(), 5);
  const [result] = await w.aptos.transaction.simulate.simple({ transaction });
  equal(result.success, true);
});

test("simulate", "an abort is answered", async (w) => {
  const result = await simulated(w, await w.funded(PURSE), 2 * PURSE);
  equal(result.success, false);
  contains(result.vm_status, "EINSUFFICIENT_BALANCE");
});

test("simulate", "with a payer", async (w) => {
  const [poor, payer] = [await w.funded(5), await w.funded(PURSE)];
  const transaction = await w.aptos.transaction.build.simple({
    sender: poor.accountAddress,
    data: { function: "0x1::aptos_account::transfer", functionArguments: [w.fresh(), 5] },
    withFeePayer: true,
  });
  transaction.feePayerAddress = payer.accountAddress;
  const [result] = await w.aptos.transaction.simulate.simple({
    signerPublicKey: poor.publicKey,
    feePayerPublicKey: payer.publicKey,
    transaction,
  });
  equal(result.success, true);
});

test("simulate", "with two signers", async (w) => {
  const other = await w.funded(1);
  const transaction = await w.aptos.transaction.build.multiAgent({
    sender: w.me.accountAddress,
    secondarySignerAddresses: [other.accountAddress],
    data: { function: w.probe("together"), functionArguments: [1] },
  });
  const [result] = await w.aptos.transaction.simulate.multiAgent({
    signerPublicKey: w.me.publicKey,
    secondarySignersPublicKeys: [other.publicKey],
    transaction,
  });
  equal(result.success, true);
});

test("simulate", "a multi-key account's transaction", async (w) => {
  const keys = threeKeys();
  const account = await w.fund(multiKeyAccount(keys, keys.slice(0, 2), 2), PURSE);
  equal((await simulated(w, account, 5)).success, true);
});

run();
