"""Train, measure, and write every artifact of the model's folder.

    python train/train.py [--out DIR] [--seed 7] [--date YYYY-MM-DD]
"""

import argparse
import importlib.metadata
import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from card import render_card
from corpus import load_corpus
from drift_baseline import drift_baseline
from evaluation import Evaluation, evaluate
from golden import golden_rows
from graph import build_graph, open_session
from manifest import TOLERANCE, manifest
from parity import parity_rows
from tokenization import train_tokenizer
from training import fit

MODEL_FOLDER = Path(__file__).resolve().parent.parent
PACKAGES = (
    *("django", "djangorestframework", "wagtail", "sphinx", "chatterbot-corpus"),
    *("numpy", "scipy", "scikit-learn", "tokenizers", "onnx", "onnxruntime"),
)
MAX_BYTES = 5_000_000  # of graph and tokenizer
LEAST_ACCURACY = 0.89


@dataclass(frozen=True)
class Arguments:
    out: Path
    seed: int
    trained_at: str


def main() -> None:
    arguments = parse_arguments()
    corpus = load_corpus()
    tokenizer = train_tokenizer(corpus.train, corpus.labels)
    network = fit(tokenizer, corpus.train, corpus.labels, arguments.seed)
    artifact = build_graph(network).SerializeToString()
    tokenizer_json = tokenizer.to_str().encode()
    session = open_session(artifact)
    evaluation = evaluate(network, session, tokenizer, corpus)
    require_quality(evaluation, len(artifact) + len(tokenizer_json))

    metrics = metrics_of(evaluation)
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    described = manifest(
        artifact,
        tokenizer_json,
        corpus.labels,
        evaluation.bytes_per_token,
        metrics,
        arguments.seed,
        arguments.trained_at,
    )
    files = {
        "model.onnx": artifact,
        "tokenizer.json": tokenizer_json,
        "model.json": as_json(described, indent=2) + "\n",
        "golden.jsonl": as_lines(golden_rows(session, tokenizer, corpus)),
        "parity.jsonl": as_lines(parity_rows(tokenizer, corpus, arguments.seed + 1)),
        "baseline.json": as_json(
            drift_baseline(evaluation.baseline_texts, evaluation.baseline_ids, evaluation.baseline_logits, corpus.labels), indent=1
        )
        + "\n",
        "CARD.md": render_card(
            evaluation, corpus, network, len(artifact), len(tokenizer_json), arguments.seed, arguments.trained_at, versions
        ),
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (arguments.out / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    print(json.dumps(metrics, indent=1))


def parse_arguments() -> Arguments:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=MODEL_FOLDER)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--date", default=date.today().isoformat())
    parsed = parser.parse_args()
    return Arguments(parsed.out, parsed.seed, parsed.date)


def require_quality(evaluation: Evaluation, served_bytes: int) -> None:
    """Refuse to write a model that is not worth serving."""
    accuracy = evaluation.scores["held_out"].accuracy
    if accuracy < LEAST_ACCURACY:
        raise SystemExit(f"Accuracy on held-out messages is {accuracy}; at least {LEAST_ACCURACY} is wanted.")
    if max(evaluation.max_difference_to_training, evaluation.max_difference_batch_to_single) > TOLERANCE:
        raise SystemExit("The graph disagrees with the trained network, or a batch with single rows.")
    if served_bytes > MAX_BYTES:
        raise SystemExit(f"Graph and tokenizer have {served_bytes} bytes; the limit is {MAX_BYTES}.")


def metrics_of(evaluation: Evaluation) -> dict:
    scores = evaluation.scores
    return {
        **{f"{name}_accuracy": s.accuracy for name, s in scores.items()},
        **{f"{name}_macro_accuracy": s.macro_accuracy for name, s in scores.items()},
        **{f"{name}_log_loss": s.log_loss for name, s in scores.items()},
        **{f"{name}_rows": s.rows for name, s in scores.items()},
        **{f"bigram_{name}_accuracy": s.bigram_accuracy for name, s in scores.items()},
    }


def as_lines(values: list[dict]) -> str:
    return "".join(as_json(v) + "\n" for v in values)


def as_json(value, **options) -> str:
    return json.dumps(value, allow_nan=False, ensure_ascii=False, **options)


if __name__ == "__main__":
    main()
