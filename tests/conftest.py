"""Settings of the whole suite: hypothesis profiles, Numba's start-up, and the count of missing peers."""

import os
import re
import warnings
from collections import Counter
from pathlib import Path

import hypothesis
import joblib
import pytest

hypothesis.settings.register_profile(
    "default", deadline=None, print_blob=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
# CI tries the same examples each time: a landing never depends on luck. Long runs use the default profile.
hypothesis.settings.register_profile("ci", hypothesis.settings.get_profile("default"), derandomize=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "default")


@pytest.fixture(scope="session", autouse=True)
def warm_numba():
    """Pay Numba's own start-up once, so that no single test looks slow for it."""
    from derivable.jit import kernel

    kernel(lambda: 0, cache=False)()


@pytest.fixture
def dask_in_this_process():
    """Let joblib hand its jobs to a Dask cluster that lives in this process."""
    distributed = pytest.importorskip("distributed", reason="distributed is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the cluster's own threads and sockets
        cluster = distributed.LocalCluster(
            n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None, protocol="inproc://"
        )
        with cluster, distributed.Client(cluster), joblib.parallel_config(backend="dask"):
            yield


@pytest.fixture
def figures(monkeypatch):
    """Let a test import the scripts that draw the book's figures."""
    monkeypatch.syspath_prepend(Path(__file__).resolve().parents[1] / "docs")


def pytest_collection_modifyitems(config, items):
    """Leave the exhaustive sweeps out unless they are asked for by `-m exhaustive`."""
    if "exhaustive" in (config.option.markexpr or ""):
        return
    kept = [item for item in items if not item.get_closest_marker("exhaustive")]
    if len(kept) != len(items):
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = kept


PEERS = re.compile(r"\b(torch|pytorch|jax|autograd|pepit|distributed|playwright|chromium)\b", re.IGNORECASE)


def pytest_terminal_summary(terminalreporter):
    """Say how many comparisons were left out because a peer or a browser is not installed."""
    missing = Counter()
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        found = PEERS.search(reason)
        kind = "comparisons with a peer" if "peer" in report.keywords else "browser tests"
        if "peer" in report.keywords or "browser" in report.keywords:
            missing[kind, found.group(1).lower().replace("pytorch", "torch") if found else "a peer"] += 1
    if missing:
        terminalreporter.section("left out")
        for (kind, name), count in sorted(missing.items()):
            terminalreporter.write_line(f"{count} {kind} left out: {name} is not installed")
