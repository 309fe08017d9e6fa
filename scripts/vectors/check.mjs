// @ts-check
// Checks the golden vectors of signed messages with Node's standard library alone: BCS bytes and
// ed25519 signatures.
import assert from "node:assert/strict";
import { createPublicKey, verify } from "node:crypto";
import { readFileSync } from "node:fs";

/** @typedef {[name: string, kind: string, value: any]} Field */

/** @param {number} number */
function uleb128(number) {
  const bytes = [];
  for (; number >= 0x80; number = Math.floor(number / 128)) bytes.push((number & 0x7f) | 0x80);
  return Buffer.from([...bytes, number]);
}

/** @param {Buffer} bytes */
function withLength(bytes) {
  return Buffer.concat([uleb128(bytes.length), bytes]);
}

/**
 * BCS of a value; the kinds are those of check.py.
 * @param {string} kind
 * @param {any} value
 * @returns {Buffer}
 */
function encode(kind, value) {
  switch (kind) {
    case "u8": case "u16": case "u32": case "u64": {
      const bytes = Buffer.alloc(8);
      bytes.writeBigUInt64LE(BigInt(value));
      return bytes.subarray(0, Number(kind.slice(1)) / 8);
    }
    case "fixed": return Buffer.from(value, "hex");
    case "bytes": return withLength(Buffer.from(value, "hex"));
    case "string": return withLength(Buffer.from(value, "utf8"));
    case "none": return Buffer.from([0]);
    case "struct": return Buffer.concat(value.map((/** @type {Field} */ [, kind, value]) => encode(kind, value)));
    case "vector":
      return Buffer.concat([uleb128(value.length), ...value.map((/** @type {Field[]} */ item) => encode("struct", item))]);
    default: throw new Error(kind);
  }
}

const vectors = JSON.parse(readFileSync(process.argv[2], "utf8"));
// The fixed head of an ed25519 key in DER (RFC 8410).
const der = Buffer.from("302a300506032b6570032100" + vectors.public_key, "hex");
const key = createPublicKey({ key: der, format: "der", type: "spki" });
for (const { name, envelope, body, signed_bytes, signature } of vectors.messages) {
  const message = encode("struct", [...envelope, ...body]);
  assert.equal(message.toString("hex"), signed_bytes, `${name}: other bytes`);
  const proof = Buffer.from(signature, "hex");
  assert(verify(null, message, key, proof), `${name}: the signature is wrong`);
  message[message.length - 1] ^= 1;
  assert(!verify(null, message, key, proof), `${name}: any message would do`);
}
console.log(`javascript: ${vectors.messages.length} vectors hold`);
