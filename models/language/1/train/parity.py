"""Texts with their token ids by Python's library: what the library that serves must make of them as well."""

import unicodedata

import numpy as np

from corpus import Corpus
from golden import ODD_TEXTS
from tokenization import token_ids

TEXTS_PER_LANGUAGE = 3
RANDOM_TEXTS = 60
LONGEST_RANDOM = 40


def parity_rows(tokenizer, corpus: Corpus, seed: int) -> list[dict]:
    rng = np.random.default_rng(seed)
    texts = list(ODD_TEXTS)
    for label in corpus.labels:
        of_label = [t.text for t in corpus.held_out if t.language == label]
        texts += [of_label[i] for i in rng.choice(len(of_label), TEXTS_PER_LANGUAGE, replace=False)]
    texts += [random_text(rng) for _ in range(RANDOM_TEXTS)]
    return [{"input": {"text": text}, "ids": ids} for text, ids in zip(texts, token_ids(tokenizer, texts))]


def random_text(rng: np.random.Generator) -> str:
    """Characters from all over Unicode; of those that are assigned, since libraries know Unicode of different years."""
    characters: list[str] = []
    length = rng.integers(1, LONGEST_RANDOM)
    while len(characters) < length:
        most = int(rng.choice([0x80, 0x250, 0x3000, 0x10000, 0x20000]))
        character = chr(rng.integers(0x20, most))
        if unicodedata.category(character) not in ("Cn", "Cs", "Co"):
            characters.append(character)
    return "".join(characters)
