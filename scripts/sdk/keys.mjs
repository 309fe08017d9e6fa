// What the TypeScript suite tries with keys that change, objects that change hands and
// transactions in JSON.

import { Account, SigningSchemeInput, createObjectAddress } from "@aptos-labs/ts-sdk";
import { APT, contains, equal, refused, test } from "./world.mjs";

const PURSE = 5 * APT;

test("keys", "an account changes its key and keeps its address", async (w) => {
  const [old, next, bob] = [await w.funded(PURSE), Account.generate(), w.fresh()];
  const toNewPrivateKey = next.privateKey;
  const rotation = await w.aptos.rotateAuthKey({ fromAccount: old, toNewPrivateKey });
  equal((await w.send(old, rotation)).success, true);
  await refused(w.pay(old, bob, 9), 400, "INVALID_AUTH_KEY");
  const address = old.accountAddress;
  const renewed = Account.fromPrivateKey({ privateKey: next.privateKey, address });
  equal((await w.pay(renewed, bob, 9)).success, true);
  equal(await w.balance(bob), 9);
});

test("keys", "an account is found by its new key", async (w) => {
  const [old, next] = [await w.funded(PURSE), Account.generate()];
  const toNewPrivateKey = next.privateKey;
  await w.send(old, await w.aptos.rotateAuthKey({ fromAccount: old, toNewPrivateKey }));
  const authenticationKey = next.publicKey.authKey().derivedAddress();
  const found = await w.aptos.lookupOriginalAccountAddress({ authenticationKey });
  equal(found.toString(), old.accountAddress.toString());
});

test("keys", "a key of another scheme without a proof", async (w) => {
  const scheme = SigningSchemeInput.Secp256k1Ecdsa;
  const [old, next, bob] = [await w.funded(PURSE), Account.generate({ scheme }), w.fresh()];
  const toNewPublicKey = next.publicKey;
  const rotation = await w.aptos.rotateAuthKeyUnverified({ fromAccount: old, toNewPublicKey });
  equal((await w.send(old, rotation)).success, true);
  const address = old.accountAddress;
  const renewed = Account.fromPrivateKey({ privateKey: next.privateKey, address });
  equal((await w.pay(renewed, bob, 9)).success, true);
});

async function moveObject(w, sender, object, to) {
  const functionArguments = [object, to];
  const data = { function: "0x1::object::transfer_call", functionArguments };
  const build = w.aptos.transaction.build;
  return w.send(sender, await build.simple({ sender: sender.accountAddress, data }));
}

test("objects", "an object changes hands by its address", async (w) => {
  const [alice, bob, mallory] = [await w.funded(PURSE), w.fresh(), await w.funded(PURSE)];
  await w.call(alice, "draw", [3, 4]);
  const object = createObjectAddress(alice.accountAddress, "shape");
  contains((await moveObject(w, mallory, object, bob)).vm_status, "ENOT_OBJECT_OWNER");
  equal((await moveObject(w, alice, object, bob)).success, true);
  const resourceType = "0x1::object::ObjectCore";
  const core = await w.aptos.getAccountResource({ accountAddress: object, resourceType });
  equal(core.owner, bob.toString());
});

test("json", "a transaction handed in as it was printed", async (w) => {
  const alice = await w.funded(PURSE);
  const transaction = await w.transfer(alice, w.fresh(), 2, { accountSequenceNumber: 1n });
  const { hash } = await w.aptos.signAndSubmitTransaction({ signer: alice, transaction });
  const printed = await w.aptos.getTransactionByHash({ transactionHash: hash });
  const answer = await fetch(`${w.aptos.config.fullnode}/transactions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(printed),
  });
  equal([answer.status, (await answer.json()).hash], [202, hash]);
});
