"""Run many random configurations of the convolutions against torch and SciPy; see tests/README.md."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2] / "src")]


def main():
    from convolution.configurations import run

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    try:
        import torch

        torch.set_num_threads(1)  # tiny arrays: more threads only wait for each other
    except ImportError:
        parser.error("torch is needed: pip install torch")
    start = time.perf_counter()
    done = run(options.count, options.seed, report=1000)
    print(f"{options.count} configurations agree ({done}) in {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
