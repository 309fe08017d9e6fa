"""Drives real networks with unmodified clients, as customers would.

Usage: client_test.py PATH_OF_CACTUS PATH_OF_NODE_TEST PATH_OF_SCHEMATHESIS
"""

import io
import json
import os
import subprocess
import sys
import threading
import time
import unittest
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import openai
from network import Network

CACTUS, NODE_TEST, SCHEMATHESIS = sys.argv[1:4]
del sys.argv[1:4]

QUESTION = [{"role": "user", "content": "What is 12 + 30?"}]
# Another one can be given; make_embeddings.py beside the fixture makes one of MiniLM's shape.
EMBEDDER = os.environ.get("CACTUS_EMBEDDER", "crates/inference/tests/fixtures/bert-mean")


def client_of(network, **options):
    return openai.OpenAI(base_url=network.base_url, api_key=network.key, timeout=60, **{"max_retries": 0, **options})


class Chat(unittest.TestCase):
    def setUp(self):
        self.client = client_of(network)
        model = self.client.models.list().data[0]
        self.model, self.features = model.id, model.features

    def ask(self, **options):
        return self.client.chat.completions.create(
            **{"model": self.model, "messages": QUESTION, "max_tokens": 32, "temperature": 0, **options}
        )

    def test_an_answer_in_one_piece(self):
        answer = self.ask()
        self.assertIn("42", answer.choices[0].message.content)
        self.assertEqual(answer.choices[0].finish_reason, "stop")
        self.assertGreater(answer.usage.completion_tokens, 0)
        self.assertEqual(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens)

    def test_a_streamed_answer_is_the_same(self):
        whole = self.ask()
        chunks = list(self.ask(stream=True, stream_options={"include_usage": True}))
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        self.assertEqual(text, whole.choices[0].message.content)
        usage = [chunk.usage for chunk in chunks if chunk.usage]
        self.assertEqual(usage[-1].completion_tokens, whole.usage.completion_tokens)

    def test_several_choices_whole_and_streamed(self):
        whole = self.ask(n=3, temperature=1, seed=5)
        self.assertEqual([choice.index for choice in whole.choices], [0, 1, 2])
        texts = {}
        for chunk in self.ask(n=3, temperature=1, seed=5, stream=True):
            for choice in chunk.choices:
                texts[choice.index] = texts.get(choice.index, "") + (choice.delta.content or "")
        self.assertEqual(texts, {choice.index: choice.message.content for choice in whole.choices})
        alone = self.ask(temperature=1, seed=5)
        self.assertEqual(alone.choices[0].message.content, whole.choices[0].message.content)

    def test_a_bias_rules_a_token_out(self):
        with open("models/sprout/tokenizer.json") as file:
            vocabulary = json.load(file)["model"]["vocab"]
        fours = {str(token): -100 for text, token in vocabulary.items() if "4" in text}
        self.assertIn("42", self.ask().choices[0].message.content)
        self.assertNotIn("4", self.ask(logit_bias=fours).choices[0].message.content)
        with self.assertRaises(openai.BadRequestError) as refused:
            self.ask(logit_bias={"1": 101})
        self.assertEqual(refused.exception.param, "logit_bias")

    def test_plain_completions(self):
        prompts = ["What is 1 + 1?", "What is 2 + 2?"]
        whole = self.client.completions.create(model=self.model, prompt=prompts, max_tokens=8, temperature=0)
        self.assertEqual([choice.index for choice in whole.choices], [0, 1])
        stream = self.client.completions.create(
            model=self.model, prompt=prompts[0], max_tokens=8, temperature=0, stream=True
        )
        text = "".join(chunk.choices[0].text for chunk in stream if chunk.choices)
        self.assertEqual(text, whole.choices[0].text)

    def test_log_probabilities_come_or_are_refused(self):
        if "logprobs" not in self.features:
            with self.assertRaises(openai.BadRequestError) as refused:
                self.ask(logprobs=True)
            self.assertEqual((refused.exception.code, refused.exception.param), ("unsupported_parameter", "logprobs"))
            return
        tokens = self.ask(logprobs=True, top_logprobs=2).choices[0].logprobs.content
        self.assertTrue(all(token.logprob <= 0 and len(token.top_logprobs) == 2 for token in tokens))
        self.assertEqual(b"".join(bytes(token.bytes) for token in tokens).decode().strip()[:1], self.ask().choices[0].message.content[:1])

    def test_json_formats_come_or_are_refused(self):
        schema = {"type": "object", "properties": {"sum": {"type": "integer", "minimum": 0, "maximum": 99}}, "required": ["sum"], "additionalProperties": False}
        wanted = {"type": "json_schema", "json_schema": {"name": "sum", "schema": schema, "strict": True}}
        if "json_schema" not in self.features:
            with self.assertRaises(openai.BadRequestError) as refused:
                self.ask(response_format=wanted)
            self.assertEqual(refused.exception.param, "response_format")
            return
        answer = self.ask(response_format=wanted, max_tokens=64)
        self.assertIsInstance(json.loads(answer.choices[0].message.content)["sum"], int)

    def test_the_headers_name_the_task(self):
        raw = self.client.chat.completions.with_raw_response.create(model=self.model, messages=QUESTION, max_tokens=32)
        task = network.run("task", raw.headers["x-cactus-task"])
        self.assertIn(task["state"], ("delivered", "settled"))

    def test_errors_are_openais(self):
        with self.assertRaises(openai.NotFoundError) as unknown:
            self.ask(model="no-such-model")
        self.assertEqual(unknown.exception.code, "model_not_found")
        self.assertEqual(unknown.exception.body["trace_id"], unknown.exception.request_id)
        with self.assertRaises(openai.BadRequestError):
            self.ask(max_tokens=-1)
        with self.assertRaises(openai.BadRequestError):
            self.ask(tools=[{"type": "function", "function": {"name": "f"}}])
        with self.assertRaises(openai.AuthenticationError):
            self.client.with_options(api_key="ck_wrong").chat.completions.create(model=self.model, messages=QUESTION)
        with self.assertRaises(openai.APIStatusError) as method:
            self.client.post("/models", cast_to=object)
        self.assertEqual((method.exception.status_code, method.exception.code), (405, "method_not_allowed"))

    def test_a_wish_that_nobody_fulfils_is_an_error_that_passes(self):
        with self.assertRaises(openai.APIStatusError) as refused:
            self.ask(extra_body={"cactus": {"region": "nowhere"}})
        self.assertGreaterEqual(refused.exception.status_code, 400)
        answer = self.ask(extra_headers={"X-Cactus-Priority": "200"})
        self.assertIn("42", answer.choices[0].message.content)

    def test_a_client_waits_and_tries_again_when_it_is_turned_away(self):
        proxy = TurningAway(network.ready["router"])
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        try:
            base = f"http://127.0.0.1:{proxy.server_port}/v1"
            client = openai.OpenAI(base_url=base, api_key=network.key, max_retries=3)
            answer = client.chat.completions.create(model=self.model, messages=QUESTION, max_tokens=32)
            self.assertTrue(answer.choices[0].message.content)
            self.assertEqual(proxy.turned_away, 2)
        finally:
            proxy.shutdown()
            proxy.server_close()


class TurningAway(ThreadingHTTPServer):
    """Passes requests on, but answers the first two as a busy server does."""

    def __init__(self, router):
        super().__init__(("127.0.0.1", 0), Passing)
        self.router, self.turned_away = router, 0


class Passing(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.turned_away < 2:
            self.server.turned_away += 1
            self.answer(429, b'{"error": {"message": "busy", "type": "rate_limit_error", "param": null, "code": "overloaded"}}')
            return
        from urllib.request import Request, urlopen

        headers = {"Authorization": self.headers["Authorization"], "Content-Type": "application/json"}
        with urlopen(Request(self.server.router + self.path, body, headers), timeout=60) as response:
            self.answer(response.status, response.read())

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Retry-After", "0")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Batches(unittest.TestCase):
    def setUp(self):
        self.client = client_of(network)
        self.model = self.client.models.list().data[0].id

    def line(self, n, **body):
        return json.dumps({
            "custom_id": f"sum-{n}", "method": "POST", "url": "/v1/chat/completions",
            "body": {"model": self.model, "max_tokens": 32, "temperature": 0,
                     "messages": [{"role": "user", "content": f"What is {n} + 30?"}], **body},
        })

    def submit(self, lines):
        file = self.client.files.create(file=("in.jsonl", io.BytesIO("\n".join(lines).encode())), purpose="batch")
        return self.client.batches.create(
            input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h", metadata={"for": "a test"}
        )

    def ended(self, batch):
        limit = time.monotonic() + 60
        while batch.status not in ("completed", "failed", "expired", "cancelled"):
            self.assertLess(time.monotonic(), limit, batch)
            time.sleep(0.1)
            batch = self.client.batches.retrieve(batch.id)
        return batch

    def test_a_batch_from_its_file_to_its_answers(self):
        batch = self.ended(self.submit([self.line(n) for n in range(8)]))
        self.assertEqual((batch.status, batch.request_counts.completed), ("completed", 8))
        answers = [json.loads(line) for line in self.client.files.content(batch.output_file_id).text.splitlines()]
        for n, answer in enumerate(answers):
            self.assertEqual(answer["custom_id"], f"sum-{n}")
            self.assertIn(str(n + 30), answer["response"]["body"]["choices"][0]["message"]["content"])
        self.assertIn(batch.id, [listed.id for listed in self.client.batches.list(limit=1)])
        self.assertIn(batch.input_file_id, [file.id for file in self.client.files.list(limit=1)])
        self.assertTrue(self.client.files.delete(batch.input_file_id).deleted)
        with self.assertRaises(openai.NotFoundError):
            self.client.files.retrieve(batch.input_file_id)

    def test_mistakes_are_named_by_line(self):
        batch = self.ended(self.submit([self.line(1), self.line(1), self.line(2, temperature=9)]))
        self.assertEqual(batch.status, "failed")
        self.assertEqual([(e.line, e.code) for e in batch.errors.data], [(2, "duplicate_custom_id"), (3, "invalid_value")])

    def test_a_batch_that_has_ended_cannot_be_cancelled(self):
        batch = self.ended(self.submit([self.line(1)]))
        with self.assertRaises(openai.ConflictError) as refused:
            self.client.batches.cancel(batch.id)
        self.assertEqual(refused.exception.code, "batch_ended")


class Embeddings(unittest.TestCase):
    def test_texts_become_the_vectors_that_sentence_transformers_makes(self):
        with open(f"{EMBEDDER}/expected.json") as file:
            expected = json.load(file)
        with Network(CACTUS, "--model", EMBEDDER, "--orchestrators", "1") as embedder:
            client = client_of(embedder)
            model = client.models.list().data[0].id
            pairs = [(text, vector) for text, vector in zip(expected["texts"], expected["vectors"]) if text]
            texts = [text for text, _ in pairs]
            plain = client.embeddings.create(model=model, input=texts, encoding_format="float")
            usual = client.embeddings.create(model=model, input=texts)
            for one, other in zip(plain.data, usual.data):
                self.assertEqual(len(one.embedding), len(other.embedding))
                for a, b in zip(one.embedding, other.embedding):
                    self.assertAlmostEqual(a, b, places=5)
            for (_, vector), one in zip(pairs, plain.data):
                for a, b in zip(vector, one.embedding):
                    self.assertAlmostEqual(a, b, delta=1e-4)
            with self.assertRaises(openai.BadRequestError) as refused:
                client.embeddings.create(model=model, input="x", dimensions=5)
            self.assertEqual(refused.exception.param, "dimensions")
            with self.assertRaises(openai.BadRequestError):
                client.chat.completions.create(model=model, messages=QUESTION)
            printed = embedder.run("embed", *texts)
            self.assertEqual(printed["data"][1]["embedding"], plain.data[1].embedding)


class OtherClients(unittest.TestCase):
    def test_the_package_for_node(self):
        environment = {**os.environ, "OPENAI_BASE_URL": network.base_url, "OPENAI_API_KEY": network.key}
        done = subprocess.run(["node", "--test", NODE_TEST], env=environment, capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_generated_requests_meet_no_server_error(self):
        command = [
            os.path.abspath(SCHEMATHESIS), "run", network.ready["router"] + "/openapi.json", "--checks", "not_a_server_error",
            "--header", f"Authorization: Bearer {network.key}", "--seed", "1",
            # One at a time: Python 3.11 miscounts when two threads read source (gh-106905).
            "--workers", "1",
            "--max-time", "45", "--request-timeout", "20", "--no-color",
            # It says 503 when the server takes no work, which is no error of the server's.
            "--exclude-path", "/readyz",
        ]
        # It leaves its notes where it runs.
        done = subprocess.run(command, cwd=network.home.name, capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stdout[-8000:] + done.stderr[-2000:])
        self.assertEqual(client_of(network).models.list().object, "list")


if __name__ == "__main__":
    with Network(CACTUS) as network:
        result = unittest.main(exit=False, verbosity=2).result
    sys.exit(0 if result.wasSuccessful() else 1)
