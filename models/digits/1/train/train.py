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
from dataset import load_split
from drift_baseline import drift_baseline
from encoding import pixel_row
from evaluation import Evaluation, evaluate
from golden import golden_rows
from graph import build_graph, logits_of, open_session
from manifest import TOLERANCE, manifest
from parity import parity_rows
from samples import sample_images
from training import fit

MODEL_FOLDER = Path(__file__).resolve().parent.parent
PACKAGES = ("numpy", "scipy", "scikit-learn", "torch", "pillow", "onnx", "onnxruntime")
MAX_ARTIFACT_BYTES = 5_000_000
LEAST_ACCURACY = 0.985


@dataclass(frozen=True)
class Arguments:
    out: Path
    seed: int
    trained_at: str


def main() -> None:
    arguments = parse_arguments()
    train, held_out = load_split()
    network = fit(train, arguments.seed)
    artifact = build_graph(network).SerializeToString()
    session = open_session(artifact)
    # Seeds of their own: training, measuring and drawing must not share random numbers.
    evaluation = evaluate(network, session, train, held_out, arguments.seed + 1)
    require_quality(evaluation, artifact)

    metrics = metrics_of(evaluation)
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    example = pixel_row(held_out.pixels[held_out.labels == 7][0])
    tensors = evaluation.held_out
    files = {
        "model.onnx": artifact,
        "model.json": as_json(manifest(artifact, example, metrics, arguments.seed, arguments.trained_at), indent=2) + "\n",
        "golden.jsonl": as_lines(golden_rows(session, held_out, arguments.seed + 2)),
        "parity.jsonl": as_lines(parity_rows(arguments.seed + 3)),
        "baseline.json": as_json(drift_baseline(tensors, logits_of(session, tensors)), indent=1) + "\n",
        "CARD.md": render_card(evaluation, network, len(artifact), arguments.seed, arguments.trained_at, versions),
        **{f"samples/{name}.png": content for name, content in sample_images(session, arguments.seed + 4).items()},
    }
    for name, content in files.items():
        path = arguments.out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    print(json.dumps(metrics, indent=1))


def parse_arguments() -> Arguments:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=MODEL_FOLDER)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--date", default=date.today().isoformat())
    parsed = parser.parse_args()
    return Arguments(parsed.out, parsed.seed, parsed.date)


def require_quality(evaluation: Evaluation, artifact: bytes) -> None:
    """Refuse to write a model that is not worth serving."""
    accuracy = evaluation.scores["pixels"].accuracy
    if accuracy < LEAST_ACCURACY:
        raise SystemExit(f"Accuracy on held-out pixels is {accuracy}; at least {LEAST_ACCURACY} is wanted.")
    if max(evaluation.max_difference_to_training, evaluation.max_difference_batch_to_single) > TOLERANCE:
        raise SystemExit("The graph disagrees with the trained network, or a batch with single rows.")
    if len(artifact) > MAX_ARTIFACT_BYTES:
        raise SystemExit(f"The artifact has {len(artifact)} bytes; the limit is {MAX_ARTIFACT_BYTES}.")


def metrics_of(evaluation: Evaluation) -> dict:
    scores, logistic = evaluation.scores, evaluation.logistic_accuracy
    return {
        **{f"{name}_accuracy": s.accuracy for name, s in scores.items()},
        **{f"{name}_log_loss": s.log_loss for name, s in scores.items()},
        **{f"{name}_rows": s.rows for name, s in scores.items()},
        **{f"logistic_{name}_accuracy": a for name, a in logistic.items()},
    }


def as_lines(values: list[dict]) -> str:
    return "".join(as_json(v) + "\n" for v in values)


def as_json(value, **options) -> str:
    return json.dumps(value, allow_nan=False, ensure_ascii=False, **options)


if __name__ == "__main__":
    main()
