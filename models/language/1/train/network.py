"""The network: the mean of the tokens' embeddings, and a linear layer. Its gradients fit on a page, so numpy does."""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix

EMBEDDING = 48


@dataclass
class LanguageNetwork:
    embeddings: np.ndarray  # [vocabulary, EMBEDDING]
    weight: np.ndarray  # [EMBEDDING, labels]
    bias: np.ndarray  # [labels]

    @property
    def parameters(self) -> list[np.ndarray]:
        return [self.embeddings, self.weight, self.bias]


def new_network(rng: np.random.Generator, vocabulary: int, labels: int) -> LanguageNetwork:
    return LanguageNetwork(
        rng.normal(0, 0.1, (vocabulary, EMBEDDING)).astype(np.float32),
        rng.normal(0, 0.1, (EMBEDDING, labels)).astype(np.float32),
        np.zeros(labels, np.float32),
    )


def means(ids: list[list[int]], vocabulary: int) -> csr_matrix:
    """Times the embeddings: the mean of each text's."""
    lengths = np.array([len(row) for row in ids])
    starts = np.concatenate([[0], np.cumsum(lengths)])
    values = np.repeat((1 / np.maximum(lengths, 1)).astype(np.float32), lengths)
    columns = np.concatenate([np.asarray(row, np.int32) for row in ids])
    return csr_matrix((values, columns, starts), (len(ids), vocabulary))


def logits_of_means(network: LanguageNetwork, of_texts: csr_matrix) -> np.ndarray:
    return of_texts @ network.embeddings @ network.weight + network.bias


def gradients(network: LanguageNetwork, of_texts: csr_matrix, labels: np.ndarray) -> list[np.ndarray]:
    """Of the mean cross-entropy, in the order of `parameters`."""
    pooled = of_texts @ network.embeddings
    logits = pooled @ network.weight + network.bias
    exponent = np.exp(logits - logits.max(axis=1, keepdims=True))
    error = exponent / exponent.sum(axis=1, keepdims=True)
    error[np.arange(len(labels)), labels] -= 1
    error /= len(labels)
    return [of_texts.T @ (error @ network.weight.T), pooled.T @ error, error.sum(axis=0)]
