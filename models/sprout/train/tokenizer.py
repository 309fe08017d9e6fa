"""Builds Sprout's tokenizer from generated text. It never merges letters of the words that letter skills speak about.

A byte-level BPE vocabulary of the 256 bytes and of whole template words, with `ignore_merges` and no
merges: a word is one token when it is in the vocabulary, and otherwise plain letters. Digits are always single.
"""

import collections
import json
import pathlib
import re

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

SPECIALS = ["<|pad|>", "<|bos|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
# A piece in fewer texts than this is no word of the templates (made-up words of letter skills are rarer).
LEAST_EXAMPLES = 5
PIECE = r" ?[A-Za-z]+|[0-9]| ?[^\sA-Za-z0-9]|\s"
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] | trim + '<|end|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def byte_letter(piece):
    """A piece of ASCII text as byte-level BPE writes it."""
    return piece.replace(" ", "\u0120").replace("\n", "\u010a")


def build(texts, spelled_words, size):
    """The tokenizer with the `size` most useful tokens for `texts`; `spelled_words` stay letters."""
    spelled = {form for word in spelled_words for form in (word, word[::-1])}
    counts = collections.Counter(piece for text in texts for piece in set(re.findall(PIECE, text)))
    vocabulary = {token: index for index, token in enumerate(SPECIALS)}
    for letter in sorted(pre_tokenizers.ByteLevel.alphabet()):
        vocabulary[letter] = len(vocabulary)
    for piece, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        word = piece.strip()
        if len(vocabulary) == size or count < LEAST_EXAMPLES:
            break
        if len(piece) > 1 and word.lower() not in spelled and not (word.isalpha() and len(word) == 1 and word not in "aAI"):
            vocabulary.setdefault(byte_letter(piece), len(vocabulary))
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(PIECE), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIALS])
    return tokenizer


def save(tokenizer, folder, context):
    folder = pathlib.Path(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    named = {"bos_token": "<|bos|>", "eos_token": "<|end|>", "pad_token": "<|pad|>"}
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast", **named, "add_bos_token": False, "add_eos_token": False,
        "clean_up_tokenization_spaces": False, "model_max_length": context, "chat_template": CHAT_TEMPLATE,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")
    (folder / "special_tokens_map.json").write_text(json.dumps(named, indent=2) + "\n")
