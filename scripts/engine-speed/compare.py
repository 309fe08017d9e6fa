"""Two engines on the same files, taking turns: tokens per second by the clock and of processor time.

The machine may have other work: what counts is the ratio of turns that follow each other. Both
processes read what to do line by line and are measured from outside, in the same way.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import random_gguf
from llama_cpp import load

HERE = Path(__file__).parent
WHEEL = "xllamacpp/xllamacpp.abi3.so"
# Streams and steps of decoding.
DECODES = [(1, 24), (4, 12), (16, 6), (64, 2)]
PROMPT = 8


class Process:
    """An engine that waits for commands."""

    def __init__(self, *words):
        self.process = subprocess.Popen(
            [str(word) for word in words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.expect("ready")

    def expect(self, word):
        line = self.process.stdout.readline().strip()
        if line != word:
            raise SystemExit(f"{self.process.args} said {line!r}, not {word!r}")

    def say(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        self.expect("done")

    def busy(self):
        """Seconds that its threads were on a processor."""
        times = Path(f"/proc/{self.process.pid}/task").glob("*/schedstat")
        return sum(int(path.read_text().split()[0]) for path in times) / 1e9

    def resident(self):
        """Bytes of memory, without pages of files that the system could drop."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        lines = dict(line.split(":", 1) for line in status.splitlines())
        kilobytes = lambda name: int(lines[name].split()[0])
        return {"all": 1024 * kilobytes("VmRSS"), "private": 1024 * kilobytes("RssAnon")}

    def timed(self, command):
        busy, started = self.busy(), time.perf_counter()
        self.say(command)
        return {"clock": time.perf_counter() - started, "processor": self.busy() - busy}

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def turn(process, streams, steps):
    """Seconds per token; no stream means a prompt of `steps` tokens."""
    if streams == 0:
        taken, tokens = process.timed(f"prefill {steps}"), steps
    else:
        process.say(f"prepare {streams} {PROMPT}")
        taken, tokens = process.timed(f"decode {steps}"), streams * steps
    return {key: seconds / tokens for key, seconds in taken.items()}


def compared(engines, streams, steps, turns):
    """Medians of tokens per second, and of the ratio ours ⁄ theirs, with its spread."""
    rows = []
    for number in range(turns):
        order = list(engines) if number % 2 == 0 else list(engines)[::-1]
        taken = {name: turn(engines[name], streams, steps) for name in order}
        rows.append(taken)
    result = {"measure": f"prefill {steps}" if streams == 0 else f"decode × {streams}"}
    for clock in ("clock", "processor"):
        ratios = sorted(row["llama.cpp"][clock] / row["cactus"][clock] for row in rows)
        result[clock] = {
            **{name: round(statistics.median(1 / row[name][clock] for row in rows), 1) for name in engines},
            "ratio": round(statistics.median(ratios), 2),
            "spread": [round(ratios[0], 2), round(ratios[-1], 2)],
        }
    return result


def print_rows(form, threads, results):
    for result in results:
        clock, processor = result["clock"], result["processor"]
        print(
            f"{form:5} {threads} threads  {result['measure']:12}"
            f"  clock {clock['cactus']:9.1f} {clock['llama.cpp']:9.1f}  ratio {clock['ratio']:5.2f} {clock['spread']}"
            f"  processor {processor['cactus']:9.1f} {processor['llama.cpp']:9.1f}  ratio {processor['ratio']:5.2f} {processor['spread']}",
            file=sys.stderr,
            flush=True,
        )


def measure(options, file, form, threads):
    ours = Process(options.engine, file, threads)
    theirs = Process(sys.executable, HERE / "llama_cpp.py", options.library, file, threads)
    engines = {"cactus": ours, "llama.cpp": theirs}
    small = options.quick
    for engine in engines.values():
        turn(engine, 4, 1)
    prompt = 64 if small else 512
    plan = [(0, prompt)] + [(streams, 1 if small else steps) for streams, steps in DECODES]
    results = [compared(engines, streams, steps, options.turns) for streams, steps in plan]
    memory = {name: engine.resident() for name, engine in engines.items()}
    for engine in engines.values():
        engine.end()
    print_rows(form, threads, results)
    return {"format": form, "threads": threads, "file_bytes": file.stat().st_size, "memory": memory, "results": results}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", required=True, type=Path)
    parser.add_argument("--library", help="a build of libllama; else the one in the wheel xllamacpp")
    parser.add_argument("--formats", nargs="+", default=["F16", "BF16", "Q8_0", "Q4_K"])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2], help="with more than are free, the figures of llama.cpp collapse")
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="a small model and one turn, to show that it works")
    options = parser.parse_args()
    wheels = [Path(folder) / WHEEL for folder in sys.path if (Path(folder) / WHEEL).exists()]
    options.library = options.library or wheels[0]
    if options.quick:
        options.formats, options.threads, options.turns = ["F16", "Q4_K"], [1], 1
    sizes = random_gguf.SMALL if options.quick else random_gguf.LARGE
    folder = Path("target/bench") / ("llama-small" if options.quick else "llama-152m")
    quantiser, runs = load(str(wheels[0])), []
    load_before = os.getloadavg()
    for form in options.formats:
        file = folder / f"{form.lower()}.gguf"
        random_gguf.write(file, form, sizes, quantiser)
        runs += [measure(options, file, form, threads) for threads in options.threads]
    document = {"library": str(options.library), "load_before": load_before, "load_after": os.getloadavg(), "runs": runs}
    print(json.dumps(document))


if __name__ == "__main__":
    main()
