"""Fitting the network, on texts that are cut, joined and written in capitals as people's are."""

import numpy as np
from tokenizers import Tokenizer

from corpus import Text
from network import LanguageNetwork, gradients, means, new_network
from tokenization import token_ids

EPOCHS = 10
TEXTS_PER_LANGUAGE = 2_000  # in an epoch, so that no language is guessed because it has more texts
BATCH = 256
LEARNING_RATE = 0.02
DROPPED_TOKENS = 0.1
CUT, JOINED, CAPITALS, LOWER_CASE = 0.35, 0.2, 0.05, 0.15


def fit(tokenizer: Tokenizer, texts: list[Text], labels: list[str], seed: int) -> LanguageNetwork:
    rng = np.random.default_rng(seed)
    vocabulary = tokenizer.get_vocab_size()
    network = new_network(rng, vocabulary, len(labels))
    by_label = [[t.text for t in texts if t.language == label] for label in labels]
    optimizer = Adam(network.parameters)
    steps = EPOCHS * -(-len(labels) * TEXTS_PER_LANGUAGE // BATCH)
    step = 0
    for _ in range(EPOCHS):
        epoch, targets = draw(rng, by_label)
        ids = [dropped(rng, row) for row in token_ids(tokenizer, epoch)]
        order = rng.permutation(len(ids))
        for first in range(0, len(ids), BATCH):
            chosen = [i for i in order[first : first + BATCH] if ids[i]]
            found = gradients(network, means([ids[i] for i in chosen], vocabulary), targets[chosen])
            optimizer.step(found, LEARNING_RATE * (1 - step / steps))
            step += 1
    return network


def draw(rng: np.random.Generator, by_label: list[list[str]]) -> tuple[list[str], np.ndarray]:
    texts: list[str] = []
    for of_label in by_label:
        for _ in range(TEXTS_PER_LANGUAGE):
            text = of_label[rng.integers(len(of_label))]
            if rng.random() < JOINED:
                text = f"{text} {of_label[rng.integers(len(of_label))]}"
            texts.append(changed(rng, text))
    return texts, np.repeat(np.arange(len(by_label)), TEXTS_PER_LANGUAGE)


def changed(rng: np.random.Generator, text: str) -> str:
    if rng.random() < CUT:
        words = text.split(" ")
        count = rng.integers(1, len(words) + 1)
        start = rng.integers(0, len(words) - count + 1)
        text = " ".join(words[start : start + count])
    case = rng.random()
    if case < CAPITALS:
        return text.upper()
    return text.lower() if case < CAPITALS + LOWER_CASE else text


def dropped(rng: np.random.Generator, ids: list[int]) -> list[int]:
    """Without a tenth of its tokens, so that none of them is relied on."""
    kept = rng.random(len(ids)) >= DROPPED_TOKENS
    return [token for token, is_kept in zip(ids, kept) if is_kept] or ids


class Adam:
    """Kingma and Ba, 2014."""

    def __init__(self, parameters: list[np.ndarray], betas: tuple[float, float] = (0.9, 0.999)):
        self._parameters = parameters
        self._betas = betas
        self._means = [np.zeros_like(p) for p in parameters]
        self._squares = [np.zeros_like(p) for p in parameters]
        self._steps = 0

    def step(self, found: list[np.ndarray], rate: float) -> None:
        first, second = self._betas
        self._steps += 1
        corrected = rate * np.sqrt(1 - second**self._steps) / (1 - first**self._steps)
        for parameter, mean, square, gradient in zip(self._parameters, self._means, self._squares, found):
            mean *= first
            mean += (1 - first) * gradient
            square *= second
            square += (1 - second) * gradient * gradient
            parameter -= (corrected * mean / (np.sqrt(square) + 1e-8)).astype(np.float32)
