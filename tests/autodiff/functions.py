"""Functions whose derivatives JAX knows too: each rule alone, and small programs.

A function is an expression in the arguments below (or a body of statements), run with `np`, `math` and `dv`; its
counterpart is the same text run with JAX's modules of these names, or a text of its own where JAX has other words.
"""

# One function a line:
# ruff: noqa: E501

import ast
import linecache
import math
import types

import numpy as np

import derivable as dv

RNG = np.random.default_rng(11)
ARGUMENTS = {
    "s": 0.62,
    "t": -0.83,
    "x": np.array([0.31, 0.85, 0.47, 0.72, 0.18]),  # within (0, 1), all different
    "y": np.array([-1.3, 0.4, 1.1, -0.6, 0.9]),
    "z": np.array([1.7, 2.4, 1.2, 3.1, 1.5]),  # above 1
    "u": np.array([0.8, -0.5, 1.4, -1.1]),
    "a": RNG.normal(size=(4, 5)),
    "b": RNG.normal(size=(5, 3)),
    "q": RNG.normal(size=(4, 4)) + 4 * np.eye(4),
    "i": 2,
    "k": np.array([3, 0, 3, 1]),  # an index with one position twice
    "image": RNG.normal(size=(2, 2, 6, 5)),
    "kernel": RNG.normal(size=(4, 2, 3, 2)),
    "line": RNG.normal(size=(2, 4, 9)),
    "taps": RNG.normal(size=(6, 2, 3)),
    "video": RNG.normal(size=(1, 2, 4, 4, 3)),
    "cube": RNG.normal(size=(2, 2, 2, 2, 2)),
}

UNARY = "exp exp2 expm1 log log2 log10 log1p sqrt cbrt sin cos tan arcsin arccos arctan sinh cosh tanh arcsinh arctanh"
UNARY += " deg2rad rad2deg radians degrees square reciprocal negative positive"
SCALAR = "acos asin asinh atan atanh cos cosh degrees erf erfc exp exp2 expm1 fabs log log10 log1p log2 radians"
SCALAR += " sin sinh sqrt tan tanh"
STEPS = "sign floor ceil trunc rint"
ACTIVATIONS = "softsign tanh sigmoid relu leaky_relu softplus silu gelu gelu_tanh"
ACTIVATIONS += " dsoftsign dtanh dsigmoid drelu dleaky_relu dsoftplus dsilu dgelu"

EXPRESSIONS = [
    *(f"np.{name}(x)" for name in UNARY.split()),
    *(f"np.{name}(s)" for name in ("exp", "log", "sqrt", "sin", "tanh", "arctan", "square", "abs")),
    *(f"math.{name}(s)" for name in SCALAR.split()),
    *(f"y * np.{name}(3.0 * y)" for name in STEPS.split()),
    *(f"dv.{name}(y)" for name in ACTIVATIONS.split()),
    *(f"dv.{name}(t)" for name in ("softsign", "sigmoid", "softplus", "silu", "gelu")),
    "np.arccosh(z)", "math.acosh(1.0 + s)", "np.abs(y)", "np.fabs(y)", "abs(t)", "-y", "+y",
    "math.floor(3.0 * t) * t", "math.ceil(3.0 * t) * s", ("float(s) * 2.0", "s * 2.0"), "dv.leaky_relu(y, 0.2)",
    # binary operations
    "x + y", "x - y", "x * y", "x / y", "x ** y", "y ** 2", "y ** 3", "y ** 4.0", "x ** 0.5", "x ** -1.5", "2.0 ** y",
    "z % x", "z // x * y", "s * y", "y / s", "s / y", "s ** y", "x ** s", "s ** t", "t ** 2", "s / t", "s % 0.25",
    "t % 0.25", "1.0 / y", "3.0 - y", "y - 3.0", "x * x", "y - y * y",
    "np.add(x, y)", "np.subtract(x, y)", "np.multiply(x, y)", "np.divide(x, y)", "np.power(x, y)", "pow(s, t)",
    "math.pow(s, t)", "np.arctan2(y, x)", "math.atan2(s, t)", "np.hypot(x, y)", "math.hypot(s, t)",
    "np.logaddexp(x, y)", "np.maximum(x, y)", "np.minimum(x, y)", "np.maximum(y, 0.3)", "np.minimum(s, y)",
    "max(s, t)", "min(s, t)", "max(s, t, 0.1)", "np.fmod(z, x)", "np.remainder(z, x)",
    ("np.copysign(x, y)", "x * np.sign(y) * np.sign(x)"), ("math.copysign(s, t)", "-s"),
    "np.clip(y, -0.7, 0.7)", "np.clip(y, x - 1.0, x)", "np.clip(y, t, s)", "np.where(x > 0.4, y, z)",
    "np.where(y > 0.0, y, y * x)", "np.where(y > 0.0, s, y)", "y * (y > 0.2)", "np.where((x > 0.2) & (y < 1.0), x, y)",
    "y * np.logical_or(x > 0.5, y > 0.5)", "y * np.isfinite(y)",
    ("math.tanh(s) if t < 0.0 else s", "np.tanh(s)"),
    # broadcasting
    "a + x", "a * x", "a - u[:, None]", "a / z", "u[:, None] * x", "x[:, None] + y", "np.maximum(a, x)", "a ** 2 * s",
    "np.where(a > 0.0, a, x)", "np.arctan2(a, x)", "np.hypot(u[:, None], x)", "np.exp(u[:, None] - x) / a",
    "a * u.reshape(4, 1)", "np.logaddexp(a, s)", "np.clip(a, t, x)",
    # reductions
    "np.sum(a)", "np.sum(a, axis=0)", "np.sum(a, axis=1)", "a.sum(axis=-1)", "np.sum(np.sin(a) * x, axis=1)",
    "np.mean(a)", "a.mean() * a", "np.prod(y)", "np.prod(a[:, 0])", "np.var(a)", "np.var(y)", "np.std(a)", "y.std()",
    "np.max(a)", "np.min(a)", "np.max(y) * y", "np.min(a[:, 1])", "np.linalg.norm(y)", "np.linalg.norm(a)",
    ("np.sum(a, axis=1).reshape(4, 1) * a", "np.sum(a, axis=1, keepdims=True) * a"),
    ("np.expand_dims(np.sum(a, axis=0), 0) + a", "np.sum(a, axis=0, keepdims=True) + a"),
    "np.mean(a, axis=0)", "a.mean(axis=1) * u", "np.mean(line, axis=1)", "np.var(a, axis=0)", "a.var(axis=-1) * u", "np.std(a, axis=1)",
    "np.std(a * a, axis=0) * x", "np.trace(q)", "np.trace(q @ q)", "np.tril(q) @ u", "np.triu(q, 1) * q", "y[np.argmax(x)] * x", "u * y[np.argmin(x)]", "y * np.count_nonzero(x > 0.4)",
    "np.log(np.sum(np.exp(y - np.max(y))))", "y - np.log(np.sum(np.exp(y)))", "np.sqrt(np.sum(y * y))",
    "np.cumsum(y)", "y.cumsum() * x", "np.cumprod(y)", "np.cumprod(x * y)", "np.sort(x)", "np.sort(y) * x",
    "y[np.argsort(x)]", "x[np.argsort(y)] * y", "(y * y).max()",
    # rearranging
    "a.T", "np.transpose(a) * x[:, None]", "a.reshape(10, 2)", "np.reshape(a, (2, 10))", "a.reshape(-1) * s", "np.ravel(a)",
    "a.flatten() ** 2", "np.concatenate((x, y))", "np.concatenate((x, y * y, u))", "np.concatenate((a, a * a), axis=1)",
    "np.concatenate((a, q), axis=1)", "np.stack((x, y))", "np.stack((x * y, y), axis=1)", "np.hstack((x, u))",
    "np.hstack((a, q))", "np.expand_dims(x, 1) * y", "a[1]", "a[1, 2] * s", "a[:, 1]", "a[1:3]", "a[::2, ::-1]", "x[::-1] * y",
    "x[1:] - x[:-1]", "a[1:, 1:] * a[:-1, :-1]", "a[i] * x", "y[i] * u", "u[k]", "a[k]", "a[k] * x", "y[y > 0.0]",
    "x[-1] * y", "a.copy() * a", "y * len(y)", "a * a.shape[1]", "y * np.arange(5)", "y * np.linspace(0.0, 1.0, 5)",
    "x * np.ones(5) + np.zeros(5)", "np.full(5, s) * y", "np.zeros_like(y) + y * y", "np.ones_like(a) * s", "np.eye(4) * q",
    "np.broadcast_to(x, (4, 5)) * a", "np.broadcast_to(a[:, :1], a.shape) ** 2", "np.broadcast_to(s, (2, 3)) * 2.0", "np.broadcast_to(y * y, (2, 3, 5))",
    "np.diag(x * y)", "np.diag(u, 1)", "np.diag(q) * u", "np.diag(a, -1) ** 2", "np.diag(a @ a.T, 2) ** 2", "np.repeat(y, 2) ** 2", "np.repeat(a * a, i)",
    "np.repeat(s, 3) * x[:3]", "np.swapaxes(a, 0, 1) @ u", "np.swapaxes(line, 1, -1) ** 2", "np.transpose(line, (2, 0, 1)) ** 2",
    "np.full_like(y, s) * y", "np.ascontiguousarray(a[::-1]) * x", "np.asarray(y) * np.asarray(a)",
    # products and linear algebra
    "a @ b", "a @ x", "u @ a", "x @ y", "np.dot(a, b)", "np.dot(x, y)", "a.dot(x)", "np.outer(u, x)", "np.outer(x, x)",
    "a.T @ u", "(a @ b).T @ (a @ x)", "x @ a.T @ q @ u", "np.tanh(a @ x) @ u", "a.T @ a", "q @ q @ q",
    "np.linalg.solve(q, u)", "np.linalg.solve(q, a)", "np.linalg.inv(q)", "np.linalg.inv(q) @ u", "np.linalg.det(q)",
    "np.log(np.linalg.det(q @ q.T))", "np.linalg.cholesky(q @ q.T)", "np.linalg.cholesky(a @ a.T + 5.0 * np.eye(4)) @ u",
    "u @ np.linalg.solve(q.T @ q, u)", "np.linalg.norm(a @ x - u)", "np.sum((a @ x - u) ** 2) / 4",
    "np.log(1.0 + np.exp(-(a @ x))) @ u", "1.0 / (1.0 + np.exp(-(a @ x)))", "np.trace(np.linalg.inv(q) @ q.T)",
]  # fmt: skip

# Programs: the body of a function, and JAX's where it cannot be the same text.
PROGRAMS = {
    "Rosenbrock": "v = 0.0\nfor j in range(4):\n    v += 100.0 * (y[j + 1] - y[j] ** 2) ** 2 + (1.0 - y[j]) ** 2\nreturn v",
    "logistic map": "for _ in range(20):\n    s = 3.7 * s * (1.0 - s)\nreturn s",
    "Newton's root": "v = s\nfor _ in range(6):\n    v = 0.5 * (v + 2.0 * s / v)\nreturn v",
    "while": "v, n = s, 0\nwhile v < 5.0:\n    v = v * 1.5 + 0.1 * t\n    n += 1\nreturn v * n",
    "while with break": "v = t\nwhile True:\n    v = math.sin(v) + s\n    if v > 1.2:\n        break\n    s = s * 1.1\nreturn v * s",
    "continue": "v = 0.0\nfor j in range(5):\n    if y[j] < 0.0:\n        continue\n    v += x[j] * y[j] ** 2\nreturn v",
    "early return": "for j in range(5):\n    if y[j] > 1.0:\n        return y[j] * x[j] ** 2\n    s = s * y[j]\nreturn s",
    "branches": "if t < 0.0:\n    v = s * t\n    if s > 0.5:\n        v = v * v + s\nelse:\n    v = s\nreturn v * t",
    "nested loops": "v = 0.0\nfor j in range(4):\n    for l in range(5):\n        v += a[j, l] * x[l] * u[j] ** 2\nreturn v",
    "power iteration": "v = u\nfor _ in range(4):\n    v = q @ v\n    v = v / np.linalg.norm(v)\nreturn v @ q @ v",
    "Horner": "v = 0.0\nfor c in y:\n    v = v * s + c\nreturn v",
    "enumerate": "v = 0.0\nfor j, c in enumerate(y):\n    v += c ** 2 * (j + 1)\nreturn v",
    "zip": "v = 1.0\nfor c, d in zip(x, y):\n    v = v * (c + d * d)\nreturn v",
    "backwards": "v = 0.0\nfor j in range(4, -1, -2):\n    v = v * t + y[j]\nreturn v",
    "recurrent net": "h = u\nfor j in range(5):\n    h = np.tanh(q @ h * 0.2 + x[j] * u)\nreturn h",
    "recurrent net with a sum": "h, v = u, 0.0\nfor j in range(5):\n    h = np.tanh(0.2 * (q @ h) + x[j])\n    v += h @ h\nreturn v",
    "swap": "v, w = s, t\nfor _ in range(5):\n    v, w = w, v * w + s\nreturn v - w",
    "running maximum": "v = y[0]\nfor j in range(1, 5):\n    v = max(v, y[j] * x[j])\nreturn v * s",
    "trapezoid rule": "v = 0.0\nfor j in range(8):\n    v += 0.125 * math.exp(-(s * j * 0.125) ** 2) * t\nreturn v",
    "Euler's method": "p, v = s, t\nfor _ in range(10):\n    p, v = p + 0.1 * v, v - 0.1 * math.sin(p)\nreturn p * p + v",
    "softmax cross-entropy": "w = a @ x\nw = w - np.max(w)\nreturn np.log(np.sum(np.exp(w))) - w[i]",
    "batch norm": "v = (y - np.mean(y)) / np.sqrt(np.var(y) + 0.01)\nreturn v * s + t",
    "attention": "w = np.exp(a @ b)\nw = w / np.sum(w, axis=1).reshape(4, 1)\nreturn w.T @ a",
    "MLP": "h = np.tanh(a @ x + u)\nh = dv.relu(q @ h)\nreturn dv.softplus(h @ u)",
    "ridge": "return np.linalg.solve(a.T @ a + s * s * np.eye(5), a.T @ u)",
    "Gauss": "w = a - u[:, None]\nreturn np.sum(np.exp(-0.5 * (w / s) ** 2) / s)",
    "pairwise distances": "v = 0.0\nfor j in range(5):\n    for l in range(j):\n        v += 1.0 / math.sqrt(0.1 + (y[j] - y[l]) ** 2)\nreturn v",
    "fixed point": "v = 0.1\nwhile abs(v - math.cos(s * v)) > 1e-3:\n    v = math.cos(s * v)\nreturn v",
    "conditional expression in a loop": "v = s\nfor j in range(5):\n    v = v * y[j] if y[j] > 0.0 else v - x[j]\nreturn v",
}  # fmt: skip
# With mutation: JAX has the pure text.
MUTATIONS = {
    "running product": (
        "y = y.copy()\nfor j in range(1, 5):\n    y[j] *= y[j - 1]\nreturn y",
        "return np.cumprod(y)",
    ),
    "filled by a loop": (
        "w = np.empty(5)\nfor j in range(5):\n    w[j] = x[j] * y[j] ** 2\nreturn w",
        "return x * y ** 2",
    ),
    "triangular solve": (
        "w = np.zeros(4)\nfor j in range(4):\n    v = u[j]\n    for l in range(j):\n        v -= q[j, l] * w[l]\n    w[j] = v / q[j, j]\n"
        "return w",
        "return np.linalg.solve(np.tril(q), u)",
    ),
    "matrix product by loops": (
        "w = np.zeros((4, 3))\nfor j in range(4):\n    for l in range(3):\n        for m in range(5):\n"
        "            w[j, l] += a[j, m] * b[m, l]\nreturn w",
        "return a @ b",
    ),
    "rows overwritten": (
        "w = a.copy()\nw[0] = w[1] * w[2]\nw[3, 1:] = w[0, 1:] * s\nreturn w * w",
        "r = a[1] * a[2]\nw = np.stack((r, a[1], a[2], np.concatenate((a[3, :1], r[1:] * s))))\nreturn w * w",
    ),
    "in-place sum of a slice": (
        "w = y * 1.0\nw[1:4] += x[1:4] * w[1:4]\nw[::2] -= s\nreturn w * w",
        "m = np.array([0.0, 1.0, 1.0, 1.0, 0.0])\nw = y + m * x * y - s * np.array([1.0, 0, 1.0, 0, 1.0])\nreturn w * w",
    ),
    "prefix sums": (
        "w = x.copy()\nfor j in range(1, 5):\n    w[j] += w[j - 1] ** 2\nreturn w[4]",
        "v = x[0]\nfor j in range(1, 5):\n    v = x[j] + v ** 2\nreturn v",
    ),
    "heat equation": (
        "w = y.copy()\nfor _ in range(6):\n    old = w.copy()\n    for j in range(1, 4):\n"
        "        w[j] = old[j] + s * (old[j - 1] - 2.0 * old[j] + old[j + 1])\nreturn w",
        "w = y\nfor _ in range(6):\n    w = np.concatenate((w[:1], w[1:-1] + s * (w[:-2] - 2.0 * w[1:-1] + w[2:]), w[-1:]))\n"
        "return w",
    ),
    "gradient descent": (
        "w = np.zeros(5)\nfor _ in range(8):\n    w -= 0.05 * (a.T @ (a @ w - u))\nreturn w",
        "w = np.zeros(5)\nfor _ in range(8):\n    w = w - 0.05 * (a.T @ (a @ w - u))\nreturn w",
    ),
    "sorted in place": (
        "w = y.copy()\nfor j in range(5):\n    for l in range(4 - j):\n        if w[l] > w[l + 1]:\n"
        "            h = w[l]\n            w[l] = w[l + 1]\n            w[l + 1] = h\nreturn w * x",
        "return np.sort(y) * x",
    ),
    "histogram of weights": (
        "w = np.zeros(4)\nfor j in range(4):\n    w[k[j]] += u[j] ** 2\nreturn w",
        "return np.zeros(4).at[k].add(u ** 2)",
    ),
}
CONVOLUTIONS = {
    "conv1d": ("dv.conv1d(line, taps, groups=2)", "conv(line, taps, 1, 0, 1, 2)"),
    "conv1d strided": ("dv.conv1d(line, taps, None, 2, padding=1, groups=2)", "conv(line, taps, 2, 1, 1, 2)"),
    "conv1d dilated": ("dv.conv1d(line, taps, dilation=3, groups=2)", "conv(line, taps, 1, 0, 3, 2)"),
    "conv2d": ("dv.conv2d(image, kernel)", "conv(image, kernel)"),
    "conv2d with a bias": ("dv.conv2d(image, kernel, u)", "conv(image, kernel) + u[:, None, None]"),
    "conv2d strided and padded": ("dv.conv2d(image, kernel, stride=2, padding=1)", "conv(image, kernel, 2, 1)"),
    "conv2d circular": (
        "dv.conv2d(image, kernel, padding=1, padding_mode='circular')",
        "conv(np.pad(image, ((0, 0), (0, 0), (1, 1), (1, 1)), mode='wrap'), kernel)",
    ),
    "conv2d reflected": (
        "dv.conv2d(image, kernel, padding=((1, 0), (0, 2)), padding_mode='reflect')",
        "conv(np.pad(image, ((0, 0), (0, 0), (1, 0), (0, 2)), mode='reflect'), kernel)",
    ),
    "conv3d": ("dv.conv3d(video, cube, padding=1)", "conv(video, cube, 1, 1)"),
    "conv2d and a curve": ("np.tanh(dv.conv2d(image, kernel)) ** 2", "np.tanh(conv(image, kernel)) ** 2"),
    "a convolved convolution": (
        "dv.conv1d(dv.conv1d(line, taps, groups=2)[:, :2], taps)",
        "conv(conv(line, taps, 1, 0, 1, 2)[:, :2], taps)",
    ),
    "avg_pool2d": ("dv.avg_pool2d(image, 2) ** 2", "image[:, :, :6, :4].reshape(2, 2, 3, 2, 2, 2).mean((3, 5)) ** 2"),
    "max_pool2d": ("dv.max_pool2d(image, 2) ** 2", "image[:, :, :6, :4].reshape(2, 2, 3, 2, 2, 2).max((3, 5)) ** 2"),
    "max_pool1d": ("dv.max_pool1d(line, 3) ** 3", "line.reshape(2, 4, 3, 3).max(3) ** 3"),
}


class Function:
    """A function of some of the arguments: its text, and its counterpart's."""

    def __init__(self, name, body, counterpart=None):
        self.name, self.body, self.counterpart = name, body, counterpart or body
        words = {n.id for n in ast.walk(ast.parse(body.replace("return ", ""))) if isinstance(n, ast.Name)}
        words |= {n.id for n in ast.walk(ast.parse(self.counterpart.replace("return ", ""))) if isinstance(n, ast.Name)}
        self.names = [n for n in ARGUMENTS if n in words]
        self.arguments = tuple(ARGUMENTS[n] for n in self.names)
        self.argnums = tuple(k for k, v in enumerate(self.arguments) if np.asarray(v).dtype == np.float64)
        self.moving = tuple(self.arguments[k] for k in self.argnums)

    def make(self, weighted=False, body=None, wrap=lambda f: f, **modules):
        """Return the function, or the sum over its results weighted by the last argument, `c`."""
        parameters = ", ".join(self.names)
        inner = "".join(f"    {line}\n" for line in (body or self.body).split("\n"))
        source = (
            f"def f({parameters}):\n{inner}\n\ndef weighted({parameters}, c):\n    return np.sum(c * f({parameters}))\n"
        )
        file = f"<{self.name} {sorted(modules)}>"
        linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
        module = types.ModuleType("function")
        module.__dict__.update({"np": np, "math": math, "dv": dv} | modules)
        exec(compile(source, file, "exec"), module.__dict__)
        module.__dict__["f"] = wrap(module.__dict__["f"])
        return wrap(module.__dict__["weighted"]) if weighted else module.__dict__["f"]


def everything():
    """Return all functions."""
    found = []
    for entry in EXPRESSIONS:
        text, other = entry if isinstance(entry, tuple) else (entry, entry)
        found.append(Function(text, f"return {text}", f"return {other}"))
    found += [Function(name, body) for name, body in PROGRAMS.items()]
    found += [Function(name, *bodies) for name, bodies in MUTATIONS.items()]
    found += [Function(name, f"return {a}", f"return {b}") for name, (a, b) in CONVOLUTIONS.items()]
    return found


def jax_modules():
    """Return JAX's counterparts of np, math and dv, and its convolution."""
    import jax
    import jax.numpy as jnp
    from jax import lax, nn
    from jax.scipy import special

    words = {"acos": "arccos", "asin": "arcsin", "atan": "arctan", "atan2": "arctan2", "acosh": "arccosh"}
    words |= {"asinh": "arcsinh", "atanh": "arctanh", "fabs": "abs", "pow": "power"}

    def conv(x, w, stride=1, padding=0, dilation=1, groups=1):
        n = x.ndim - 2
        return lax.conv_general_dilated(
            x, w, (stride,) * n, ((padding, padding),) * n, rhs_dilation=(dilation,) * n, feature_group_count=groups
        )

    class Math:
        erf, erfc = staticmethod(special.erf), staticmethod(special.erfc)

        def __getattr__(self, name):
            return getattr(jnp, words.get(name, name))

    class Activations:
        softsign, tanh, sigmoid, relu = nn.soft_sign, jnp.tanh, nn.sigmoid, nn.relu
        softplus, silu, dsoftplus = nn.softplus, nn.silu, nn.sigmoid
        drelu = staticmethod(lambda x: 1.0 * (x > 0))
        leaky_relu = staticmethod(lambda x, slope=0.01: jnp.where(x > 0, x, slope * x))
        dleaky_relu = staticmethod(lambda x, slope=0.01: jnp.where(x > 0, 1.0, slope))
        gelu = staticmethod(lambda x: nn.gelu(x, approximate=False))
        gelu_tanh = staticmethod(lambda x: nn.gelu(x, approximate=True))
        dsoftsign = staticmethod(lambda x: 1 / (1 + jnp.abs(x)) ** 2)
        dtanh = staticmethod(lambda x: 1 - jnp.tanh(x) ** 2)
        dsigmoid = staticmethod(lambda x: nn.sigmoid(x) * nn.sigmoid(-x))
        dsilu = staticmethod(lambda x: nn.sigmoid(x) * (1 + x * nn.sigmoid(-x)))
        dgelu = staticmethod(
            lambda x: 0.5 * special.erfc(-x / jnp.sqrt(2.0)) + x * jnp.exp(-x * x / 2) / jnp.sqrt(2 * jnp.pi)
        )

    for name in ("softsign", "tanh", "sigmoid", "relu", "softplus", "silu", "dsoftplus"):
        setattr(Activations, name, staticmethod(getattr(Activations, name)))

    class Numpy:
        ascontiguousarray = staticmethod(lambda x: x)

        def __getattr__(self, name):
            return getattr(jnp, name)

    return {"np": Numpy(), "math": Math(), "dv": Activations, "conv": conv, "max": _largest(jnp), "jax": jax}


def _largest(jnp):
    def largest(*values):
        result = values[0]
        for v in values[1:]:
            result = jnp.maximum(result, v)
        return result

    return largest
