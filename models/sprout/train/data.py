"""Turns skills into conversations and conversations into rows of tokens. It never yields a held-out example."""

import random

import numpy

import skills_numbers
import skills_talk
import skills_words
import skills_world
from tables import SYSTEM_PROMPTS

SKILLS = {**skills_numbers.SKILLS, **skills_words.SKILLS, **skills_world.SKILLS, **skills_talk.SKILLS}
FUNCTIONS = list(SKILLS)
WEIGHTS = {"early": [early for early, _ in SKILLS.values()], "late": [late for _, late in SKILLS.values()]}
IGNORED = -100


def draw_training(rng, part="early"):
    """One example that is not held out, sometimes typed carelessly (lower case, no final mark)."""
    while True:
        example = rng.choices(FUNCTIONS, WEIGHTS[part])[0](rng)
        if not example.held_out():
            return example, careless(rng, example.prompt)


def careless(rng, prompt):
    if rng.random() < 0.88:
        return prompt
    return rng.choice([prompt.rstrip(".?! "), prompt[0].lower() + prompt[1:], prompt.lower()])


def draw_held_out(rng, function):
    """One held-out example of the skill."""
    while True:
        example = function(rng)
        if example.held_out():
            return example


def conversation(rng, part):
    """One conversation as (role, text) turns: often a single question, sometimes a longer chat."""
    turns = [("system", rng.choice(SYSTEM_PROMPTS))] if rng.random() < 0.3 else []
    length = rng.choices([1, rng.randint(2, 4), rng.randint(5, 12)], [0.6, 0.32, 0.08])[0]
    for _ in range(length):
        example, prompt = draw_training(rng, part)
        turns += [*example.before, ("user", prompt), ("assistant", example.answer)]
    return turns


class Encoder:
    """Writes turns as tokens exactly as the chat template does; only assistant turns count in the loss."""

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer
        self.bos, self.end = tokenizer.token_to_id("<|bos|>"), tokenizer.token_to_id("<|end|>")
        self.role = {role: tokenizer.token_to_id(f"<|{role}|>") for role in ("system", "user", "assistant")}

    def turns(self, turns):
        tokens, learned = [self.bos], [False]
        for role, text in turns:
            body = self.tokenizer.encode(text, add_special_tokens=False).ids + [self.end]
            tokens += [self.role[role], *body]
            learned += [False] + [role == "assistant"] * len(body)
        return tokens, learned


class Rows:
    """An endless stream of full rows for one seed: conversations one after the other, cut at the row's end."""

    def __init__(self, encoder, seed, part):
        self.encoder, self.rng, self.part = encoder, random.Random(seed), part

    def batch(self, rows, length):
        """Inputs and targets, both (rows, length); targets that are not learned are IGNORED."""
        inputs = numpy.zeros((rows, length), dtype=numpy.int64)
        targets = numpy.full((rows, length), IGNORED, dtype=numpy.int64)
        for row in range(rows):
            tokens, learned = [], []
            while len(tokens) <= length:
                more_tokens, more_learned = self.encoder.turns(conversation(self.rng, self.part))
                tokens += more_tokens
                learned += more_learned
            inputs[row] = tokens[:length]
            targets[row] = [t if keep else IGNORED for t, keep in zip(tokens[1:length + 1], learned[1:length + 1])]
        return inputs, targets
