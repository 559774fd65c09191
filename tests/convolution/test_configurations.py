"""A short version of the long run: random configurations against torch and SciPy."""

import pytest


def test_signals_against_scipy():
    from convolution.configurations import run

    assert run(150, 11, ("signal",))["signal"] == 150


@pytest.mark.peer
def test_layers_and_pooling_against_torch():
    torch = pytest.importorskip("torch", reason="the oracle for layers is torch")
    from convolution.configurations import run

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        done = run(400, 12, ("layer", "pool"))
    finally:
        torch.set_num_threads(threads)
    assert done["layer"] > 250
    assert done["pool"] > 40
