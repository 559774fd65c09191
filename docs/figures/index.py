"""The figure of the front page."""

import numpy as np
from figures.drawing import BLUE, ORANGE, figure, new
from numba import njit
from sklearn.datasets import load_breast_cancer

import derivable as dv


@njit
def _loss(w, A, s):
    return dv.softplus(-s * (A @ w)).sum() + 0.5 * (w[:-1] ** 2).sum()


_gradient = dv.grad(_loss)


def loss_curve() -> str:
    """Draw how far the loss is above its minimum after each step, and how many rows are classified wrongly."""
    X, y = load_breast_cancer(return_X_y=True)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    A, s = np.column_stack([X, np.ones(len(X))]), 2.0 * y - 1.0
    L = np.linalg.eigvalsh(A.T @ A)[-1] / 4 + 1
    best = dv.gradient_descent(_gradient, np.zeros(31), 1.9 / L, 40_000, args=(A, s), value=_loss, keep="last")
    run = dv.gradient_descent(_gradient, np.zeros(31), 1 / L, 10_000, args=(A, s), value=_loss)
    gap = run.values - best.values.min()
    steps = np.arange(len(gap))
    shown = np.unique(np.geomspace(1, len(gap) - 1, 300).astype(int))
    errors = 100 * np.mean(np.sign(run.iterates[shown] @ A.T) != s, axis=1)
    fig, (above, below) = new(height=4.2, rows=2, sharex=True)
    above.loglog(steps[shown], gap[shown], color=BLUE)
    above.set_ylabel("loss above its minimum")
    below.semilogx(steps[shown], errors, color=ORANGE)
    below.set_ylabel("misclassified, %")
    below.set_xlabel("steps taken")
    below.set_ylim(0, None)
    hundred = 100 * np.mean(np.sign(A @ run.iterates[100]) != s)
    return figure(
        fig,
        label="front-loss-curve",
        caption=(
            f"The loss comes to within {gap[-1]:.0e} of its minimum in 10,000 steps. The share of misclassified rows "
            f"is down to {hundred:.1f} % after a hundred of them: what follows moves weights that decide little."
        ),
        alt=(
            f"Two curves over the number of steps, from 1 to 10,000. The loss above its minimum falls from "
            f"{gap[1]:.0f} to {gap[-1]:.0e}, ever more steeply. The misclassified rows fall from {errors[0]:.1f} "
            f"per cent after one step to {hundred:.1f} after a hundred and {errors[-1]:.1f} at the end."
        ),
    )
