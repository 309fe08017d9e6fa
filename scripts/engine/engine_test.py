"""Sells a llama.cpp server through chain, routing server and orchestrator as separate processes.

Usage: engine_test.py DIRECTORY_OF_BINARIES MODEL

Each check is one line; a failed one does not stop the others. Never uses a fixed port.
"""

import json
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "daemons"))
from world import Failure, World, clean_environment, free_port  # noqa: E402

MODEL = "sprout-llama"
CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


class EngineWorld(World):
    def __init__(self, binaries, model, home):
        super().__init__(binaries, model, home)
        self.gguf, self.port = home / "sprout.gguf", free_port()

    def start_engine(self):
        self.engine = self.start("engine", sys.executable, HERE / "llama_server.py", self.gguf, self.port)

    def start_node(self):
        words = [
            "--router", self.router_url, "--chain-url", self.chain_url, "--faucet-url", self.faucet_url,
            "--data-dir", self.folder("node"), "--stake", "2 APT", "--heartbeat", "1",
            "--engine-url", f"http://127.0.0.1:{self.port}/v1", "--model", MODEL,
        ]
        binary = self.binaries / "cactus-orchestrator"
        checked = subprocess.run(
            [str(binary), "check", *map(str, words)],
            capture_output=True, text=True, timeout=20, env=clean_environment(), check=True,
        )
        self.node = self.start("node", binary, "--log-format", "json", *words)
        self.operators[json.loads(checked.stdout)["operator"]] = self.node

    def body(self, question, **more):
        messages = [{"role": "user", "content": question}]
        return {"model": MODEL, "messages": messages, "max_tokens": 64, "temperature": 0, **more}

    def status_of(self, question):
        response = self.request("POST", "/v1/chat/completions", self.body(question))
        response.read()
        return response.status

    def chat(self, question, **more):
        response = self.request("POST", "/v1/chat/completions", self.body(question, **more))
        if response.status != 200:
            raise Failure(f"{response.status}: {response.read().decode()}")
        return response


@check
def the_network_stands_and_the_node_waits_for_its_engine(world):
    subprocess.run([sys.executable, HERE / "gguf_of.py", world.model, world.gguf], check=True)
    world.start_chain()
    world.start_router()
    world.until("the server's description", lambda: world.get("/v1/server")[0] == 200)
    world.cactus("admin", "authorize-server", world.get("/v1/server")[1]["server"])
    world.until("the authorisation", lambda: world.get("/readyz")[1].get("authorized"))
    world.start_node()
    world.until("the node's patience", lambda: "waiting for the engine" in world.node.text())


@check
def the_engine_is_found_tried_and_offered(world):
    world.start_engine()
    world.until("the engine", lambda: "engine found" in world.node.text())
    features = next(line for line in world.node.text().splitlines() if "engine found" in line)
    for feature in ("TokenIds", "Logprobs", "TextPrompt", "JsonObject", "JsonSchema"):
        assert feature in features, features
    (operator,) = world.operators
    world.cactus("admin", "admit-operator", operator, "--wait", "20")
    world.until("the linked node", lambda: world.get("/readyz")[1]["nodes"] == 1)
    assert world.get("/v1/models")[1]["data"][0]["id"] == MODEL


@check
def a_question_is_answered_verified_and_paid(world):
    world.cactus("wallet", "create")
    world.cactus("faucet", "10")
    world.cactus("deposit", "5")
    world.api_key = world.cactus("key", "create", "--budget", "1")["api_key"]
    answer = world.ask("What is 12 + 30?")
    assert "42" in answer["choices"][0]["message"]["content"], answer
    usage = answer["usage"]
    assert usage["prompt_tokens"] > 5 and usage["completion_tokens"] > 3, usage
    assert world.settled(answer["cactus"]["task"])["verdict"] == "verified"


@check
def a_stream_says_the_same(world):
    whole = world.ask("What is 3 + 4?")["choices"][0]["message"]["content"]
    pieces = []
    for event in world.stream("What is 3 + 4?").events():
        if event != "[DONE]":
            choices = json.loads(event).get("choices") or [{}]
            pieces.append(choices[0].get("delta", {}).get("content") or "")
    assert len(pieces) > 3 and "".join(pieces) == whole, (pieces, whole)


@check
def log_probabilities_and_seeds_and_stops_come_through(world):
    more = {"logprobs": True, "top_logprobs": 2, "stop": ["4"]}
    choice = json.loads(world.chat("What is 12 + 30?", **more).read())["choices"][0]
    assert "4" not in choice["message"]["content"] and choice["finish_reason"] == "stop", choice
    tokens = choice["logprobs"]["content"]
    assert tokens and all(token["logprob"] <= 0 and len(token["top_logprobs"]) == 2 for token in tokens), tokens
    ask = lambda seed: json.loads(world.chat("Tell me a story.", temperature=1, seed=seed).read())["choices"][0]["message"]
    assert ask(7) == ask(7)
    assert len({ask(seed)["content"] for seed in range(8, 14)}) > 1


@check
def json_is_json(world):
    schema = {"type": "object", "properties": {"sum": {"type": "integer"}}, "required": ["sum"], "additionalProperties": False}
    form = {"type": "json_schema", "json_schema": {"name": "sum", "strict": True, "schema": schema}}
    choice = json.loads(world.chat("What is 2 + 2?", response_format=form).read())["choices"][0]
    assert choice["finish_reason"] == "length" or isinstance(json.loads(choice["message"]["content"])["sum"], int), choice


@check
def a_plain_completion_goes_through(world):
    body = {"model": MODEL, "prompt": "<|bos|><|user|>What is 12 + 30?<|end|><|assistant|>", "max_tokens": 32, "temperature": 0}
    response = world.request("POST", "/v1/completions", body)
    answer = json.loads(response.read())
    assert response.status == 200 and "42" in answer["choices"][0]["text"], answer


@check
def a_client_that_leaves_pays_for_what_it_got_and_the_engine_stops(world):
    stream = world.stream("Count from 1 to 10.")
    stream.first_text()
    task = stream.task_id
    stream.response.close()
    assert world.final(task)["state"] in ("settled", "refunded")
    world.until("the idle engine", lambda: world.ask("What is 1 + 1?")["choices"])


@check
def a_dead_engine_is_not_offered_and_nobody_is_blamed(world):
    world.engine.kill()
    world.until("the refusal", lambda: world.status_of("What is 1 + 1?") == 429)
    assert "the engine is away" in world.node.text() or "cannot take a request" in world.node.text()
    assert world.get("/readyz")[1]["nodes"] == 1, "the node itself is there"


@check
def it_is_offered_again_once_it_is_back(world):
    world.start_engine()
    world.until("the engine", lambda: world.status_of("What is 1 + 1?") == 200)
    assert "the engine is back" in world.node.text()


def main(binaries, model):
    failed = 0
    with tempfile.TemporaryDirectory() as home:
        world = EngineWorld(Path(binaries).resolve(), Path(model).resolve(), Path(home))
        try:
            for step in CHECKS:
                try:
                    step(world)
                    print(f"ok      {step.__name__.replace('_', ' ')}", flush=True)
                except Exception:
                    failed += 1
                    print(f"FAILED  {step.__name__.replace('_', ' ')}\n{traceback.format_exc()}", flush=True)
            if failed:
                world.print_logs()
        finally:
            world.kill_all()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
