"""Run the benchmarks named on the command line, all of them by default: `make bench ARGS="activations descent"`.

Each script measures ratios against its peers, interleaved in one process; no test asserts a time.
"""

import platform
import subprocess
import sys
from pathlib import Path

import llvmlite.binding
import numba
import numpy
import scipy

HERE = Path(__file__).parent


def main(names):
    """Run each script in a process of its own; arguments from the first that begins with a dash on are the script's."""
    split = next((k for k, word in enumerate(names) if word.startswith("-")), len(names))
    names, options = names[:split], names[split:]
    found = sorted(p.stem for p in HERE.glob("*.py") if not p.stem.startswith("_"))
    if unknown := set(names) - set(found):
        sys.exit(f"no such benchmark: {', '.join(sorted(unknown))}; there are {', '.join(found)}")
    print(f"{platform.machine()}, {numba.config.NUMBA_NUM_THREADS} processors, Numba's name for them: ", end="")
    print(llvmlite.binding.get_host_cpu_name())
    versions = {"Python": platform.python_version(), "NumPy": numpy.__version__, "SciPy": scipy.__version__}
    print(", ".join(f"{name} {version}" for name, version in {**versions, "Numba": numba.__version__}.items()))
    status = 0
    for name in names or found:
        print(f"\n== {name}", flush=True)
        status |= subprocess.run([sys.executable, str(HERE / f"{name}.py"), *options], check=False).returncode
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
