// Drives a network with the unmodified `openai` package of Node; its address and key come from the
// variables that the package itself reads.
import assert from "node:assert/strict";
import test from "node:test";
import OpenAI, { toFile } from "openai";

const client = new OpenAI({ maxRetries: 0 });
const model = (await client.models.list()).data[0].id;
const asked = { model, messages: [{ role: "user", content: "What is 12 + 30?" }], max_tokens: 32, temperature: 0 };

test("an answer in one piece and the same streamed", async () => {
  const whole = await client.chat.completions.create(asked);
  assert.match(whole.choices[0].message.content, /42/);
  let text = "";
  let usage;
  const stream = await client.chat.completions.create({ ...asked, stream: true, stream_options: { include_usage: true } });
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta.content ?? "";
    usage = chunk.usage ?? usage;
  }
  assert.equal(text, whole.choices[0].message.content);
  assert.equal(usage.completion_tokens, whole.usage.completion_tokens);
});

test("several choices and plain completions", async () => {
  const answer = await client.chat.completions.create({ ...asked, n: 2 });
  assert.deepEqual(answer.choices.map((choice) => choice.index), [0, 1]);
  const plain = await client.completions.create({ model, prompt: ["a", "b"], max_tokens: 4, temperature: 0 });
  assert.equal(plain.choices.length, 2);
});

test("a stream that its reader leaves ends, and the next question is answered", async () => {
  const stream = await client.chat.completions.create({ ...asked, max_tokens: 64, stream: true });
  for await (const chunk of stream) {
    assert.ok(chunk.id);
    break;
  }
  assert.match((await client.chat.completions.create(asked)).choices[0].message.content, /42/);
});

test("errors are the package's own", async () => {
  await assert.rejects(client.chat.completions.create({ ...asked, model: "none" }), (error) => {
    assert.ok(error instanceof OpenAI.NotFoundError);
    assert.equal(error.code, "model_not_found");
    assert.equal(error.error.trace_id, error.requestID);
    return true;
  });
  await assert.rejects(client.chat.completions.create({ ...asked, temperature: 9 }), OpenAI.BadRequestError);
  const stranger = new OpenAI({ apiKey: "ck_wrong", maxRetries: 0 });
  await assert.rejects(stranger.chat.completions.create(asked), OpenAI.AuthenticationError);
});

test("a batch from its file to its answers", async () => {
  const lines = [1, 2, 3].map((n) => JSON.stringify({
    custom_id: `line-${n}`,
    method: "POST",
    url: "/v1/chat/completions",
    body: { ...asked, messages: [{ role: "user", content: `What is ${n} + 30?` }] },
  }));
  const file = await client.files.create({ file: await toFile(Buffer.from(lines.join("\n")), "in.jsonl"), purpose: "batch" });
  let batch = await client.batches.create({ input_file_id: file.id, endpoint: "/v1/chat/completions", completion_window: "24h" });
  while (!["completed", "failed", "expired", "cancelled"].includes(batch.status)) {
    await new Promise((done) => setTimeout(done, 100));
    batch = await client.batches.retrieve(batch.id);
  }
  assert.deepEqual(batch.request_counts, { total: 3, completed: 3, failed: 0 });
  const answers = (await (await client.files.content(batch.output_file_id)).text()).trim().split("\n").map((line) => JSON.parse(line));
  assert.deepEqual(answers.map((answer) => answer.custom_id), ["line-1", "line-2", "line-3"]);
  assert.match(answers[2].response.body.choices[0].message.content, /33/);
});
