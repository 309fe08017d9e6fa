#!/usr/bin/env python3
"""Starts a localnet, runs the suites of the three SDKs against it and prints one table.

    run.py CACTUS PYTHON NODE_SUITE RUST_SUITE [--only SDK]

A suite gets the chain's URLs as arguments and prints one JSON object per case:
{"area", "name", "ok", "detail"}. It must end with the line "end".
"""

import collections
import json
import os
import pathlib
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
SUITE_SECONDS = 120


def start(cactus: str) -> tuple[subprocess.Popen, dict]:
    command = [cactus, "localnet", "--port", "0", "--json"]
    quiet = {**os.environ, "RUST_LOG": "warn"}
    chain = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=quiet)
    return chain, json.loads(chain.stdout.readline())


def suite(name: str, command: list[str]) -> list[dict]:
    """The cases of one suite; one that breaks off is one failed case more."""
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, text=True, timeout=SUITE_SECONDS, check=False
        )
        lines, ended = done.stdout.splitlines(), done.returncode == 0
    except subprocess.TimeoutExpired as late:
        lines, ended = (late.stdout or b"").decode().splitlines(), False
    cases = [json.loads(line) for line in lines if line.startswith("{")]
    if not ended or "end" not in lines:
        cases.append({"area": "suite", "name": "runs to its end", "ok": False, "detail": ""})
    return [{"sdk": name, **case} for case in cases]


def table(cases: list[dict], names: list[str]) -> None:
    areas: dict = collections.OrderedDict()
    for case in cases:
        passed, failed = areas.setdefault(case["area"], {}).get(case["sdk"], (0, 0))
        areas[case["area"]][case["sdk"]] = (passed + case["ok"], failed + (not case["ok"]))

    def cell(counts: tuple[int, int]) -> str:
        return f"{counts[0]}" if not counts[1] else f"{counts[0]}, {counts[1]} failed"

    print("\n" + "case".ljust(22) + "".join(name.rjust(16) for name in names))
    for area, row in areas.items():
        cells = [cell(row[name]) if name in row else "" for name in names]
        print(area.ljust(22) + "".join(text.rjust(16) for text in cells))


def main() -> None:
    cactus, python, node, rust = sys.argv[1:5]
    only = sys.argv[6] if "--only" in sys.argv else None
    suites = {
        "python 0.11": [python, str(HERE / "suite.py")],
        "typescript 7": ["node", node],
        "rust 0.8": [rust],
    }
    suites = {name: command for name, command in suites.items() if not only or only in name}
    chain, ready = start(cactus)
    cases: list[dict] = []
    try:
        for name, command in suites.items():
            began = time.monotonic()
            urls = [ready["chain"], ready["faucet"], ready["contract"], str(HERE)]
            found = suite(name, command + urls)
            cases += found
            print(f"{name}: {len(found)} cases in {time.monotonic() - began:.1f} s", flush=True)
        if chain.poll() is not None:
            cases.append({"sdk": "-", "area": "chain", "name": "lives", "ok": False, "detail": ""})
    finally:
        chain.terminate()
        chain.wait(timeout=20)
    for case in cases:
        if not case["ok"]:
            print(f"FAILED {case['sdk']} | {case['area']} | {case['name']}: {case['detail']}")
    table(cases, list(suites))
    failed = sum(not case["ok"] for case in cases)
    print(f"\n{len(cases) - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


main()
