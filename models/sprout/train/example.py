"""What a skill draws, and which examples are held out. Training never sees a held-out example."""

import hashlib
from dataclasses import dataclass

# One example in this many is kept for evaluation only.
HELD_OUT_SHARE = 16


@dataclass(frozen=True)
class Example:
    """One question with its one right answer.

    `key` names what must not be seen in training: the operands where the skill is open-ended, or
    (None) the whole prompt where the skill is a closed table that has to be learned by heart.
    `check` says how an answer is judged; under `contains`, `expected` is the text looked for.
    `before` holds earlier turns that the question depends on, as (role, text).
    """

    skill: str
    prompt: str
    answer: str
    key: object = None
    check: str = "exact"
    expected: str | None = None
    before: tuple = ()

    def held_out(self):
        key = self.key if self.key is not None else (self.before, self.prompt.lower().rstrip(".?! "))
        digest = hashlib.sha256(f"{self.skill}|{key}".encode()).digest()
        return int.from_bytes(digest[:4], "big") % HELD_OUT_SHARE == 0

    def is_right(self, answer):
        answer = answer.strip()
        if self.check == "contains":
            return (self.expected or self.answer) in answer
        return answer == self.answer

    def messages(self):
        turns = [{"role": role, "content": text} for role, text in self.before]
        return turns + [{"role": "user", "content": self.prompt}]


def join_list(rng, items):
    """A list the way people write it: `a, b, c` or `a, b and c` or `a b c`."""
    style = rng.random()
    if style < 0.7:
        return ", ".join(items)
    if style < 0.9:
        return ", ".join(items[:-1]) + " and " + items[-1]
    return " ".join(items)
