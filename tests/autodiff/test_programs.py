"""Random programs agree with dual numbers run through the same source."""

from collections import Counter

import hypothesis
import pytest

from autodiff import programs

PHASES = (hypothesis.Phase.generate, hypothesis.Phase.shrink)  # "explain" costs as much again


@pytest.mark.parametrize("block", range(6))
def test_random_programs_as_plain_python(block):
    """Fifty programs a block, in all verbs; hypothesis shrinks the one that fails."""
    outcomes = Counter()

    @hypothesis.seed(block)
    @hypothesis.settings(max_examples=50, database=None, phases=PHASES)
    @hypothesis.given(programs.sources())
    def check(source):
        outcome = programs.check(source)
        outcomes[outcome.split(":")[0]] += 1
        assert not outcome.startswith("wrong"), f"{outcome}\n{source}"

    check()
    assert outcomes["refused"] <= 5
    assert outcomes["NaN"] <= 2
    assert outcomes["right"] >= 30


def test_random_programs_with_matrices_and_functions_of_arrays():
    outcomes = {seed: programs.check(programs.seeded(seed, programs.WideGenerator)) for seed in range(60)}
    assert not [o for o in outcomes.items() if o[1].split(":")[0] not in ("right", "skipped", "refused", "NaN")]
    assert sum(o == "right" for o in outcomes.values()) >= 45


@pytest.mark.slow
@pytest.mark.parametrize("block", range(4))
def test_random_programs_compiled(block):
    outcomes = {
        seed: programs.check(programs.seeded(seed), compiled=True) for seed in range(10 * block, 10 * block + 10)
    }
    wide = {
        seed: programs.check(programs.seeded(seed, programs.WideGenerator), compiled=True)
        for seed in range(2 * block, 2 * block + 2)
    }
    for made, least in ((outcomes, 7), (wide, 1)):
        assert not [o for o in made.items() if o[1].split(":")[0] not in ("right", "skipped", "refused", "NaN")]
        assert sum(o == "right" for o in made.values()) >= least
