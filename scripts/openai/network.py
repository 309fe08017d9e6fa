"""A network of `cactus up` on free ports, in a directory of its own, and a key for it."""

import json
import signal
import subprocess
import tempfile


class Network:
    def __init__(self, cactus, *words):
        self.cactus, self.words = cactus, words

    def __enter__(self):
        self.home = tempfile.TemporaryDirectory()
        self.process = subprocess.Popen(
            [self.cactus, "up", "--json", "--home", self.home.name, "--router-port", "0", "--chain-port", "0", *self.words],
            stdout=subprocess.PIPE,
            text=True,
        )
        self.ready = json.loads(self.process.stdout.readline())
        self.key = self.run("key", "create", "--budget", "1")["api_key"]
        self.base_url = self.ready["router"] + "/v1"
        return self

    def run(self, *words):
        where = ["--json", "--home", self.home.name, "--router", self.ready["router"], "--chain", self.ready["chain"]]
        done = subprocess.run([self.cactus, *where, *words], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(timeout=60)
        self.home.cleanup()
        assert code == 0, f"cactus up ended with {code} after Ctrl-C"
