"""Check the model folder's files against each other. Trains nothing.

    python train/verify.py [DIR]
"""

import hashlib
import json
import sys
from pathlib import Path

import onnxruntime as ort

from decision import DECISIONS, decide
from fields import columns_of_rows, feeds_of

DTYPES = {"tensor(float)": "float32", "tensor(string)": "string", "tensor(int64)": "int64"}


def main(folder: Path) -> None:
    manifest = read_json((folder / "model.json").read_text())
    artifact = (folder / manifest["artifact"]["file"]).read_bytes()
    check(hashlib.sha256(artifact).hexdigest() == manifest["artifact"]["sha256"], "the artifact has the manifest's sha256")
    session = ort.InferenceSession(artifact, providers=["CPUExecutionProvider"])
    check(signature(session.get_inputs()) == manifest["inputs"], "the graph takes the manifest's inputs")
    check(signature(session.get_outputs()) == manifest["outputs"], "the graph gives the manifest's outputs")

    golden = [read_json(line) for line in (folder / manifest["golden"]["file"]).read_text().splitlines()]
    expected = [g["output"] for g in golden]
    served = session.run(["probability"], feeds_of(columns_of_rows([g["input"] for g in golden])))[0].ravel()
    worst = max(abs(float(p) - e["probability"]) for p, e in zip(served, expected))
    check(worst <= manifest["golden"]["tolerance"], f"{len(golden)} golden rows agree (largest difference {worst:.1e})")
    check(all(decide(float(p)) == e["decision"] for p, e in zip(served, expected)), "golden decisions agree")
    check({e["decision"] for e in expected} == set(DECISIONS), "every decision has golden rows")
    check(set(read_json((folder / manifest["baseline"]).read_text())["inputs"]) == {f["name"] for f in manifest["row"]["fields"]}, "the baseline has every field")


def signature(tensors) -> list[dict]:
    return [
        {"name": t.name, "dtype": DTYPES[t.type], "shape": [d if isinstance(d, int) else -1 for d in t.shape]} for t in tensors
    ]


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
