r"""What a class of functions can fit: a network that memorizes anything, and Rademacher complexity.

A network of one hidden layer of n ReLU units, all of which see the same projection of the input, is a
piecewise linear function of that projection with n kinks. Put one kink between each point and the next, and
there is one unknown slope for each wanted value: a triangular system, solved from left to right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from derivable.generalization.streams import stream
from derivable.jit import kernel
from derivable.validation import as_array, check_count, check_finite, check_number

__all__ = ["MemorizingNetwork", "memorize", "rademacher_complexity"]

LARGEST_ENUMERATION = 24  # points; beyond, 2^n sign vectors take minutes


# ------------------------------------------------------------------------------------- a network that memorizes


@kernel
def project(X: np.ndarray, direction: np.ndarray, out: np.ndarray) -> None:
    """Write the inner product of each row with the direction; always summed in the same order."""
    for i in range(X.shape[0]):
        s = 0.0
        for j in range(X.shape[1]):
            s += X[i, j] * direction[j]
        out[i] = s


@kernel
def evaluate(z: np.ndarray, biases: np.ndarray, weights: np.ndarray, out: np.ndarray) -> None:
    """Write sum_j weights[j] max(z[i] - biases[j], 0); the biases ascend."""
    for i in range(z.size):
        s = 0.0
        for j in range(biases.size):
            if z[i] <= biases[j]:  # so do all that follow: their units are silent
                break
            s += weights[j] * (z[i] - biases[j])
        out[i] = s


@kernel
def solve_forward(z: np.ndarray, biases: np.ndarray, y: np.ndarray, weights: np.ndarray) -> None:
    """Solve the triangular system by its definition: row i has the entries max(z_i - b_j, 0), j <= i."""
    for i in range(z.size):
        s = y[i]
        for j in range(i):
            s -= weights[j] * (z[i] - biases[j])
        weights[i] = s / (z[i] - biases[i])


@kernel
def solve_slopes(z: np.ndarray, biases: np.ndarray, y: np.ndarray, weights: np.ndarray) -> float:
    """Solve the same system in n steps, and return the condition number of its matrix in the maximum norm.

    Between two kinks the network is linear. Going through (z_{i-1}, y_{i-1}) with the slope S_{i-1}, it bends
    at b_i and has to reach (z_i, y_i): S_i (z_i - b_i) = y_i - y_{i-1} - S_{i-1} (b_i - z_{i-1}). A weight is
    the change of the slope at its kink.

    The condition number is the product of two largest sums of absolute values in a row: of the matrix, where
    it is the last row's, and of its inverse. In row i of the inverse the signs alternate, so that the sum for
    S_i, here `total`, follows the same recurrence with plus signs.
    """
    slope, total, largest, row = 0.0, 0.0, 0.0, 0.0
    for i in range(z.size):
        rise = z[i] - biases[i]
        before = biases[i] - z[i - 1] if i > 0 else 0.0
        step = y[i] - y[i - 1] if i > 0 else y[i]
        new = (step - slope * before) / rise
        weights[i] = new - slope
        ends = 2.0 if i > 0 else 1.0  # y_i, and y_{i-1} where there is one
        largest = max(largest, ends / rise + (1.0 + before / rise) * total)
        total = ends / rise + before / rise * total
        slope = new
        row += z[z.size - 1] - biases[i]
    return largest * row


@dataclass(frozen=True, eq=False)
class MemorizingNetwork:
    r"""The network $f(x) = \sum_j w_j \max(\langle a, x\rangle - b_j, 0)$ that [`memorize`][derivable.memorize] builds.

    Call it on points (m, d), or on a single point (d,), for its values (m,), or a number.

    Attributes:
        direction: $a$ (d,), of unit length: the weights of every hidden unit.
        biases: $b$ (n,), ascending.
        weights: $w$ (n,), of the output unit.
        gap: the smallest distance between two projected training points; it sets the conditioning.
        condition: the condition number of the triangular matrix in the maximum norm.
        residual: $\|f(X) - y\| / \|y\|$ on the training points, as computed (the numerator alone if $y = 0$).
    """

    direction: np.ndarray
    biases: np.ndarray
    weights: np.ndarray
    gap: float
    condition: float
    residual: float

    @property
    def parameters(self) -> int:
        """The number of weights, 2n + d."""
        return self.direction.size + self.biases.size + self.weights.size

    def __call__(self, X: Any) -> Any:
        """Return the network's values."""
        points = as_array(X, "X", kinds="biuf", empty=True)
        d = self.direction.size
        if points.ndim not in (1, 2) or points.shape[-1] != d:
            raise ValueError(f"X must have shape (points, {d}) or ({d},), got {points.shape}")
        check_finite(points, "X")
        rows = np.ascontiguousarray(points.reshape(-1, d), dtype=np.float64)
        z, out = np.empty(len(rows)), np.empty(len(rows))
        with np.errstate(all="ignore"):
            project(rows, self.direction, z)
            evaluate(z, self.biases, self.weights, out)
        return out if points.ndim == 2 else float(out[0])

    def __repr__(self) -> str:
        return (
            f"MemorizingNetwork({self.parameters} weights, smallest gap {self.gap:.3g}, "
            f"condition {self.condition:.3g}, relative residual {self.residual:.3g})"
        )


def memorize(X: Any, y: Any, seed: int = 0, *, draws: int = 300, position: float = 0.0) -> MemorizingNetwork:
    r"""Build a ReLU network of one hidden layer and 2n + d weights that takes given values at n points.

    Nothing is trained. The points are projected on a line, a kink is put between each point and the next, and
    the weights solve a triangular system. Of several random directions the one with the largest smallest gap
    between two projected points is taken, since weights and condition number grow as that gap shrinks.

    Args:
        X: n distinct points (n, d).
        y: the wanted values (n,), any real numbers: class numbers, or noise.
        seed: of the random directions.
        draws: how many directions to try.
        position: where between two neighbours the kink stands, as a part of their gap, from 0 (at the left point:
            the network joins the points by straight lines) to less than 1. From 0.5 on errors no longer die
            out from one point to the next; beyond, they grow exponentially.

    Returns:
        The network, in double precision; call it on points.

    Raises:
        TypeError: if an argument is not numeric, or a count is not an int.
        ValueError: if two rows of `X` are equal or too close to be told apart (the message gives their
            numbers), something is not finite, shapes disagree, or the weights overflow.

    Examples:
        ```python
        import derivable as dv

        f = dv.memorize([[0.0], [1.0], [2.0]], [1.0, -1.0, 4.0])
        print(f.parameters, f([[0.0], [1.0], [2.0]]))
        #> 7 [ 1. -1.  4.]
        ```

    References:
        C. Zhang, S. Bengio, M. Hardt, B. Recht and O. Vinyals, *Understanding deep learning requires rethinking
        generalization*, ICLR 2017, theorem 1 and appendix C.
    """
    X = np.ascontiguousarray(as_array(X, "X", kinds="biuf", ndim=2), dtype=np.float64)
    y = np.ascontiguousarray(as_array(y, "y", kinds="biuf", ndim=1), dtype=np.float64)
    if len(X) != len(y):
        raise ValueError(f"y must have one entry for each of the {len(X)} rows of X, got {len(y)}")
    check_finite(X, "X")
    check_finite(y, "y")
    seed = check_count(seed, "seed", least=0)
    draws = check_count(draws, "draws")
    position = check_number(position, "position")
    if not 0 <= position < 1:
        raise ValueError(f"position must be at least 0 and less than 1, got {position}")
    _refuse_duplicates(X)

    direction = _best_direction(X, stream(seed, "directions"), draws)
    z = np.empty(len(X))
    with np.errstate(all="ignore"):  # without the JIT NumPy would warn of what is checked here
        project(X, direction, z)
        order = np.argsort(z, kind="stable")
        z, values = z[order], y[order]
        gaps = np.diff(z)
    if not (np.isfinite(z).all() and np.isfinite(gaps).all()):
        raise ValueError("X is too large: its projections overflow; scale it")
    if gaps.size and gaps.min() <= 0:
        first, second = sorted(int(i) for i in order[np.argmin(gaps) : np.argmin(gaps) + 2])
        raise ValueError(
            f"rows {first} and {second} of X are too close: none of {draws} directions tells their projections "
            "apart in double precision"
        )
    biases = np.empty(len(X))
    biases[0] = z[0] - (float(gaps.mean()) if gaps.size else 1.0)
    biases[1:] = np.minimum(z[:-1] + position * gaps, np.nextafter(z[1:], -np.inf))
    weights = np.empty(len(X))
    fitted = np.empty(len(X))
    with np.errstate(all="ignore"):
        condition = solve_slopes(z, biases, values, weights)
        evaluate(z, biases, weights, fitted)
    if not np.isfinite(fitted).all():
        i = int(np.argmin(gaps)) if gaps.size else 0
        rows = sorted(int(k) for k in order[i : i + 2])
        raise ValueError(
            f"the weights overflow: position {position:g} lets errors grow, or rows {rows} of X, {gaps.min():.3g} "
            "apart on the line, are too close for values that differ so much"
        )
    size = float(np.linalg.norm(y))
    return MemorizingNetwork(
        direction=direction,
        biases=biases,
        weights=weights,
        gap=float(gaps.min()) if gaps.size else np.inf,
        condition=float(condition),
        residual=float(np.linalg.norm(fitted - values)) / (size or 1.0),
    )


def _refuse_duplicates(X: np.ndarray) -> None:
    _, first, inverse = np.unique(X + 0.0, axis=0, return_index=True, return_inverse=True)  # -0.0 becomes 0.0
    original = first[inverse.reshape(-1)]
    repeated = np.flatnonzero(original != np.arange(len(X)))
    if repeated.size:
        row = int(repeated[0])
        more = f" ({repeated.size} rows repeat an earlier one)" if repeated.size > 1 else ""
        raise ValueError(
            f"X must not hold a point twice: rows {int(original[row])} and {row} are equal{more}. A function takes "
            "one value at each point"
        )


def _best_direction(X: np.ndarray, rng: np.random.Generator, draws: int) -> np.ndarray:
    """Return the unit vector, among random ones, along which the closest two points are farthest apart."""
    n, d = X.shape
    best, widest = np.zeros(d), -1.0
    block = max(1, min(draws, 2**22 // n))  # directions at a time: some tens of megabytes
    for start in range(0, draws, block):
        directions = rng.normal(size=(min(block, draws - start), d))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        with np.errstate(all="ignore"):  # the caller refuses what overflows
            projected = np.sort(X @ directions.T, axis=0)
            smallest = np.diff(projected, axis=0).min(axis=0) if n > 1 else np.ones(len(directions))
        i = int(np.argmax(smallest))
        if smallest[i] > widest or start == 0:
            best, widest = directions[i], float(smallest[i])
    return best * np.sign(best[np.argmax(np.abs(best))])  # of the two signs, the one with the largest entry positive


# --------------------------------------------------------------------------------------- Rademacher complexity


@kernel
def enumerate_signs(values: np.ndarray) -> float:
    """Return the sum, over all sign vectors whose last sign is +1 and their negatives, of the largest correlation.

    The sign vectors come in the order of the Gray code: from one to the next a single sign changes, so that
    each of the sums over the points changes by one term.
    """
    m, n = values.shape
    sums = np.empty(m)
    for k in range(m):
        sums[k] = 0.0
        for i in range(n):
            sums[k] += values[k, i]
    signs = np.ones(n)
    total = 0.0
    for count in range(2 ** (n - 1)):
        if count > 0:
            i = 0  # the lowest bit that is set in the count tells which sign changes
            while (count >> i) & 1 == 0:
                i += 1
            signs[i] = -signs[i]
            for k in range(m):
                sums[k] += 2 * signs[i] * values[k, i]
        highest, lowest = sums[0], sums[0]
        for k in range(1, m):
            highest = max(highest, sums[k])
            lowest = min(lowest, sums[k])
        total += highest - lowest  # the vector and its negative
    return total


def rademacher_complexity(values: Any, *, draws: int | None = None, seed: int = 0) -> float:
    r"""Compute the empirical Rademacher complexity of a finite class of functions.

    It is the mean, over the $2^n$ vectors of signs $\sigma$, of the best correlation that a function of the
    class reaches with them:

    $$\hat{\mathcal R} = \mathbb{E}_\sigma \max_f \frac1n \sum_{i=1}^n \sigma_i f(x_i) .$$

    Args:
        values: the functions' values (functions, n): row k holds $f_k(x_1), ..., f_k(x_n)$. Of an infinite class
            with finitely many value vectors on these points (all classifiers, for example) give each vector once.
        draws: how many random sign vectors to average over; by default all $2^n$, exactly, for n up to 24.
        seed: of the random sign vectors.

    Returns:
        The complexity; for `draws`, an estimate of it.

    Raises:
        TypeError: if `values` is not numeric.
        ValueError: if something is not finite or so large that sums overflow, or if `draws` is not given and n is
            larger than 24.

    Examples:
        ```python
        import derivable as dv
        import numpy as np

        steps = [np.where(np.arange(4) < k, -1, 1) for k in range(5)]  # thresholds on four points of a line
        print(dv.rademacher_complexity(steps))
        #> 0.59375
        ```

    References:
        P. L. Bartlett and S. Mendelson, *Rademacher and Gaussian complexities*, Journal of Machine Learning
        Research 3 (2002).
    """
    table = np.ascontiguousarray(as_array(values, "values", kinds="biuf", ndim=2), dtype=np.float64)
    check_finite(table, "values")
    n = table.shape[1]
    if draws is None:
        if n > LARGEST_ENUMERATION:
            raise ValueError(
                f"values has {n} points, and the mean over all 2^{n} sign vectors would take too long: at most "
                f"{LARGEST_ENUMERATION} are allowed; pass draws=10_000 for an estimate"
            )
        with np.errstate(all="ignore"):
            return _finite(float(enumerate_signs(table) / (2**n * n)))
    draws = check_count(draws, "draws")
    rng = stream(check_count(seed, "seed", least=0), "signs")
    total, block = 0.0, max(1, min(draws, 2**22 // max(n, len(table))))
    for start in range(0, draws, block):
        signs = rng.choice([-1.0, 1.0], size=(min(block, draws - start), n))
        with np.errstate(all="ignore"):
            total += float((signs @ table.T).max(axis=1).sum())
    return _finite(total / (draws * n))


def _finite(complexity: float) -> float:
    if not np.isfinite(complexity):
        raise ValueError("values are too large: their sums overflow; scale them, and the complexity scales along")
    return complexity
