"""Writes the golden vectors of signed messages, or with --check fails if the file is not what it
would write. Python's standard library alone; the readers in Rust, Move, Python and JavaScript
make the same bytes from their own types."""

import hashlib
import json
import sys

from check import L, P, decompress, encode, multiply

ABOUT = (
    "Messages signed by the well-known localnet key. Written by scripts/vectors/generate.py; "
    "envelope and body list [field, kind, value]; see scripts/vectors/check.py for the kinds. "
    "The variant of an enum is a u8, a list of variants is bytes."
)
SEED = hashlib.sha3_256(b"cactus::localnet::admin").digest()


def compress(point):
    x, y = point
    return (y | (x & 1) << 255).to_bytes(32, "little")


class Key:
    """An ed25519 key as RFC 8032 makes it from a seed."""

    def __init__(self, seed):
        digest = hashlib.sha512(seed).digest()
        self.base = decompress((4 * pow(5, -1, P) % P).to_bytes(32, "little"))
        clamped = int.from_bytes(digest[:32], "little") & (2**254 - 8) | 2**254
        self.secret, self.prefix = clamped, digest[32:]
        self.public = compress(multiply(self.base, clamped))

    def sign(self, message):
        def number(*parts):
            return int.from_bytes(hashlib.sha512(b"".join(parts)).digest(), "little") % L

        r = number(self.prefix, message)
        commitment = compress(multiply(self.base, r))
        s = (r + number(commitment, self.public, message) * self.secret) % L
        return commitment + s.to_bytes(32, "little")


KEY = Key(SEED)
NODE = KEY.public.hex()
# The account of the key: SHA3-256 of the public key and the scheme's byte.
CONTRACT = hashlib.sha3_256(KEY.public + b"\0").hexdigest()
SERVER, OPERATOR, OBJECT = (f"{last:064x}" for last in (0x5E1, 0x0C1, 0xC4A))


def fill(byte, count=32):
    return f"{byte:02x}" * count


def of_contract(module, name):
    """What a contract puts before a message: its own address and the struct's name."""
    text = [["module", "bytes", module.encode().hex()], ["name", "bytes", name.encode().hex()]]
    return [["account", "fixed", CONTRACT], *text]


def of_network(purpose):
    """What servers and nodes put before theirs."""
    domain = ["domain", "string", f"cactus::{purpose}::v1"]
    return [domain, ["chain_id", "u8", 4], ["contract", "fixed", CONTRACT]]


PRICE = ["price", "struct", [["prompt", "u64", 500], ["output", "u64", 1500]]]


def offer(name, kind, features):
    head = [["id", "string", name], ["revision", "fixed", fill(5)], ["context_length", "u32", 512]]
    return [*head, PRICE, *kind, ["features", "bytes", features]]


CHAT = [["kind", "u8", 0]]
EMBEDDING = [["kind", "u8", 1], ["dimensions", "u32", 384]]
ADVERT = [
    ["models", "vector", [offer("sprout", CHAT, "0001"), offer("minilm", EMBEDDING, "")]],
    ["slots", "u16", 4],
    ["queue", "u16", 8],
    ["region", "string", "eu-west é"],
]
GPU = [["name", "string", "H200"], ["memory_bytes", "u64", 150754820096], ["driver", "string", "570.1"]]
HARDWARE = [
    ["cpu", "string", "cpu"],
    ["cores", "u16", 16],
    ["memory_bytes", "u64", 137438953472],
    ["gpus", "vector", [GPU]],
]

MESSAGES = {
    "Order": (of_contract("payment", "Order"), [
        ["chain_id", "u8", 4],
        ["client", "fixed", CONTRACT],
        ["server", "fixed", SERVER],
        ["order_id", "bytes", fill(1)],
        ["max_total", "u64", 600],
        ["max_per_task", "u64", 300],
        ["expires_seconds", "u64", 1700001000],
    ]),
    "NodeKeyProof": (of_contract("registry", "NodeKeyProof"), [
        ["chain_id", "u8", 4],
        ["operator", "fixed", OPERATOR],
        ["node_public_key", "bytes", NODE],
    ]),
    "Voucher": (of_contract("channel", "Voucher"), [
        ["chain_id", "u8", 4],
        ["channel", "fixed", OBJECT],
        ["payee", "fixed", SERVER],
        ["cumulative", "u64", 700],
    ]),
    "Invite": (of_contract("invite", "Invite"), [
        ["chain_id", "u8", 4],
        ["pool", "fixed", OBJECT],
        ["operator", "fixed", OPERATOR],
        ["node_public_key", "bytes", NODE],
        ["nonce", "bytes", fill(1)],
        ["expires_seconds", "u64", 1700001000],
    ]),
    "RequestClaim": (of_network("request"), [
        ["client", "fixed", CONTRACT],
        ["server", "fixed", SERVER],
        ["method", "string", "POST"],
        ["path", "string", "/v1/chat/completions"],
        ["body_hash", "fixed", fill(2)],
        ["nonce", "fixed", fill(3, 16)],
        ["time_ms", "u64", 1700000000123],
    ]),
    "Hello": (of_network("hello"), [
        ["protocol_version", "u16", 2],
        ["nonce", "fixed", fill(4)],
        ["server", "fixed", SERVER],
        ["operator", "fixed", OPERATOR],
        ["node", "bytes", NODE],
        ["advert", "struct", ADVERT],
        ["hardware", "struct", HARDWARE],
        ["software", "string", "cactus-orchestrator 0.1.0"],
    ]),
    "Receipt": (of_network("receipt"), [
        ["task_id", "fixed", fill(6)],
        ["server", "fixed", SERVER],
        ["operator", "fixed", OPERATOR],
        ["node", "bytes", NODE],
        ["model", "string", "sprout"],
        ["model_revision", "fixed", fill(5)],
        ["request_hash", "fixed", fill(7)],
        ["output_hash", "fixed", fill(8)],
        ["prompt_tokens", "u32", 21],
        ["output_tokens", "u32", 34],
        ["started_ms", "u64", 1700000000456],
        ["ttft_ms", "u32", 55],
        ["total_ms", "u32", 890],
        ["delegate", "none", None],
        ["evidence_root", "fixed", fill(0)],
        PRICE,
    ]),
}


def written():
    """The file's text: one field per line."""

    def line(value):
        return json.dumps(value, ensure_ascii=False)

    def fields(key, all_fields):
        lines = ",\n".join("        " + line(field) for field in all_fields)
        return f'      "{key}": [\n{lines}\n      ]'

    messages = []
    for name, (envelope, body) in MESSAGES.items():
        message = encode("struct", envelope + body)
        parts = [f'      "name": {line(name)}', fields("envelope", envelope), fields("body", body)]
        parts.append(f'      "signed_bytes": "{message.hex()}"')
        parts.append(f'      "signature": "{KEY.sign(message).hex()}"')
        messages.append("    {\n" + ",\n".join(parts) + "\n    }")
    head = f'{{\n  "about": {line(ABOUT)},\n  "public_key": "{NODE}",\n  "messages": [\n'
    return head + ",\n".join(messages) + "\n  ]\n}\n"


def main(path, check):
    text = written()
    if not check:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return
    with open(path, encoding="utf-8") as file:
        assert file.read() == text, f"{path} is not what scripts/vectors/generate.py writes"
    print(f"generator: {len(MESSAGES)} vectors are current")


if __name__ == "__main__":
    main(sys.argv[-1], "--check" in sys.argv[1:-1])
