"""Drives a real network with the unmodified `openai` package, as a customer would.

Usage: client_test.py PATH_OF_CACTUS
"""

import json
import signal
import subprocess
import sys
import tempfile
import unittest

import openai

CACTUS = sys.argv.pop(1)


class Network:
    """`cactus up` on free ports in a directory of its own, and a key for it."""

    def __enter__(self):
        self.home = tempfile.TemporaryDirectory()
        self.process = subprocess.Popen(
            [CACTUS, "up", "--json", "--home", self.home.name, "--router-port", "0", "--chain-port", "0"],
            stdout=subprocess.PIPE,
            text=True,
        )
        self.ready = json.loads(self.process.stdout.readline())
        key = self.run("key", "create", "--budget", "1")
        self.client = openai.OpenAI(
            base_url=self.ready["router"] + "/v1", api_key=key["api_key"], timeout=60, max_retries=0
        )
        return self

    def run(self, *words):
        where = ["--json", "--home", self.home.name, "--router", self.ready["router"], "--chain", self.ready["chain"]]
        done = subprocess.run([CACTUS, *where, *words], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(timeout=60)
        self.home.cleanup()
        assert code == 0, f"cactus up ended with {code} after Ctrl-C"


QUESTION = [{"role": "user", "content": "What is 12 + 30?"}]


class OpenAIClient(unittest.TestCase):
    def setUp(self):
        self.client = network.client
        self.model = self.client.models.list().data[0].id

    def test_an_answer_in_one_piece(self):
        answer = self.client.chat.completions.create(model=self.model, messages=QUESTION, max_tokens=32, temperature=0)
        self.assertIn("42", answer.choices[0].message.content)
        self.assertEqual(answer.choices[0].finish_reason, "stop")
        self.assertGreater(answer.usage.completion_tokens, 0)
        self.assertEqual(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens)

    def test_a_streamed_answer_is_the_same(self):
        whole = self.client.chat.completions.create(model=self.model, messages=QUESTION, max_tokens=32, temperature=0)
        chunks = list(
            self.client.chat.completions.create(
                model=self.model,
                messages=QUESTION,
                max_tokens=32,
                temperature=0,
                stream=True,
                stream_options={"include_usage": True},
            )
        )
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        self.assertEqual(text, whole.choices[0].message.content)
        usage = [chunk.usage for chunk in chunks if chunk.usage]
        self.assertEqual(usage[-1].completion_tokens, whole.usage.completion_tokens)

    def test_the_headers_name_the_task(self):
        raw = self.client.chat.completions.with_raw_response.create(model=self.model, messages=QUESTION, max_tokens=32)
        task = network.run("task", raw.headers["x-cactus-task"])
        self.assertIn(task["state"], ("delivered", "settled"))

    def test_errors_are_openais(self):
        with self.assertRaises(openai.NotFoundError) as unknown:
            self.client.chat.completions.create(model="no-such-model", messages=QUESTION)
        self.assertEqual(unknown.exception.code, "model_not_found")
        with self.assertRaises(openai.BadRequestError):
            self.client.chat.completions.create(model=self.model, messages=QUESTION, max_tokens=-1)
        with self.assertRaises(openai.AuthenticationError):
            self.client.with_options(api_key="ck_wrong").chat.completions.create(model=self.model, messages=QUESTION)


if __name__ == "__main__":
    with Network() as network:
        result = unittest.main(exit=False, verbosity=2).result
    sys.exit(0 if result.wasSuccessful() else 1)
