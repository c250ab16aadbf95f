"""Check the model folder's files against each other. Trains nothing.

    python train/verify.py [DIR]
"""

import hashlib
import json
import sys
from pathlib import Path

from tokenizers import Tokenizer

from classification import served_output
from graph import logits_of, open_session
from tokenization import token_ids


def main(folder: Path) -> None:
    manifest = read_json((folder / "model.json").read_text())
    files = {"artifact": manifest["artifact"], "tokenizer": manifest["preprocess"]["tokenizer"]}
    content = {name: (folder / declared["file"]).read_bytes() for name, declared in files.items()}
    for name, declared in files.items():
        check(hashlib.sha256(content[name]).hexdigest() == declared["sha256"], f"the {name} has the manifest's sha256")
    session = open_session(content["artifact"])
    check(signature(session.get_inputs()) == manifest["inputs"], "the graph takes the manifest's inputs")
    check(signature(session.get_outputs()) == manifest["outputs"], "the graph gives the manifest's outputs")
    labels = manifest["postprocess"]["labels"]
    check(manifest["outputs"][0]["shape"][1] == len(labels), f"the graph has a logit for each of {len(labels)} labels")

    tokenizer = Tokenizer.from_str(content["tokenizer"].decode())
    golden = read_lines(folder / manifest["golden"]["file"])
    ids = token_ids(tokenizer, [g["input"]["text"] for g in golden])
    outputs = [served_output(row, labels) for row in logits_of(session, ids, batch=1)]
    worst = max(abs(o["probabilities"][label] - p) for g, o in zip(golden, outputs) for label, p in g["output"]["probabilities"].items())
    check(worst <= manifest["golden"]["tolerance"], f"{len(golden)} golden rows agree (largest difference {worst:.1e})")
    check(all(o["label"] == g["output"]["label"] for g, o in zip(golden, outputs)), "golden labels agree")
    parity = read_lines(folder / "parity.jsonl")
    same = token_ids(tokenizer, [p["input"]["text"] for p in parity]) == [p["ids"] for p in parity]
    check(same, f"{len(parity)} parity rows have the same tokens")
    check(set(read_json((folder / manifest["baseline"]).read_text())["scores"]) == {"label", "probability"}, "the baseline has both scores")


def signature(tensors) -> list[dict]:
    dtypes = {"tensor(float)": "float32", "tensor(int64)": "int64"}
    return [
        {"name": t.name, "dtype": dtypes[t.type], "shape": [d if isinstance(d, int) else -1 for d in t.shape]} for t in tensors
    ]


def read_lines(path: Path) -> list[dict]:
    return [read_json(line) for line in path.read_text().split("\n") if line]


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
