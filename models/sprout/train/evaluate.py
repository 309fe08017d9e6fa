"""Measures an exported model on held-out examples with transformers, greedily in float32. It never trains.

    python evaluate.py --model models/sprout --per-skill 100 [--write models/sprout]

`--write` also writes eval.jsonl (the first held-out examples of every skill, right or wrong) and
demo.jsonl (one right answer per skill of a chosen few).
"""

import argparse
import json
import pathlib
import random
import sys
import time

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from data import FUNCTIONS, draw_held_out, draw_training
from tables import WORDS

EVAL_SEED = 2026
DEMO = ["add", "sort_numbers", "sort_words", "reverse", "who_has", "days", "units", "facts", "count_up", "tell_story"]


def held_out_examples(per_skill):
    """Distinct held-out examples by skill; functions that share a skill's name share its count."""
    rng, by_skill = random.Random(EVAL_SEED), {}
    for _ in range(4):
        for function in FUNCTIONS:
            for _ in range(per_skill):
                example = draw_held_out(rng, function)
                chosen = by_skill.setdefault(example.skill, {})
                chosen.setdefault((example.before, example.prompt), example)
    shuffle = random.Random(EVAL_SEED)
    result = {}
    for skill, chosen in by_skill.items():
        examples = list(chosen.values())
        shuffle.shuffle(examples)
        result[skill] = examples[:per_skill]
    return result


def earlier_turns(rng, count):
    """A chat that has nothing to do with the question that follows it."""
    turns = []
    for _ in range(count):
        example, prompt = draw_training(rng)
        turns += [{"role": "user", "content": prompt}, {"role": "assistant", "content": example.answer}]
    return turns


def answers(model, tokenizer, examples, args):
    """Greedy answers, all in one left-padded batch."""
    rng = random.Random(EVAL_SEED)
    head = [{"role": "system", "content": args.system}] if args.system else []
    chats = [head + earlier_turns(rng, args.history) + e.messages() for e in examples]
    texts = [tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True) for chat in chats]
    batch = tokenizer(texts, return_tensors="pt", padding=True, padding_side="left", add_special_tokens=False,
                      return_token_type_ids=False)
    with torch.no_grad():
        out = model.generate(**batch, max_new_tokens=100, do_sample=False)
    return tokenizer.batch_decode(out[:, batch["input_ids"].shape[1]:], skip_special_tokens=True)


def well_known(example):
    """Whether a demonstration may use the example: real words only."""
    return example.skill != "reverse" or example.key in WORDS


def line(example):
    return json.dumps({"skill": example.skill, "messages": example.messages(), "check": example.check,
                       "expected": example.expected or example.answer})


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=pathlib.Path, required=True)
    parser.add_argument("--per-skill", type=int, default=100)
    parser.add_argument("--in-file", type=int, default=9, help="examples per skill in eval.jsonl")
    parser.add_argument("--write", type=pathlib.Path)
    parser.add_argument("--system", help="a system prompt before every question")
    parser.add_argument("--history", type=int, default=0, help="earlier, unrelated turns before every question")
    parser.add_argument("--show", type=int, default=2, help="wrong answers shown per skill")
    args = parser.parse_args()
    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32).eval()
    total, right_total, eval_lines, demo_lines, start = 0, 0, [], [], time.time()
    for skill, examples in held_out_examples(args.per_skill).items():
        given = answers(model, tokenizer, examples, args)
        right = [e.is_right(a) for e, a in zip(examples, given)]
        total, right_total = total + len(right), right_total + sum(right)
        print(f"| {skill} | {sum(right)} / {len(right)} | {100 * sum(right) / len(right):.1f} % |", flush=True)
        wrong = [(e, a) for e, a, ok in zip(examples, given, right) if not ok]
        for e, a in wrong[:args.show]:
            print(f"    {e.prompt!r} -> {a!r}, not {e.expected or e.answer!r}", file=sys.stderr)
        eval_lines += [line(e) for e in examples[:args.in_file]]
        demonstrable = [e for e, ok in zip(examples, right) if ok and well_known(e)]
        if skill in DEMO and demonstrable:
            best = max(demonstrable, key=lambda e: len(e.prompt))
            demo_lines.append((DEMO.index(skill), line(best)))
    print(f"| all | {right_total} / {total} | {100 * right_total / total:.1f} % |  ({time.time() - start:.0f} s)")
    if args.write:
        (args.write / "eval.jsonl").write_text("\n".join(eval_lines) + "\n")
        (args.write / "demo.jsonl").write_text("\n".join(text for _, text in sorted(demo_lines)) + "\n")


if __name__ == "__main__":
    main()
