"""The tight constants against performance estimation: the worst case over a class of functions, by convex optimisation.

PEPit finds it for a method and a number of steps; nothing of ours enters. The numbers that the chapter prints are
those in its block with `pep = {`, and are recomputed here.
"""

import ast
import re
import warnings
from pathlib import Path

import numpy as np
import pytest

import derivable as dv
from derivable.descent.accelerated import inertia

PAGE = Path(__file__).parents[2] / "docs" / "chapters" / "convergence.md"


def printed():
    """Return the numbers that stand in the chapter."""
    block = re.search(r"^pep = (\{.*?^\})", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return ast.literal_eval(block[1])


def solve(problem):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of cvxpy and its solvers
        return problem.solve(verbose=0)


def nonsmooth(T, sizes, which):
    """Return the worst gap of a subgradient method from T points (B = rho = 1): of their average, best, or the last."""
    from PEPit import PEP
    from PEPit.functions import ConvexLipschitzFunction

    problem = PEP()
    f = problem.declare_function(ConvexLipschitzFunction, M=1.0)
    star = f.stationary_point()
    w = problem.set_initial_point()
    problem.set_initial_condition((w - star) ** 2 <= 1)
    points = [w]
    for size in sizes[: T - 1]:
        v = f.gradient(points[-1])
        points.append(points[-1] - size * v)
    if which == "average":
        problem.set_performance_metric(f(sum(points[1:], points[0]) / T) - f(star))
    elif which == "best":
        for point in points:
            problem.set_performance_metric(f(point) - f(star))
    else:
        problem.set_performance_metric(f(points[-1]) - f(star))
    return solve(problem)


def smooth(T, method):
    """Return the worst gap after T steps at 1/L, with L = B = 1."""
    from PEPit import PEP
    from PEPit.functions import SmoothConvexFunction

    problem = PEP()
    f = problem.declare_function(SmoothConvexFunction, L=1.0)
    star = f.stationary_point()
    w = ahead = problem.set_initial_point()
    problem.set_initial_condition((w - star) ** 2 <= 1)
    s = inertia(T, optimized=method == "optimized")
    for t in range(T):
        new = ahead - f.gradient(ahead)
        if method == "gradient":
            after = new
        else:
            after = new + (s[t] - 1) / s[t + 1] * (new - w)
            if method == "optimized":
                after = after + s[t] / s[t + 1] * (new - ahead)
        w, ahead = new, after
    problem.set_performance_metric(f(ahead if method == "optimized" else w) - f(star))
    return solve(problem)


def constant(T):
    return [1 / np.sqrt(T)] * T


def linear(T):
    return [(1 - t / T) / np.sqrt(T) for t in range(1, T + 1)]


CASES = {
    "average of 4": lambda: nonsmooth(4, constant(4), "average"),
    "best of 4": lambda: nonsmooth(4, constant(4), "best"),
    "last of 2": lambda: nonsmooth(2, constant(2), "last"),
    "last of 3": lambda: nonsmooth(3, constant(3), "last"),
    "last of 5": lambda: nonsmooth(5, constant(5), "last"),
    "last of 5, linear": lambda: nonsmooth(5, linear(5), "last"),
    "gradient descent, 1": lambda: smooth(1, "gradient"),
    "gradient descent, 5": lambda: smooth(5, "gradient"),
    "Nesterov, 5": lambda: smooth(5, "nesterov"),
    "optimized, 5": lambda: smooth(5, "optimized"),
    "gradient descent, 10": lambda: smooth(10, "gradient"),
    "Nesterov, 10": lambda: smooth(10, "nesterov"),
    "optimized, 10": lambda: smooth(10, "optimized"),
}


@pytest.mark.peer
@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_the_numbers_of_the_chapter_are_worst_cases(case):
    pytest.importorskip("PEPit", reason="the peer PEPit is not installed")
    assert CASES[case]() == pytest.approx(printed()[case], rel=2e-3, abs=2e-5)


@pytest.mark.peer
@pytest.mark.slow
@pytest.mark.parametrize(("L", "mu", "size"), [(1.0, 0.1, 1.0), (2.0, 0.5, 0.8), (1.0, 0.25, 1.5)])
def test_the_contraction_of_a_step_is_the_worst_case(L, mu, size):
    pytest.importorskip("PEPit", reason="the peer PEPit is not installed")
    from PEPit import PEP
    from PEPit.functions import SmoothStronglyConvexFunction

    problem = PEP()
    f = problem.declare_function(SmoothStronglyConvexFunction, mu=mu, L=L)
    star = f.stationary_point()
    w = problem.set_initial_point()
    problem.set_initial_condition((w - star) ** 2 <= 1)
    for _ in range(2):
        w = w - size * f.gradient(w)
    problem.set_performance_metric((w - star) ** 2)
    bound = dv.rate_bound("strongly convex", B=1.0, L=L, mu=mu, T=2, step=size)
    assert solve(problem) == pytest.approx(bound**2, rel=1e-3)
