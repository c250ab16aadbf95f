"""Check the model folder's files against each other. Trains nothing.

    python train/verify.py [DIR]
"""

import sys
from pathlib import Path

import version_1

if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent
    version_1.module("verify").main(folder)
