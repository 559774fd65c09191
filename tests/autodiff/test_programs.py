"""Random programs agree with dual numbers run through the same source."""

import pytest

from autodiff import programs


@pytest.mark.parametrize("block", range(30))
def test_random_programs_as_plain_python(block):
    outcomes = [programs.check(seed, jvp=True) for seed in range(10 * block, 10 * block + 10)]
    assert not [o for o in outcomes if o.split(":")[0] not in ("right", "skipped", "refused")]
    assert sum(o.startswith("refused") for o in outcomes) <= 2
    assert sum(o == "right" for o in outcomes) >= 5


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1000, 1040))
def test_random_programs_compiled(seed):
    outcome = programs.check(seed, compiled=True)
    assert outcome.split(":")[0] in ("right", "skipped"), outcome
