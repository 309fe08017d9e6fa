#!/usr/bin/env python3
"""Compiles probe.move into the bytecode beside it, with the contracts' own toolchain (built by `cargo xtask`).

    scripts/sdk/probe/build.py LIBCOMPILER [--check]

The module is compiled for a placeholder address; the suites put their own account's in its place.
"""

import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
PLACEHOLDER = "c0ffee" * 10 + "c0ff"
METADATA_TABLE, VIEW, EVENT = 0x10, 1, 4
# The same module, after a compatible change and after one that drops a function.
VARIANTS = {
    "probe": lambda text: text,
    "probe_next": lambda text: text.replace("VERSION: u64 = 1", "VERSION: u64 = 2"),
    "probe_broken": lambda text: text.replace("fun pair(", "fun another_pair("),
}


def uleb(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(out) + bytes([number])


def text(value: str) -> bytes:
    return uleb(len(value)) + value.encode()


def compile_module(library: str, source: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        stage = pathlib.Path(folder)
        for name in ("framework", "probe"):
            (stage / name / "sources").mkdir(parents=True)
        framework = ROOT / "crates/localnet/framework"
        shutil.copy(framework / "Move.toml", stage / "framework")
        for path in (framework / "sources").glob("*.move"):
            shutil.copy(path, stage / "framework/sources")
        (stage / "probe/sources/probe.move").write_text(source)
        (stage / "probe/Move.toml").write_text(
            '[package]\nname = "probe"\nversion = "1.0.0"\n'
            f'[addresses]\nprobe = "0x{PLACEHOLDER}"\n'
            '[dependencies]\nAptosFramework = { local = "../framework" }\n'
        )
        xtask = [str(ROOT / "target/debug/xtask"), "contracts", "compile", library, str(stage / "probe")]
        subprocess.run(xtask, cwd=ROOT, check=True)
        return (stage / "probe/build/probe/bytecode_modules/probe.mv").read_bytes()


def metadata(source: str) -> bytes:
    """BCS of Aptos' RuntimeModuleMetadataV1, which the offline compiler does not write."""
    codes = re.findall(r"/// (.*)\n    const (E\w+): u64 = (\d+);", source)
    views = re.findall(r"#\[view\]\n(?:    ///.*\n)*    public fun (\w+)", source)
    events = re.findall(r"#\[event\]\n    struct (\w+)", source)

    def in_order(entries: dict[bytes, bytes]) -> bytes:
        # BCS orders maps by the bytes of their keys.
        return uleb(len(entries)) + b"".join(key + entries[key] for key in sorted(entries))

    def marked(names: list[str], kind: int) -> bytes:
        return in_order({text(name): bytes([1, kind, 0]) for name in names})

    errors = {int(n).to_bytes(8, "little"): text(name) + text(doc) for doc, name, n in codes}
    value = in_order(errors) + marked(events, EVENT) + marked(views, VIEW)
    return text("aptos::metadata_v1") + uleb(len(value)) + value


def with_metadata(module: bytes, content: bytes) -> bytes:
    """The module with `content` as its metadata table."""
    position = 8

    def number() -> int:
        nonlocal position
        value = shift = 0
        while True:
            byte = module[position]
            position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    ranges = []
    for _ in range(number()):
        kind = module[position]
        position += 1
        ranges.append((kind, number(), number()))
    start, end = position, position + max(offset + length for _, offset, length in ranges)
    tables = [(k, module[start + o : start + o + n]) for k, o, n in ranges if k != METADATA_TABLE]
    tables.append((METADATA_TABLE, content))
    head, offset = module[:8] + uleb(len(tables)), 0
    for kind, table in tables:
        head += bytes([kind]) + uleb(offset) + uleb(len(table))
        offset += len(table)
    return head + b"".join(table for _, table in tables) + module[end:]


def main() -> None:
    library, check = sys.argv[1], "--check" in sys.argv
    source = (HERE / "probe.move").read_text()
    for name, change in VARIANTS.items():
        changed = change(source)
        module = with_metadata(compile_module(library, changed), metadata(changed))
        path = HERE / f"{name}.mv"
        if not check:
            path.write_bytes(module)
        elif path.read_bytes() != module:
            sys.exit(f"{path.name} is not what probe.move compiles to")


main()
