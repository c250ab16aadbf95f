"""How well languages are told apart, on texts that were not learned from, and what a simpler model does with the same ones."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import SGDClassifier

from classification import softmax
from corpus import Corpus, Text
from graph import logits_of
from network import LanguageNetwork, logits_of_means, means
from tokenization import token_ids

LENGTHS = ((0, 15), (15, 30), (30, 60), (60, 120), (120, None))
CONFUSIONS = 15
WORST_LABELS = 10
SINGLE_ROWS = 2_000


@dataclass(frozen=True)
class Score:
    rows: int
    accuracy: float
    macro_accuracy: float  # the mean of the languages', each with the same weight
    log_loss: float
    mean_confidence: float
    bigram_accuracy: float  # of the simpler model
    by_length: list[tuple[int, float]]  # rows, accuracy


@dataclass(frozen=True)
class Evaluation:
    scores: dict[str, Score]
    confusions: list[tuple[str, str, int]]  # true, answered, how often
    worst: list[tuple[str, float, int]]  # language, accuracy, rows
    baseline_ids: list[list[int]]
    baseline_texts: list[Text]
    baseline_logits: np.ndarray
    bytes_per_token: float
    max_difference_to_training: float
    max_difference_batch_to_single: float


def evaluate(network: LanguageNetwork, session, tokenizer, corpus: Corpus) -> Evaluation:
    simpler = simpler_model(corpus)
    scores, found = {}, {}
    for name, texts in {"held_out": corpus.held_out, "sphinx": corpus.sphinx, "conversations": corpus.conversations}.items():
        ids = token_ids(tokenizer, [t.text for t in texts])
        found[name] = (ids, logits_of(session, ids))
        scores[name] = score_of(texts, found[name][1], corpus.labels, simpler)
    ids, logits = found["held_out"]
    trained = logits_of_means(network, means(ids, len(network.embeddings)))
    single = logits_of(session, ids[:SINGLE_ROWS], batch=1)
    answered = [corpus.labels[i] for i in logits.argmax(axis=1)]
    pairs = Counter((t.language, a) for t, a in zip(corpus.held_out, answered) if t.language != a)
    right = {
        label: np.array([t.language == a for t, a in zip(corpus.held_out, answered) if t.language == label])
        for label in corpus.labels
    }
    return Evaluation(
        scores=scores,
        confusions=[(*pair, count) for pair, count in sorted(pairs.items(), key=lambda p: (-p[1], p[0]))[:CONFUSIONS]],
        worst=sorted(((n, float(r.mean()), len(r)) for n, r in right.items()), key=lambda w: w[1])[:WORST_LABELS],
        baseline_ids=ids,
        baseline_texts=corpus.held_out,
        baseline_logits=logits,
        bytes_per_token=sum(len(t.text.encode()) for t in corpus.held_out) / sum(len(row) for row in ids),
        max_difference_to_training=float(np.abs(trained - logits).max()),
        max_difference_batch_to_single=float(np.abs(single - logits[:SINGLE_ROWS]).max()),
    )


def score_of(texts: list[Text], logits: np.ndarray, labels: list[str], simpler) -> Score:
    truth = np.array([labels.index(t.language) for t in texts])
    probabilities = softmax(logits)
    right = probabilities.argmax(axis=1) == truth
    lengths = np.array([len(t.text) for t in texts])
    parts = [(lengths >= least) & (lengths < (most or np.inf)) for least, most in LENGTHS]
    return Score(
        rows=len(texts),
        accuracy=round(float(right.mean()), 5),
        macro_accuracy=round(float(np.mean([right[truth == label].mean() for label in np.unique(truth)])), 5),
        log_loss=round(float(-np.log(np.maximum(probabilities[np.arange(len(truth)), truth], 1e-15)).mean()), 5),
        mean_confidence=round(float(probabilities.max(axis=1).mean()), 5),
        bigram_accuracy=round(float(np.mean(simpler([t.text for t in texts]) == truth)), 5),
        by_length=[(int(part.sum()), round(float(right[part].mean()), 5)) for part in parts],
    )


def simpler_model(corpus: Corpus):
    """Logistic regression on pairs of characters."""
    vectorizer = HashingVectorizer(analyzer="char_wb", ngram_range=(1, 2), n_features=2**16, alternate_sign=False)
    classifier = SGDClassifier(loss="log_loss", alpha=1e-6, max_iter=5, tol=None, class_weight="balanced", random_state=0)
    truth = np.array([corpus.labels.index(t.language) for t in corpus.train])
    classifier.fit(vectorizer.transform([t.text for t in corpus.train]), truth)
    return lambda texts: classifier.predict(vectorizer.transform(texts))
