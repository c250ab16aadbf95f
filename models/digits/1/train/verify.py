"""Check the model folder's files against each other. Trains nothing.

    python train/verify.py [DIR]
"""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np

from classification import served_output
from graph import logits_of, open_session
from preprocess import preprocess_image, preprocess_row
from samples import LEAST_PROBABILITY, SAMPLES


def main(folder: Path) -> None:
    manifest = read_json((folder / "model.json").read_text())
    artifact = (folder / manifest["artifact"]["file"]).read_bytes()
    check(hashlib.sha256(artifact).hexdigest() == manifest["artifact"]["sha256"], "the artifact has the manifest's sha256")
    session = open_session(artifact)
    check(signature(session.get_inputs()) == manifest["inputs"], "the graph takes the manifest's inputs")
    check(signature(session.get_outputs()) == manifest["outputs"], "the graph gives the manifest's outputs")

    golden = read_lines(folder / manifest["golden"]["file"])
    outputs = [served_output(logits_of(session, preprocess_row(g["input"])[None])[0]) for g in golden]
    worst = max(
        abs(o["probabilities"][label] - p) for g, o in zip(golden, outputs) for label, p in g["output"]["probabilities"].items()
    )
    check(worst <= manifest["golden"]["tolerance"], f"{len(golden)} golden rows agree (largest difference {worst:.1e})")
    check(all(o["label"] == g["output"]["label"] for g, o in zip(golden, outputs)), "golden labels agree")

    parity = read_lines(folder / "parity.jsonl")
    differences = [np.abs(preprocess_row(p["input"]).ravel() - np.array(p["tensor"])).max() - p["tolerance"] for p in parity]
    check(max(differences) <= 0, f"{len(parity)} parity rows agree")

    for name, digit in SAMPLES.items():
        output = served_output(logits_of(session, preprocess_image((folder / f"samples/{name}.png").read_bytes())[None])[0])
        confident = output["label"] == str(digit) and output["probability"] >= LEAST_PROBABILITY
        check(confident, f"samples/{name}.png is read as {output['label']} ({output['probability']:.3f})")
    check(set(read_json((folder / manifest["baseline"]).read_text())["scores"]) == {"label", "probability"}, "the baseline has both scores")


def signature(tensors) -> list[dict]:
    dtypes = {"tensor(float)": "float32"}
    return [
        {"name": t.name, "dtype": dtypes[t.type], "shape": [d if isinstance(d, int) else -1 for d in t.shape]} for t in tensors
    ]


def read_lines(path: Path) -> list[dict]:
    return [read_json(line) for line in path.read_text().splitlines()]


def read_json(text: str):
    def refuse(constant: str):
        raise ValueError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def check(holds: bool, claim: str) -> None:
    print(f"{'ok  ' if holds else 'FAIL'}  {claim}")
    if not holds:
        raise SystemExit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent)
