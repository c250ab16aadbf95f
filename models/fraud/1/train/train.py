"""Simulate, train, calibrate, measure, and write every artifact of the model's folder.

    python train/train.py [--out DIR] [--seed 7] [--date YYYY-MM-DD]
"""

import argparse
import importlib.metadata
import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np

from booster import calibrate, fit_booster
from card import render_card
from decision import decide_all
from drift_baseline import drift_baseline
from evaluation import Evaluation, evaluate
from feature_graph import compute_features, open_session
from fields import columns_of, feeds_of, select
from golden import golden_rows
from graph import build_graph
from manifest import TOLERANCE, manifest
from simulator import simulate
from split import split_by_time

MODEL_FOLDER = Path(__file__).resolve().parent.parent
PACKAGES = ("numpy", "scikit-learn", "onnx", "onnxruntime")
MAX_ARTIFACT_BYTES = 5_000_000


@dataclass(frozen=True)
class Arguments:
    out: Path
    seed: int
    trained_at: str


def main() -> None:
    arguments = parse_arguments()
    simulation = simulate(arguments.seed)
    label = simulation.transactions.reported
    columns = columns_of(simulation)
    features = compute_features(columns)
    split = split_by_time(simulation.transactions.day)

    booster = fit_booster(features[split.train], label[split.train], arguments.seed)
    model = calibrate(booster, features[split.calibration], label[split.calibration])
    artifact = build_graph(model)
    session = open_session(artifact)
    evaluation = evaluate(simulation, columns, features, split, model, session)
    require_quality(evaluation)

    held_out = select(columns, split.test)
    probability = session.run(["probability"], feeds_of(held_out))[0].ravel()
    golden = golden_rows(session, held_out, probability)
    write(arguments, artifact.SerializeToString(), evaluation, golden, drift_baseline(held_out, probability, decide_all(probability)))
    print(json.dumps(metrics_of(evaluation), indent=1))


def parse_arguments() -> Arguments:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=MODEL_FOLDER)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--date", default=date.today().isoformat())
    parsed = parser.parse_args()
    return Arguments(parsed.out, parsed.seed, parsed.date)


def require_quality(evaluation: Evaluation) -> None:
    """Refuse to write a model that is not worth serving."""
    models = evaluation.models
    best_other = max(models["logistic"]["pr_auc"], models["rule"]["pr_auc"])
    if models["booster"]["pr_auc"] <= best_other:
        raise SystemExit("The booster does not beat its reference models.")
    if max(evaluation.max_difference_to_training, evaluation.max_difference_batch_to_single) > TOLERANCE / 10:
        raise SystemExit("The graph disagrees with the trained model, or a batch with single rows.")


def metrics_of(evaluation: Evaluation) -> dict:
    return {
        **evaluation.models["booster"],
        "calibration_error": evaluation.calibration_error,
        "test_rows": evaluation.rows["test"],
        "base_rate": evaluation.base_rate,
        **{f"{name}_pr_auc": evaluation.models[name]["pr_auc"] for name in ("logistic", "rule")},
        **{f"{name}_brier": evaluation.models[name]["brier"] for name in ("logistic", "rule")},
    }


def write(arguments: Arguments, artifact: bytes, evaluation: Evaluation, golden: list[dict], baseline: dict) -> None:
    if len(artifact) > MAX_ARTIFACT_BYTES:
        raise SystemExit(f"The artifact has {len(artifact)} bytes; the limit is {MAX_ARTIFACT_BYTES}.")
    arguments.out.mkdir(parents=True, exist_ok=True)
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    example = next(g["input"] for g in golden if g["output"]["decision"] == "step_up")
    description = manifest(artifact, example, metrics_of(evaluation), arguments.seed, arguments.trained_at)
    card = render_card(evaluation, len(artifact), arguments.seed, arguments.trained_at, versions)
    (arguments.out / "model.onnx").write_bytes(artifact)
    (arguments.out / "model.json").write_text(as_json(description, indent=2) + "\n")
    (arguments.out / "golden.jsonl").write_text("".join(as_json(g) + "\n" for g in golden))
    (arguments.out / "baseline.json").write_text(as_json(baseline, indent=1) + "\n")
    (arguments.out / "CARD.md").write_text(card)


def as_json(value, **options) -> str:
    return json.dumps(value, allow_nan=False, ensure_ascii=False, **options)


if __name__ == "__main__":
    np.seterr(all="raise", under="ignore")
    main()
