"""The scripts of fraud 1, of which this version changes a few.

Simulator, fields, split, metrics and trees have to be the same, or the two versions could not be compared; a copy of them would
drift apart. So this folder has the modules that differ, and what it does not have is imported from ../../1/train. A module of
the same name here stands in place of the one there, also for the ones there: `graph` builds its graph from this folder's
`feature_graph`. What is built on the one there loads it by `module`.
"""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

MODEL_FOLDER = Path(__file__).resolve().parents[2] / "1"
SCRIPTS = MODEL_FOLDER / "train"

# Behind the folder of the script that runs, before installed packages.
sys.path.insert(1, str(SCRIPTS))


def module(name: str) -> ModuleType:
    """
    A module of fraud 1 that has a namesake here. A fresh copy, which nobody else imports: names in it may be set, for its functions
    to read.
    """
    spec = importlib.util.spec_from_file_location(f"fraud_1_{name}", SCRIPTS / f"{name}.py")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded
