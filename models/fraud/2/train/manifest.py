"""model.json: as that of fraud 1, with the same rows, so that the two can be compared on the same traffic."""

import json

import version_1

first = version_1.module("manifest")
TOLERANCE = first.TOLERANCE


def manifest(artifact: bytes, _: dict, metrics: dict, seed: int, trained_at: str) -> dict:
    return {
        **first.manifest(artifact, _example(), metrics, seed, trained_at),
        "version": "2",
        "description": "Calibrated probability that a card payment will be reported as fraud, from the same row as version 1. The "
        "graph also computes how the last days differ from the last weeks, and how much a terminal's reports weigh. "
        "Trained on simulated payments.",
    }


def _example() -> dict:
    """That of fraud 1: who tries both sees what each says of one payment."""
    return json.loads((version_1.MODEL_FOLDER / "model.json").read_text())["example"]
