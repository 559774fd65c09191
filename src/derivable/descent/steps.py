r"""One step of descent: minimise a linear model of the function, held close to where it was made.

The model at a point $w$ is $f(w) + \langle g, w' - w\rangle$ with $g = \nabla f(w)$. Alone it has no
minimiser; a proximity term, or a ball, keeps the answer near $w$. Which notion of "near" is chosen decides
the method: gradient descent, a preconditioned step, Newton's, the sign step, one coordinate at a time.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from derivable.validation import as_array, check_choice, check_finite, check_positive

__all__ = ["proximal_step", "trust_region_step"]

Norm = Literal["l1", "l2", "linf"]


def proximal_step(
    gradient: Any,
    w: Any,
    lam: float,
    *,
    metric: Any = None,
    norm: Norm = "l2",
    half: bool = True,
) -> Any:
    r"""Minimise the linear model plus a squared distance, in closed form.

    The step is the point $w'$ that minimises

    $$\langle g, w' - w \rangle + \frac{\lambda}{2} \|w' - w\|^2 .$$

    With the Euclidean norm it is $w - g / \lambda$: gradient descent with step size $1/\lambda$. With a
    metric $M$, $\|d\|^2 = d^\top M d$, it is $w - M^{-1} g / \lambda$; with $M$ the Hessian and $\lambda = 1$
    that is Newton's step. With the l-infinity norm it is $w - (\|g\|_1 / \lambda) \operatorname{sign}(g)$;
    with the l1 norm only the coordinate of the largest $|g_i|$ moves, by $-g_i / \lambda$.

    Args:
        gradient: $g$, the gradient at `w`: an array of the shape of `w`, or a number.
        w: the point where the model was made. Not modified.
        lam: the weight $\lambda > 0$ of the proximity term.
        metric: for `norm="l2"`: positive numbers in the shape of `w` (a diagonal $M$), or a symmetric
            positive definite matrix of `w.size` rows; the identity by default.
        norm: "l2", "l1" or "linf".
        half: whether the proximity term carries the factor 1/2, as above. Without it, $\lambda \|w' - w\|^2$,
            the step is half as long.

    Returns:
        $w'$, in the shape of `w`; float32 if `w` and `gradient` are, float64 for integers. Where the
        minimiser is not unique (l1: several largest $|g_i|$; linf: some $g_i = 0$) it is the one that moves
        the first of these coordinates, or does not move the coordinates of zero gradient.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if shapes disagree, a number is not finite, `lam` is not positive, `metric` is not
            positive definite, or the step overflows.

    Examples:
        ```python
        import derivable as dv

        print(dv.proximal_step([4.0, -2.0], [1.0, 1.0], lam=2.0))
        #> [-1.  2.]
        print(dv.proximal_step([4.0, -2.0], [1.0, 1.0], lam=2.0, metric=[4.0, 1.0]))
        #> [0.5 2. ]
        print(dv.proximal_step([4.0, -2.0], [1.0, 1.0], lam=2.0, norm="linf"))
        #> [-2.  4.]
        ```

    References:
        A. Beck and M. Teboulle, *Mirror descent and nonlinear projected subgradient methods for convex
        optimization*, Operations Research Letters 31 (2003). S. Boyd and L. Vandenberghe, *Convex
        Optimization* (2004), section 9.4.
    """
    g, point = _check(gradient, w)
    weight = check_positive(lam, "lam")
    check_choice(norm, "norm", ("l1", "l2", "linf"))
    if not isinstance(half, (bool, np.bool_)):
        raise TypeError(f"half must be True or False, got {half!r}")
    eta = 1 / weight if half else 1 / (2 * weight)
    if metric is not None:
        if norm != "l2":
            raise ValueError(f"metric needs norm='l2', got norm={norm!r}")
        direction = _solve(metric, g)
    elif norm == "l2":
        direction = g
    else:
        # The dual norm of g is how fast the model falls along a direction of unit length.
        with np.errstate(over="ignore"):  # `_move` refuses what overflows
            dual = np.abs(g).sum() if norm == "linf" else np.abs(g).max()
        direction = dual * _steepest(g, norm)
    return _typed(_move(point, eta, direction), g, point)


def trust_region_step(gradient: Any, w: Any, radius: float, *, norm: Norm = "l2") -> Any:
    r"""Minimise the linear model over a ball, in closed form.

    The step is a point $w'$ that minimises $\langle g, w' - w \rangle$ among those with $\|w' - w\| \le r$.
    It always has length $r$ (unless $g = 0$), however small the gradient. The l2 ball gives the normalised
    gradient step, the l-infinity ball (a cube) the sign step, the l1 ball a step along the coordinate of the
    largest $|g_i|$.

    Args:
        gradient: $g$, the gradient at `w`: an array of the shape of `w`, or a number.
        w: the point where the model was made. Not modified.
        radius: $r > 0$.
        norm: "l2", "l1" or "linf".

    Returns:
        $w'$; shape, dtype and ties as in [`proximal_step`][derivable.proximal_step].

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if shapes disagree, a number is not finite, `radius` is not positive, or the step
            overflows.

    Examples:
        ```python
        import derivable as dv

        for norm in ("l2", "linf", "l1"):
            print(dv.trust_region_step([3.0, -4.0], [0.0, 0.0], 0.5, norm=norm))
        #> [-0.3  0.4]
        #> [-0.5  0.5]
        #> [0.  0.5]
        ```

    References:
        S. Boyd and L. Vandenberghe, *Convex Optimization* (2004), section 9.4. J. Bernstein and others,
        *signSGD: compressed optimisation for non-convex problems*, ICML 2018.
    """
    g, point = _check(gradient, w)
    r = check_positive(radius, "radius")
    check_choice(norm, "norm", ("l1", "l2", "linf"))
    return _typed(_move(point, r, _steepest(g, norm)), g, point)


def _check(gradient: Any, w: Any) -> tuple[np.ndarray, np.ndarray]:
    g, point = as_array(gradient, "gradient", kinds="iuf"), as_array(w, "w", kinds="iuf")
    if g.shape != point.shape:
        raise ValueError(f"gradient must have the shape of w, {point.shape}, got {g.shape}")
    check_finite(g, "gradient")
    check_finite(point, "w")
    dtype = np.float32 if g.dtype == point.dtype == np.float32 else np.float64
    return g.astype(dtype), point.astype(dtype)


def _move(point: np.ndarray, length: float, direction: Any) -> Any:
    """Return point - length * direction, or say that the step leaves the range of its type."""
    with np.errstate(all="ignore"):
        result = point - length * direction
    if not np.isfinite(result).all():
        raise ValueError(f"the step from w must be finite in {point.dtype}, but it overflows: scale the problem")
    return result


def _typed(result: Any, g: np.ndarray, point: np.ndarray) -> Any:
    result = np.asarray(result, dtype=np.result_type(g, point))
    return result if result.ndim else result[()]


def _steepest(g: np.ndarray, norm: str) -> np.ndarray:
    """Return the direction u of unit norm along which <g, u> is largest (0 where g is 0)."""
    if norm == "linf":
        return np.sign(g)
    unit = np.zeros_like(g)
    largest = np.abs(g).max()
    if largest == 0:
        return unit
    if norm == "l1":
        i = np.unravel_index(np.argmax(np.abs(g)), g.shape)
        unit[i] = np.sign(g[i])
        return unit
    scaled = g / largest  # so that no square over- or underflows
    return scaled / np.sqrt(np.sum(scaled * scaled))


def _solve(metric: Any, g: np.ndarray) -> np.ndarray:
    """Return M^{-1} g for a diagonal metric in the shape of g, or a full one of g.size rows."""
    m = as_array(metric, "metric", kinds="iuf")
    check_finite(m, "metric")
    if m.shape == g.shape:
        if m.min() <= 0:
            raise ValueError(f"metric must be greater than 0 everywhere, got {m.min()}")
        with np.errstate(all="ignore"):  # `_move` refuses what overflows
            return g / m.astype(g.dtype)
    if m.shape != (g.size, g.size):
        raise ValueError(
            f"metric must have the shape of w, {g.shape} (diagonal), or {(g.size, g.size)} (full), got {m.shape}"
        )
    m = m.astype(g.dtype)
    if not np.allclose(m, m.T, rtol=1e3 * np.finfo(g.dtype).eps, atol=0):
        raise ValueError("metric must be symmetric")
    try:
        np.linalg.cholesky(m)  # exists exactly if m is positive definite
    except np.linalg.LinAlgError:
        raise ValueError(
            f"metric must be positive definite, got a smallest eigenvalue of {np.linalg.eigvalsh(m)[0]:.3g}"
        ) from None
    return np.linalg.solve(m, g.reshape(-1)).reshape(g.shape)
