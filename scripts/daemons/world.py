"""A network of separate processes, and the ways in which a person reaches it.

Only the standard library, so that nothing has to be installed.
"""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import time
import urllib.parse

# The whole run, in seconds. Every wait ends before it does.
RUN_LIMIT = 90
STEP_LIMIT = 25
POLL = 0.03
# Slow enough that a process can be killed in mid-answer.
TOKENS_PER_SECOND = 15


class Failure(Exception):
    """Something did not happen in time, or a command failed."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Daemon:
    """One process. Its standard error goes to a file, which is its log."""

    def __init__(self, name, words, log, env=None):
        self.name, self.log = name, log
        self.start_of_log = log.stat().st_size if log.exists() else 0
        with open(log, "ab") as stderr:
            self.process = subprocess.Popen(
                [str(word) for word in words],
                stdout=subprocess.PIPE,
                stderr=stderr,
                env={**clean_environment(), **(env or {})},
            )

    def send(self, what):
        self.process.send_signal(what)

    def kill(self):
        """As a power failure: no last word."""
        self.process.kill()
        self.process.wait()

    def ended(self):
        """The exit code, once there is one."""
        try:
            return self.process.wait(timeout=STEP_LIMIT)
        except subprocess.TimeoutExpired:
            raise Failure(f"{self.name} does not end") from None

    def text(self):
        return self.log.read_text()[self.start_of_log:]

    def logged(self, words, field):
        """The field of the JSON line that contains these words."""
        for line in self.text().splitlines():
            if words in line:
                return json.loads(line)["fields"][field]
        raise Failure(f"{self.name} did not log {words!r}")


class Stream:
    """A streamed answer, event by event."""

    def __init__(self, response):
        self.response = response
        self.task_id = response.headers["X-Cactus-Task"]

    def events(self):
        for line in self.response:
            if line.startswith(b"data: "):
                yield line[6:].decode().strip()

    def first_text(self):
        for event in self.events():
            choices = json.loads(event).get("choices") or [{}]
            if choices[0].get("delta", {}).get("content"):
                return
        raise Failure("the answer ended before its first text")

    def rest(self):
        return list(self.events())


def clean_environment():
    kept = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH")
    return {name: os.environ[name] for name in kept if name in os.environ}


class World:
    def __init__(self, binaries, model, home):
        self.binaries, self.model, self.home = binaries, model, home
        self.give_up = time.monotonic() + RUN_LIMIT
        self.daemons = []
        self.operators = {}
        self.chain_url = self.router_url = self.server = self.api_key = self.killed = None

    def folder(self, name):
        return self.home / name

    def start(self, name, *words, env=None):
        daemon = Daemon(name, words, self.home / f"{name}.log", env)
        self.daemons.append(daemon)
        return daemon

    # The daemons

    def start_chain(self):
        words = ("localnet", "--json", "--port", "0", "--data-dir", self.folder("chain"))
        self.chain = self.start("chain", self.binaries / "cactus", *words)
        ready = json.loads(self.chain.process.stdout.readline())
        self.chain_url, self.faucet_url = ready["chain"], ready["faucet"]

    def start_router(self, path=""):
        """Configured by file, environment and flag; each overrides something of the one before.
        The path is a part of its public address only."""
        if self.router_url is None:
            self.router_url = f"http://127.0.0.1:{free_port()}"
            self.folder("router.toml").write_text(
                f'listen = "{self.router_url[7:]}"\n'
                f'chain-url = "{self.chain_url}"\n'
                f'faucet-url = "{self.faucet_url}"\n'
                f'data-dir = "{self.folder("of-the-file")}"\n'
                'public-url = "https://of-the-file.example"\n'
            )
        words = ("--config", self.folder("router.toml"), "--public-url", self.router_url + path, "--log-json")
        env = {"CACTUS_ROUTER_DATA_DIR": str(self.folder("router"))}
        self.router = self.start("router", self.binaries / "cactus-router", *words, env=env)

    def run_router(self, *words):
        """A router that is expected to end by itself: its exit code and what it said."""
        done = subprocess.run(
            [str(self.binaries / "cactus-router"), "--listen", "127.0.0.1:0", *map(str, words)],
            capture_output=True, text=True, timeout=STEP_LIMIT, env=clean_environment(),
        )
        return done.returncode, done.stderr

    def start_orchestrator(self, name):
        config = self.folder(f"{name}.toml")
        config.write_text(
            f'router = ["{self.router_url}"]\nmodel = ["{self.model}"]\nstake = "2 APT"\n'
            f'chain-url = "{self.chain_url}"\nfaucet-url = "{self.faucet_url}"\n'
            f'data-dir = "{self.folder(name)}"\nthreads = 1\n'
        )
        binary = self.binaries / "cactus-orchestrator"
        checked = subprocess.run(
            [str(binary), "check", "--config", str(config)],
            capture_output=True, text=True, timeout=STEP_LIMIT, env=clean_environment(), check=True,
        )
        env = {"CACTUS_ORCHESTRATOR_TOKENS_PER_SECOND": str(TOKENS_PER_SECOND)}
        daemon = self.start(name, binary, "--config", config, "--drain", "10", env=env)
        self.operators[json.loads(checked.stdout)["operator"]] = daemon

    # The command line

    def run_cactus(self, *words):
        where = ["--json", "--home", self.folder("client"), "--chain", self.chain_url]
        if self.router_url:
            where += ["--router", self.router_url]
        command = [str(self.binaries / "cactus"), *map(str, where), *map(str, words)]
        # A command that was copied from a log names its own chain.
        if "--chain" in words:
            command.remove("--chain"), command.remove(self.chain_url)
        return subprocess.run(
            command, capture_output=True, text=True, timeout=STEP_LIMIT, env=clean_environment()
        )

    def cactus(self, *words):
        done = self.run_cactus(*words)
        if done.returncode != 0:
            raise Failure(f"cactus {' '.join(map(str, words))}: {done.stderr}")
        return json.loads(done.stdout)

    def cactus_fails(self, *words):
        done = self.run_cactus(*words)
        return done.returncode, done.stderr

    def standing(self, account):
        return self.cactus("admin", "show", account)

    def deposit(self):
        deposit = self.cactus("balance")["deposit"]
        return {"available": deposit["available"], "locked": deposit["locked"]}

    def books(self):
        """What the client and the operators own, and how many tasks were paid for."""
        standings = {operator: self.standing(operator) for operator in self.operators}
        reputations = [entry["orchestrator"]["reputation"] for entry in standings.values()]
        return {
            "deposit": self.deposit(),
            "coins": {operator: entry["coins_octas"] for operator, entry in standings.items()},
            "served": sum(reputation["served"] for reputation in reputations),
        }

    # Plain HTTP

    def request(self, method, path, body=None):
        address = urllib.parse.urlsplit(self.router_url).netloc
        connection = http.client.HTTPConnection(address, timeout=STEP_LIMIT)
        headers = {"Content-Type": "application/json"}
        if self.api_key:
            headers["Authorization"] = f"Bearer {self.api_key}"
        connection.request(method, path, body and json.dumps(body), headers)
        return connection.getresponse()

    def get(self, path):
        try:
            response = self.request("GET", path)
            return response.status, json.loads(response.read())
        except (ConnectionError, http.client.HTTPException):
            return 0, {}

    def chat(self, question, **more):
        body = {
            "model": self.model.name,
            "messages": [{"role": "user", "content": question}],
            "max_tokens": 64,
            "temperature": 0,
            **more,
        }
        response = self.request("POST", "/v1/chat/completions", body)
        if response.status != 200:
            raise Failure(f"{response.status}: {response.read().decode()}")
        return response

    def ask(self, question):
        return json.loads(self.chat(question).read())

    def stream(self, question):
        return Stream(self.chat(question, stream=True))

    def final(self, task_id):
        """The task once its money has come to rest."""
        def look():
            task = self.get(f"/v1/tasks/{task_id}")[1]
            return task if task.get("state") in ("settled", "refunded") else None
        return self.until(f"the end of task {task_id}", look)

    def settled(self, task_id):
        task = self.final(task_id)
        if task["state"] != "settled":
            raise Failure(f"task {task_id} is {task['state']}")
        return task

    # Waiting and ending

    def until(self, what, look):
        """Looks again and again until there is something."""
        give_up = min(time.monotonic() + STEP_LIMIT, self.give_up)
        while time.monotonic() < give_up:
            found = look()
            if found:
                return found
            time.sleep(POLL)
        raise Failure(f"waited for {what} in vain")

    def print_logs(self):
        for log in sorted(self.home.glob("*.log")):
            text = re.sub(r"\x1b\[[0-9;]*m", "", log.read_text())
            print(f"--- {log.name}\n" + "\n".join(text.splitlines()[-25:]))

    def kill_all(self):
        for daemon in self.daemons:
            if daemon.process.poll() is None:
                daemon.send(signal.SIGCONT)
                daemon.kill()
