"""Checks the golden vectors of signed messages with Python's standard library alone: BCS bytes and
strict ed25519 signatures (RFC 8032)."""

import hashlib
import json
import sys

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
ROOT = pow(2, (P - 1) // 4, P)


def uleb128(number):
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(out + bytes([number]))


def encode(kind, value):
    """BCS of a value. Kinds: u8 u16 u32 u64, fixed (hex), bytes (hex), string, none, struct, vector
    of structs; a struct is a list of [name, kind, value]."""
    if kind in ("u8", "u16", "u32", "u64"):
        return int(value).to_bytes(int(kind[1:]) // 8, "little")
    if kind == "fixed":
        return bytes.fromhex(value)
    if kind == "bytes":
        return uleb128(len(value) // 2) + bytes.fromhex(value)
    if kind == "string":
        return uleb128(len(value.encode())) + value.encode()
    if kind == "none":
        return b"\0"
    if kind == "struct":
        return b"".join(encode(kind, value) for _, kind, value in value)
    if kind == "vector":
        return uleb128(len(value)) + b"".join(encode("struct", item) for item in value)
    raise ValueError(kind)


def decompress(data):
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & (2**255 - 1)
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * ROOT % P
    if y >= P or x * x % P != square or (x == 0 and sign):
        raise ValueError("not a point")
    return (P - x if x & 1 != sign else x), y


def add(a, b):
    (x1, y1), (x2, y2) = a, b
    product = D * x1 * x2 * y1 * y2 % P
    x = (x1 * y2 + x2 * y1) * pow(1 + product, -1, P) % P
    y = (y1 * y2 + x1 * x2) * pow(1 - product, -1, P) % P
    return x, y


def multiply(point, number):
    result = (0, 1)
    while number:
        if number & 1:
            result = add(result, point)
        point = add(point, point)
        number >>= 1
    return result


def verify(public_key, message, signature):
    base = decompress((4 * pow(5, -1, P) % P).to_bytes(32, "little"))
    s = int.from_bytes(signature[32:], "little")
    digest = hashlib.sha512(signature[:32] + public_key + message).digest()
    k = int.from_bytes(digest, "little") % L
    right = add(decompress(signature[:32]), multiply(decompress(public_key), k))
    return s < L and multiply(base, s) == right


def main(path):
    with open(path, encoding="utf-8") as file:
        vectors = json.load(file)
    public_key = bytes.fromhex(vectors["public_key"])
    for vector in vectors["messages"]:
        name = vector["name"]
        message = encode("struct", vector["envelope"] + vector["body"])
        assert message.hex() == vector["signed_bytes"], f"{name}: other bytes"
        signature = bytes.fromhex(vector["signature"])
        assert verify(public_key, message, signature), f"{name}: the signature is wrong"
        changed = message[:-1] + bytes([message[-1] ^ 1])
        assert not verify(public_key, changed, signature), f"{name}: any message would do"
    print(f"python: {len(vectors['messages'])} vectors hold")


if __name__ == "__main__":
    main(sys.argv[1])
