"""Skills about letters and words. Each function draws one question with its one right answer; none keeps state."""

from example import Example, join_list
from tables import FRUITS, WORDS

LETTERS = "abcdefghijklmnopqrstuvwxyz"
SHORT_WORDS = [word for word in WORDS if 3 <= len(word) <= 6]


def draw_word(rng):
    """A real word, or letters that only look like one, so that the skill cannot be learned by heart."""
    if rng.random() < 0.6:
        return rng.choice(SHORT_WORDS)
    return "".join(rng.choice(LETTERS) for _ in range(rng.randint(3, 6)))


def quoted(rng, word):
    return rng.choice([word, word, f'"{word}"', f"'{word}'"])


def reverse(rng):
    word = draw_word(rng)
    q = quoted(rng, word)
    prompt = rng.choice([
        f"Reverse the word {q}.", f"Reverse {q}", f"Spell {q} backwards.", f"What is {q} backwards?",
        f"Write {q} backwards.", f"Please reverse the word {q}.", f"What is {q} reversed?", f"reverse: {word}",
    ])
    return Example("reverse", prompt, f"{word} backwards is {word[::-1]}.", key=word)


def spell(rng):
    word = draw_word(rng)
    q = quoted(rng, word)
    prompt = rng.choice([f"Spell {q}.", f"Spell the word {q}.", f"How do you spell {q}?", f"Please spell {q}."])
    return Example("spell", prompt, "-".join(word) + ".", key=word)


def count_letters(rng):
    word = draw_word(rng)
    q = quoted(rng, word)
    prompt = rng.choice([
        f"How many letters are in {q}?", f"How many letters are in the word {q}?", f"Count the letters in {q}.",
        f"How many letters does {q} have?", f"How long is the word {q}?",
    ])
    return Example("count_letters", prompt, f"{'-'.join(word)}: {len(word)} letters.", key=word)


def edge_letter(rng):
    word = draw_word(rng)
    q = quoted(rng, word)
    side = rng.choice(["first", "last"])
    prompt = rng.choice([
        f"What is the {side} letter of {q}?", f"What is the {side} letter in the word {q}?",
        f"Tell me the {side} letter of {q}.", f"Which letter is {side} in {q}?",
    ])
    letter = word[0] if side == "first" else word[-1]
    return Example("edge_letter", prompt, f"The {side} letter of {word} is {letter}.", key=(side, word))


def sort_words(rng):
    pool = FRUITS if rng.random() < 0.15 else SHORT_WORDS
    words = rng.sample(pool, rng.choice([3, 3, 3, 4]))
    text = join_list(rng, words)
    prompt = rng.choice([
        f"Sort these words: {text}", f"Sort these words alphabetically: {text}", f"Put these words in order: {text}",
        f"Put {text} in alphabetical order.", f"Sort {text}", f"Please sort the words {text}.",
    ])
    return Example("sort_words", prompt, ", ".join(sorted(words)) + ".", key=tuple(sorted(words)))


def count_items(rng):
    words = rng.sample(SHORT_WORDS, rng.randint(2, 5))
    text = join_list(rng, words)
    prompt = rng.choice([
        f"How many words are in this list: {text}?", f"How many items are in the list {text}?", f"Count the items: {text}",
        f"How many things do I list: {text}?", f"Count these words: {text}",
    ])
    return Example("count_items", prompt, f"There are {len(words)} items.", key=tuple(sorted(words)))


# How often each skill is drawn: early in a run, and late, when what is still hard counts more.
SKILLS = {reverse: (2.5, 0.6), spell: (0.8, 0.3), count_letters: (1.5, 0.3), edge_letter: (0.8, 0.3), sort_words: (3.5, 6.0),
          count_items: (1.2, 1.5)}
