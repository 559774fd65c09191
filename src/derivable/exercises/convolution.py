"""The exercises of the chapter on convolution."""

from __future__ import annotations

from typing import Any

import numpy as np

from derivable.exercises.exercise import Exercise, Function, Mistake, Value, Witness, array_of, refuse

__all__ = ["EXERCISES"]


def _reach(K: int, s: int, k: int) -> int:
    return 1 + (K - 1) * sum(s**i for i in range(k))


def _valid(x: np.ndarray, h: np.ndarray) -> np.ndarray:
    return np.array([x[i : i + len(h)] @ h for i in range(len(x) - len(h) + 1)])


def _cyclic(x: np.ndarray, h: np.ndarray, n: int) -> np.ndarray:
    return np.fft.irfft(np.fft.rfft(x, n) * np.fft.rfft(h, n), n)


def _back(h: np.ndarray, y_bar: np.ndarray, s: int, n: int) -> np.ndarray:
    x_bar = np.zeros(n)
    for i, share in enumerate(y_bar):
        x_bar[s * i : s * i + len(h)] += share * h
    return x_bar


def _short_back(h: np.ndarray, y_bar: np.ndarray, s: int, n: int) -> np.ndarray:
    return _back(h, y_bar, s, s * (len(y_bar) - 1) + len(h))


def _back_case(rng: np.random.Generator) -> tuple[Any, ...]:
    m, s, count, extra = (
        int(rng.integers(2, 5)),
        int(rng.integers(1, 4)),
        int(rng.integers(2, 5)),
        int(rng.integers(0, 3)),
    )
    n = s * (count - 1) + m + min(extra, s - 1)
    return rng.normal(size=m), rng.normal(size=count), s, n


def _lost_blur(answer: Any) -> None:
    h = array_of(answer, "The kernel", (3,))
    if np.any(h <= 0):
        raise refuse("positive", "A blur has positive taps: all three must be above 0.")
    spectrum = np.abs(np.fft.fft(h, 6))
    if spectrum.min() > 1e-9 * h.sum():
        k = int(np.argmin(spectrum))
        raise refuse(
            "invertible",
            f"This blur can be undone: its smallest |ĥ[k]| is {spectrum.min():.4g}, at k = {k}. Let it remove one frequency altogether.",
        )


def _moved_border(answer: Any) -> None:
    if not isinstance(answer, (tuple, list)) or len(answer) != 2:
        raise refuse("kind", "Hand in a pair (x, h): a row of numbers and a kernel of three taps.")
    x, h = array_of(answer[0], "The row x", (None,)), array_of(answer[1], "The kernel h", (3,))
    if not 5 <= x.size <= 50:
        raise refuse("size", f"The row x must have 5 to 50 numbers; yours has {x.size}.")
    if x[0] != 0 or x[-1] != 0:
        raise refuse("border", "x must begin and end with a 0: without that the claim is not even made.")
    a, b = np.convolve(np.roll(x, 1), h, "same"), np.roll(np.convolve(x, h, "same"), 1)
    if np.abs(a - b).max() <= 1e-9 * max(np.abs(x).max() * np.abs(h).max(), 1e-300):
        why = (
            "x is 0 everywhere"
            if not np.any(x)
            else "h is 0"
            if not np.any(h)
            else "x[n − 2] does come to the border, but h[2], the tap that reaches beyond it, is 0"
            if x[-2] != 0
            else "nothing of your x meets the border"
        )
        raise refuse(
            "commutes",
            f"For this x and h the two are equal: {why}. After the shift the window of the first or the last output must hold something else "
            "than before, or a number must come round the end.",
        )


def _alias(k: int, n: int, s: int) -> int:
    m = n // s
    return min(k % m, m - k % m)


EXERCISES: tuple[Exercise, ...] = (
    Value(
        id="convolution.1",
        title="By hand",
        level="warm-up",
        asks="an array: the full convolution of (1, 2, 4) with the kernel (1, −1).",
        hints=(
            "n + m − 1 = 4 numbers. Output i is the sum of h[k] x[i − k].",
            "Or multiply polynomials: (1 + 2z + 4z²)(1 − z).",
        ),
        right=np.array([1.0, 1.0, 2.0, -4.0]),
        mistakes=(
            Mistake(
                "flip",
                np.array([-1.0, -1.0, -2.0, 4.0]),
                "This is the correlation: it slides the kernel as it stands. Convolution flips it first.",
            ),
            Mistake(
                "mode",
                np.array([1.0, 2.0]),
                "This is the result `valid`. The full one has two numbers more, one at each end.",
            ),
            Mistake("mode", np.array([1.0, 1.0, 2.0]), "This is the result `same`. The full one has one number more."),
            Mistake(
                "cyclic",
                np.array([-3.0, 1.0, 2.0]),
                "This is the cyclic convolution: the last number came round to the first. Here the outputs go on.",
            ),
        ),
    ),
    Function(
        id="convolution.2",
        title="How much does one output see?",
        level="core",
        asks="a function of (K, s, k): the number of inputs that one output of k layers depends on, each with kernel size K and stride s.",
        hints=(
            "Go backwards from one output: r outputs of a layer need s(r − 1) + K of its inputs.",
            "r ↦ s(r − 1) + K, k times from r = 1. In closed form 1 + (K − 1)(1 + s + … + s^(k−1)).",
        ),
        variables=("K", "s", "k"),
        right=_reach,
        cases=((3, 2, 3), (3, 1, 4), (5, 2, 1), (1, 3, 2), (2, 3, 3)),
        random=lambda rng: (int(rng.integers(1, 7)), int(rng.integers(1, 4)), int(rng.integers(1, 6))),
        formulas=False,
        mistakes=(
            Mistake(
                "stride",
                lambda K, s, k: 1 + k * (K - 1),
                "This is for stride 1. Behind a stride, neighbours are s places apart: later layers see further.",
            ),
            Mistake(
                "product",
                lambda K, s, k: K**k,
                "Windows of neighbours overlap, so sizes do not multiply (they do for s = K).",
            ),
            Mistake(
                "off by one",
                lambda K, s, k: 1 + (K - 1) * sum(s**i for i in range(1, k + 1)),
                "The first layer sees neighbours at distance 1: the powers of s run from s⁰ to s^(k−1).",
            ),
        ),
    ),
    Function(
        id="convolution.3",
        title="Write the kernel: valid correlation",
        level="core",
        asks="a function of (x, h): the array of the sums h[0]x[i] + h[1]x[i + 1] + … that meet only numbers of x.",
        hints=(
            "With n numbers and m taps, i runs from 0 to n − m: that is n − m + 1 outputs.",
            "Output i is the inner product of h with x[i : i + m].",
        ),
        variables=("x", "h"),
        right=_valid,
        cases=(
            (np.array([1.0, 2.0, 4.0, 8.0]), np.array([1.0, -1.0])),
            (np.array([1.0, 2.0, 3.0]), np.array([1.0, 10.0, 100.0])),
            (np.array([5.0, 1.0]), np.array([2.0])),
        ),
        random=lambda rng: (rng.normal(size=int(rng.integers(6, 10))), rng.normal(size=int(rng.integers(2, 5)))),
        formulas=False,
        mistakes=(
            Mistake(
                "flip",
                lambda x, h: np.convolve(x, h, "valid"),
                "This flips the kernel: it is the convolution. The correlation takes h as it stands.",
            ),
            Mistake(
                "mode",
                lambda x, h: np.correlate(x, h, "full"),
                "These are all sums, also those that reach beyond x. Asked are the n − m + 1 in the middle.",
            ),
        ),
    ),
    Function(
        id="convolution.4",
        title="Fix the bug: convolution by the Fourier transform",
        level="core",
        asks="the repaired function of (x, h): the full convolution, real.",
        hints=(
            "Try x = (0, 0, 1) and h = (1, 1). Where should the last number be, and where is it?",
            "A product of transforms is a cyclic convolution. Give it room: fill both up with zeros to n + m − 1 numbers or more.",
        ),
        variables=("x", "h"),
        right=lambda x, h: np.convolve(x, h),
        cases=(
            (np.array([0.0, 0.0, 1.0]), np.array([1.0, 1.0])),
            (np.array([1.0, 2.0, 3.0, 4.0, 5.0]), np.array([1.0, 2.0, 3.0])),
            (np.array([2.0, 7.0]), np.array([3.0])),
        ),
        random=lambda rng: (rng.normal(size=int(rng.integers(3, 9))), rng.normal(size=int(rng.integers(1, 4)))),
        formulas=False,
        atol=1e-9,
        mistakes=(
            Mistake(
                "cyclic",
                lambda x, h: _cyclic(x, h, len(x)),
                "This is the function of the page: what leaves at the end comes in at the front. Fill up with zeros first.",
            ),
            Mistake(
                "too long",
                lambda x, h: _cyclic(x, h, len(x) + len(h)),
                "The zeros are there. The result has one number too many: n + m − 1, not n + m. (Cut it, if the transform should be longer.)",
            ),
        ),
    ),
    Function(
        id="convolution.5",
        title="Write the kernel: backwards through a stride",
        level="hard",
        asks="a function of (h, y_bar, s, n): the adjoint of x, an array of n numbers, for y[i] = Σ h[k] x[s i + k].",
        hints=(
            "Which outputs use x[j], and with which tap? Each sends its share y_bar[i] h[k].",
            "Turn it round: output i sends y_bar[i]·h to the places s i, …, s i + m − 1. Add them up.",
            "If the last inputs are never read, their adjoint is 0: the answer has n numbers all the same.",
        ),
        variables=("h", "y_bar", "s", "n"),
        right=_back,
        cases=(
            (np.array([1.0, 2.0, 3.0]), np.array([1.0, 10.0]), 1, 4),
            (np.array([1.0, 2.0, 3.0]), np.array([1.0, 10.0]), 2, 5),
            (np.array([1.0, 2.0]), np.array([1.0, 1.0, 1.0]), 3, 8),
            (np.array([1.0, 2.0]), np.array([1.0, 1.0, 1.0]), 3, 10),
        ),
        random=_back_case,
        formulas=False,
        mistakes=(
            Mistake(
                "flip",
                lambda h, y_bar, s, n: _back(h[::-1], y_bar, s, n),
                "The kernel is the wrong way round: x[s i + k] was multiplied by h[k], so it gets h[k] back.",
            ),
            Mistake(
                "unread",
                _short_back,
                "The last inputs may be read by no output. Their adjoint is 0, and they belong to the answer: it has n numbers.",
            ),
            Mistake(
                "stride",
                lambda h, y_bar, s, n: _back(h, y_bar, 1, n),
                "This is for stride 1. Output i read the inputs from s i on: its shares go back to s i + k, not to i + k.",
            ),
            Mistake(
                "overwritten",
                lambda h, y_bar, s, n: _overwritten(h, y_bar, s, n),
                "Where windows overlap, a later share replaces an earlier one. An adjoint is a sum: use +=.",
            ),
        ),
    ),
    Witness(
        id="convolution.6",
        title="A blur that cannot be undone",
        level="core",
        asks="three positive taps whose cyclic convolution on 6 points is not invertible.",
        hints=(
            "Look at the eigenvalues ĥ[k] of the circulant matrix, k = 0, …, 5. One of them must be 0.",
            "At k = 3 the eigenvalue is h[0] − h[1] + h[2]; at k = 2 it is a sum along three directions 120° apart.",
        ),
        test=_lost_blur,
        says="for it removes a frequency, and nothing brings it back",
    ),
    Witness(
        id="convolution.7",
        title="Zeros at the ends are not enough",
        level="hard",
        asks="a pair (x, h): a row x of 5 to 50 numbers that begins and ends with 0, and three taps h, such that `same` convolution and the cyclic shift do not "
        "commute on x.",
        hints=(
            "An output looks one place to each side. What does the last output see before and after the shift?",
            "Put something at the last place but one: after the shift it stands at the border, and a part of its blur falls off.",
        ),
        test=_moved_border,
        says="for one 0 at each end does not shield the border from the shift",
    ),
    Function(
        id="convolution.8",
        title="What a sampled oscillation turns into",
        level="core",
        asks="a function of (k, n, s) with s a divisor of n: the frequency between 0 and n/(2s) that cos(2πkj/n) has after keeping every s-th number.",
        hints=(
            "The samples are cos(2πk i/n') with n' = n/s. Which other k give the same samples?",
            "k and k + n' do, and k and −k, as the cosine is even. Take the remainder, then fold.",
        ),
        variables=("k", "n", "s"),
        right=_alias,
        cases=((3, 12, 2), (4, 12, 2), (5, 12, 2), (6, 12, 2), (7, 12, 3), (0, 8, 2), (2, 12, 1)),
        random=lambda rng: (lambda m, s: (int(rng.integers(0, m * s)), m * s, s))(
            int(rng.integers(3, 9)), int(rng.integers(1, 5))
        ),
        formulas=False,
        mistakes=(
            Mistake(
                "not folded",
                lambda k, n, s: k % (n // s),
                "The remainder is right. But a cosine of frequency n' − k has the same samples as one of k: fold it to the lower half.",
            ),
            Mistake(
                "divided",
                lambda k, n, s: k // s,
                "Sampling does not divide the frequency: as a fraction of the samples it even grows. It wraps round at n' = n/s.",
            ),
            Mistake(
                "ignored",
                lambda k, n, s: k,
                "This ignores the sampling: n' = n/s samples tell only the frequencies up to n'/2 apart.",
            ),
        ),
    ),
)


def _overwritten(h: np.ndarray, y_bar: np.ndarray, s: int, n: int) -> np.ndarray:
    x_bar = np.zeros(n)
    for i, share in enumerate(y_bar):
        x_bar[s * i : s * i + len(h)] = share * h
    return x_bar
