"""The verbs: what to ask of a function's derivative.

`grad`, `value_and_grad`, `grad_into`, `jacobian` and `hessian` take a function and return a compiled function. `jvp`,
`vjp` and `hvp` take the arguments too and return numbers. All of them can be called within `@njit`, with a function
that is known there while compiling: a global, a closed-over one, or an argument that is an `@njit` function.
"""

from __future__ import annotations

import inspect
import math
import re
from typing import Any

import numpy as np
from numba.core import types
from numba.core.errors import NumbaError
from numba.extending import overload

from derivable.autodiff.derivative import derivative
from derivable.autodiff.kinds import DerivativeError, Kind, kind_of_type, type_of_kind
from derivable.autodiff.rules.array import CUSTOM, Forms, Refused
from derivable.autodiff.rules.table import NAMES
from derivable.autodiff.transform.read import VERBS, Static, read
from derivable.autodiff.transform.source import fingerprint, python_function

__all__ = [
    "check_rule",
    "custom_derivative",
    "grad",
    "grad_into",
    "hessian",
    "hvp",
    "jacobian",
    "jvp",
    "stop_gradient",
    "value_and_grad",
    "vjp",
]


def grad(f: Any, argnum: int | tuple[int, ...] = 0) -> Any:
    """Return the gradient of a function, as a compiled function of the same arguments.

    Args:
        f: an `@njit` function (or a Python function that Numba can compile) that returns a number.
        argnum: with respect to which argument, or arguments; counted from 0.

    Returns:
        A function of the arguments of `f`. It returns the gradient, of the shape and precision of the argument, or a
        tuple of gradients for a tuple of argnums. Its attribute `source` is the generated program, `into` the form that
        writes the gradient into a buffer: `grad(f).into(*args, out)`.

    Raises:
        DerivativeError: when called, if the function or its arguments cannot be differentiated.

    Examples:
        ```python
        import derivable as dv
        from numba import njit


        @njit
        def f(x, y):
            return x * x * y


        print(dv.grad(f)(3.0, 2.0), dv.grad(f, (0, 1))(3.0, 2.0))
        #> 12.0 (12.0, 9.0)
        ```

    References:
        Griewank and Walther, Evaluating Derivatives, SIAM 2008, chapters 3 and 6.
    """
    return derivative(f, "grad", argnum)


def value_and_grad(f: Any, argnum: int | tuple[int, ...] = 0) -> Any:
    """Return the function that gives a function's value and its gradient, in one pass.

    Args:
        f: as for [`grad`][derivable.grad].
        argnum: as for [`grad`][derivable.grad].

    Returns:
        A function of the arguments of `f` that returns `(value, gradient)`.

    Examples:
        ```python
        import derivable as dv
        from numba import njit

        square = njit(lambda x: x * x)
        print(dv.value_and_grad(square)(3.0))
        #> (9.0, 6.0)
        ```
    """
    return derivative(f, "value_and_grad", argnum)


def grad_into(f: Any, argnum: int | tuple[int, ...] = 0) -> Any:
    """Return the gradient in the form that writes into a buffer, for loops that should not allocate.

    Args:
        f: as for [`grad`][derivable.grad].
        argnum: as for [`grad`][derivable.grad]; the arguments must be arrays.

    Returns:
        A function of the arguments of `f` and of one array more for each argnum, which receives the gradient. It must
        have the shape of the argument and share no memory with any.

    Examples:
        ```python
        import derivable as dv
        import numpy as np
        from numba import njit


        @njit
        def f(w):
            return np.sum(w * w)


        out = np.empty(2)
        dv.grad_into(f)(np.array([1.0, 2.0]), out)
        print(out)
        #> [2. 4.]
        ```
    """
    return derivative(f, "grad_into", argnum)


def jacobian(f: Any, argnum: int = 0, mode: str | None = None) -> Any:
    """Return the Jacobian of a function, as a compiled function of the same arguments.

    Args:
        f: an `@njit` function that returns a number or an array.
        argnum: with respect to which argument.
        mode: "forward" (one pass for each input), "reverse" (one for each output), or None: the cheaper.

    Returns:
        A function of the arguments of `f`. The result has the shape of the output followed by that of the input.

    Raises:
        TypeError: if `argnum` is a tuple.
        ValueError: if `mode` is none of these.

    Examples:
        ```python
        import derivable as dv
        import numpy as np
        from numba import njit


        @njit
        def f(x):
            return x * x[0]


        print(dv.jacobian(f)(np.array([1.0, 2.0])))
        #> [[2. 0.]
        #>  [2. 1.]]
        ```
    """
    _one_argument("jacobian", argnum)
    if mode not in (None, "forward", "reverse"):
        raise ValueError(f"mode must be 'forward', 'reverse' or None, got {mode!r}")
    return derivative(f, {None: "jacobian", "forward": "jacobian_forward", "reverse": "jacobian_reverse"}[mode], argnum)


def hessian(f: Any, argnum: int = 0) -> Any:
    """Return the matrix of second derivatives of a function, as a compiled function of the same arguments.

    It is the Jacobian, forward, of the gradient, backward.

    Args:
        f: an `@njit` function that returns a number.
        argnum: with respect to which argument.

    Returns:
        A function of the arguments of `f`. The result has the shape of the argument, twice.

    Raises:
        TypeError: if `argnum` is a tuple.

    Examples:
        ```python
        import derivable as dv
        import numpy as np
        from numba import njit


        @njit
        def f(x):
            return x[0] * x[0] * x[1]


        print(dv.hessian(f)(np.array([1.0, 2.0])))
        #> [[4. 2.]
        #>  [2. 0.]]
        ```
    """
    _one_argument("hessian", argnum)
    return jacobian(grad(f, argnum), argnum, "forward")


def jvp(f: Any, primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> Any:
    """Return a function's value and its derivative along a direction: forward mode.

    Args:
        f: an `@njit` function.
        primals: its arguments.
        tangents: a direction for each argument, of its shape; None for an argument that stays.

    Returns:
        `(value, tangent)`.

    Examples:
        ```python
        import derivable as dv
        from numba import njit

        product = njit(lambda x, y: x * y)
        print(dv.jvp(product, (3.0, 2.0), (1.0, 10.0)))
        #> (6.0, 32.0)
        ```
    """
    _same_length("jvp", primals, tangents)
    chosen = tuple(k for k, t in enumerate(tangents) if t is not None)
    return derivative(f, "jvp", chosen)(*primals, *(t for t in tangents if t is not None))


def vjp(f: Any, primals: tuple[Any, ...], cotangent: Any) -> Any:
    """Return a function's value and the transpose of its derivative, applied to a cotangent: reverse mode.

    JAX returns the transposed map as a closure instead; compiled code cannot hand closures out.

    Args:
        f: an `@njit` function whose arguments are all floats or arrays of floats.
        primals: its arguments.
        cotangent: of the shape of the value.

    Returns:
        `(value, cotangents)`, a cotangent for each argument.

    Examples:
        ```python
        import derivable as dv
        from numba import njit

        product = njit(lambda x, y: x * y)
        print(dv.vjp(product, (3.0, 2.0), 1.0))
        #> (6.0, (2.0, 3.0))
        ```
    """
    if not isinstance(primals, tuple) or not primals:
        raise TypeError(f"primals must be a tuple of the arguments, got {type(primals).__name__}")
    return derivative(f, "vjp", tuple(range(len(primals))))(*primals, cotangent)


def hvp(f: Any, primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> Any:
    """Return the product of a Hessian with a vector, without forming the matrix: forward over reverse.

    Args:
        f: an `@njit` function that returns a number.
        primals: its arguments; the gradient is taken with respect to the first.
        tangents: a direction for each argument; None for an argument that stays.

    Returns:
        The derivative of the gradient along the direction.

    Examples:
        ```python
        import derivable as dv
        import numpy as np
        from numba import njit


        @njit
        def f(x):
            return x[0] * x[0] * x[1]


        print(dv.hvp(f, (np.array([1.0, 2.0]),), (np.array([1.0, 0.0]),)))
        #> [4. 2.]
        ```
    """
    return jvp(grad(f), primals, tangents)[1]


def stop_gradient(x: Any) -> Any:
    """Return x; its derivative counts as zero."""
    return x


NAMES[stop_gradient] = "stop"


@overload(stop_gradient)
def _stop(x):  # type: ignore[no-untyped-def]
    return lambda x: x


class _Custom:
    """The rule of a function whose derivative the user gave."""

    def __init__(self, function: Any, pullback: Any, pushforward: Any) -> None:
        self.function, self.pullback, self.pushforward = function, pullback, pushforward
        self.name = getattr(function, "__name__", "function")

    def forms(self, reader: Any, values: list[Any]) -> Forms:
        kinds = tuple(v.kind for v in values)
        result = self.result(kinds)
        self.check_pullback(result, kinds)
        names = {}
        for word, function in (("", self.function), ("_pullback", self.pullback), ("_pushforward", self.pushforward)):
            if function is not None:
                names[word] = reader.imported(re.sub(r"\W", "_", self.name) + word, function)
                reader.keys.append(fingerprint(function))
        letters = [f"x{k}" for k in range(len(values))]
        spelled = ", ".join(letters)
        joint = f"{names['_pullback']}(g, z, {spelled})" if self.pullback is not None else "not_known()"
        forward = (
            f"{names['_pushforward']}({', '.join('d' + x for x in letters)}, z, {spelled})"
            if self.pushforward is not None
            else None
        )
        if forward is None:
            forward = "missing"
        return Forms(result, f"{names['']}({spelled})", [], forward, joint=joint)

    def check_pullback(self, result: Kind, kinds: tuple[Any, ...]) -> None:
        """Refuse a pullback of another form, as far as its source can be read; Numba's message would be of our code."""
        if self.pullback is None:
            return
        try:
            given = read(self.pullback, (result, result, *kinds), own_rule=False).result
        except (DerivativeError, AttributeError):
            return
        if not isinstance(given, tuple) or len(given) != len(kinds):
            what = f"a tuple of {len(given)}" if isinstance(given, tuple) else "no tuple"
            raise Refused(
                f"the pullback of {self.name} returns {what}",
                f"let it return a tuple of {len(kinds)}, a cotangent for each argument, as in (g * x,)",
            )

    def result(self, kinds: tuple[Any, ...]) -> Kind:
        """Return the kind of what the function returns: by its source, or as Numba infers it."""
        try:
            kind = read(self.function, kinds, own_rule=False).result.kind
        except (DerivativeError, AttributeError):
            try:
                signature = tuple(map(type_of_kind, kinds))
                self.function.compile(signature)
                kind = kind_of_type(self.function.overloads[signature].signature.return_type, "the result")
            except (AttributeError, DerivativeError, NumbaError):
                kind = None
        if not isinstance(kind, Kind):
            raise Refused(
                f"what {self.name} returns is not a number or an array that Numba or Derivable can tell",
                "let it return one, and compile it with @njit",
            )
        return kind


def custom_derivative(f: Any = None, *, pullback: Any = None, pushforward: Any = None) -> Any:
    """Give a function a derivative of your own; also as a decorator above `@njit`.

    Do it before the first derivative of a program that calls the function: programs that are written stay as they are.

    Args:
        f: an `@njit` function of numbers and arrays.
        pullback: an `@njit` function `(g, z, *args)` of the cotangent of the result, the result and the arguments. It
            returns a tuple: a cotangent for each argument.
        pushforward: an `@njit` function `(*tangents, z, *args)` that returns the tangent; needed by forward mode only.

    Returns:
        The function itself.

    Raises:
        TypeError: if a rule is not a function, or does not take these arguments.
        ValueError: if neither rule is given.

    Examples:
        ```python
        import derivable as dv
        from numba import njit


        @njit
        def pullback(g, z, x):
            return (3.0 * g,)  # not what the function says


        @njit
        def double(x):
            return 2.0 * x


        dv.custom_derivative(double, pullback=pullback)
        f = njit(lambda x: double(x) * x)
        print(dv.grad(f)(5.0))
        #> 25.0
        ```
    """
    if f is None:
        return lambda function: custom_derivative(function, pullback=pullback, pushforward=pushforward)
    if pullback is None and pushforward is None:
        raise ValueError("custom_derivative needs a pullback, a pushforward, or both")
    names = _parameters(f)
    if names is not None:
        _check_parameters("pullback", pullback, ["g", "z", *names])
        _check_parameters("pushforward", pushforward, [*(f"d{n}" for n in names), "z", *names])
    CUSTOM[f] = _Custom(f, pullback, pushforward)
    return f


def _parameters(f: Any) -> list[str] | None:
    """Return the names of a function's parameters, or None if they are not known or not fixed."""
    try:
        parameters = inspect.signature(python_function(f)).parameters.values()
    except (TypeError, ValueError):
        return None
    return [p.name for p in parameters] if all(p.kind is p.POSITIONAL_OR_KEYWORD for p in parameters) else None


def _check_parameters(word: str, rule: Any, wanted: list[str]) -> None:
    if rule is None:
        return
    if not callable(rule):
        raise TypeError(f"{word} must be an @njit function, got {type(rule).__name__}")
    given = _parameters(rule)
    if given is not None and len(given) != len(wanted):
        raise TypeError(f"{word} must take the arguments ({', '.join(wanted)}), got ({', '.join(given)})")


def check_rule(f: Any, *args: Any, seed: int = 0, rtol: float = 1e-8) -> float:
    """Check that a function's two modes are transposes of each other: <g, J v> = <J^T g, v> for random g and v.

    Args:
        f: an `@njit` function of floats and arrays.
        *args: where to check.
        seed: of the random directions.
        rtol: the relative difference allowed.

    Returns:
        The relative difference of the two numbers.

    Raises:
        AssertionError: if it is greater than `rtol`.

    Examples:
        ```python
        import derivable as dv
        import numpy as np
        from numba import njit


        @njit
        def f(x, y):
            return np.sin(x) @ y


        assert dv.check_rule(f, np.ones((2, 3)), np.arange(3.0)) < 1e-12
        ```
    """
    random = np.random.default_rng(seed)

    def like(x: Any) -> Any:
        if isinstance(x, tuple):
            return tuple(map(like, x))
        return (
            random.standard_normal(np.shape(x)).astype(np.asarray(x).dtype)
            if np.ndim(x)
            else float(random.standard_normal())
        )

    def inner(x: Any, y: Any) -> float:
        if isinstance(x, tuple):
            return math.fsum(inner(a, b) for a, b in zip(x, y, strict=True))
        return float(np.sum(np.asarray(x, dtype=np.float64) * y))

    tangents = tuple(map(like, args))
    value, moved = jvp(f, args, tangents)
    g = like(value)
    _, back = vjp(f, args, g)
    left, right = inner(g, moved), inner(back, tangents)
    difference = abs(left - right) / max(abs(left), abs(right), 1e-300)
    if not difference <= rtol and left != right:
        raise AssertionError(f"<g, J v> = {left!r}, but <J^T g, v> = {right!r}")
    return difference


def _one_argument(verb: str, argnum: Any) -> None:
    if isinstance(argnum, tuple):
        raise TypeError(f"argnum of {verb} must be one int, got {argnum!r}: ask for the arguments one by one")


def _same_length(verb: str, primals: Any, tangents: Any) -> None:
    if not isinstance(primals, tuple) or not isinstance(tangents, tuple):
        raise TypeError(f"{verb} takes a tuple of arguments and a tuple of tangents")
    if len(primals) != len(tangents):
        raise ValueError(f"{verb} needs a tangent for each of the {len(primals)} arguments, got {len(tangents)}")
    if all(t is None for t in tangents):
        raise ValueError(f"{verb} needs a tangent for at least one argument")


# ------------------------------------------------------------------------------------------------ within @njit


def _within_njit(verb: Any) -> None:
    """Let a verb be called within `@njit`, with a function that is known while compiling."""

    # Numba compares the two signatures, annotations included: hence none here.
    @overload(verb, prefer_literal=True)
    def typed(f, argnum=0):  # type: ignore[no-untyped-def]
        made = verb(_dispatcher(f, verb.__name__), _literal(argnum))
        return lambda f, argnum=0: made

    VERBS[verb] = lambda reader, args, named: Static(_call_static(verb, reader, args, named))


def _call_static(verb: Any, reader: Any, args: list[Any], named: dict[str, Any]) -> Any:
    def plain(binding: Any) -> Any:
        if isinstance(binding, tuple):
            return tuple(map(plain, binding))
        return binding.value if isinstance(binding, Static) else binding.const

    return verb(*map(plain, args), **{k: plain(v) for k, v in named.items()})


def _dispatcher(f: Any, verb: str) -> Any:
    f = types.unliteral(f)
    if isinstance(f, types.Dispatcher):
        return f.dispatcher
    if isinstance(f, (types.FunctionType, types.UndefinedFunctionType)):
        raise DerivativeError(
            f"{verb} of a first-class function, of which only the machine code is known; pass the @njit function itself"
        )
    raise DerivativeError(f"{verb} needs an @njit function, got {f}")


def _literal(argnum: Any) -> Any:
    if isinstance(argnum, types.Omitted):
        return argnum.value
    if isinstance(argnum, types.Literal):
        return argnum.literal_value
    if isinstance(argnum, int):
        return argnum
    if isinstance(argnum, types.BaseTuple) and all(isinstance(t, types.Literal) for t in argnum):
        return tuple(t.literal_value for t in argnum)
    raise DerivativeError("argnum must be a constant within @njit")


for _verb in (grad, value_and_grad, grad_into, jacobian, hessian):
    _within_njit(_verb)


def _call_text(made: Any, first: int, chosen: tuple[int, ...] | None, parameters: str, tail: str = "") -> Any:
    scope = {"made": made}
    parts = [f"primals[{k}]" for k in range(first)]
    parts += [f"tangents[{k}]" for k in chosen] if chosen is not None else ["cotangent"]
    exec(f"def call({parameters}):\n    return made({', '.join(parts)}){tail}", scope)
    return scope["call"]


def _moving(tangents: Any) -> tuple[int, ...]:
    return tuple(k for k, t in enumerate(tangents) if not isinstance(t, types.NoneType))


@overload(jvp)
def _jvp(f, primals, tangents):  # type: ignore[no-untyped-def]
    chosen = _moving(tangents)
    made = derivative(_dispatcher(f, "jvp"), "jvp", chosen)
    return _call_text(made, len(primals), chosen, "f, primals, tangents")


@overload(hvp)
def _hvp(f, primals, tangents):  # type: ignore[no-untyped-def]
    chosen = _moving(tangents)
    made = derivative(grad(_dispatcher(f, "hvp")), "jvp", chosen)
    return _call_text(made, len(primals), chosen, "f, primals, tangents", "[1]")


@overload(vjp)
def _vjp(f, primals, cotangent):  # type: ignore[no-untyped-def]
    made = derivative(_dispatcher(f, "vjp"), "vjp", tuple(range(len(primals))))
    return _call_text(made, len(primals), None, "f, primals, cotangent")


VERBS[jvp] = lambda reader, args, named: derivative(
    args[0].value, "jvp", tuple(k for k, t in enumerate(args[2]) if not isinstance(t, Static))
)._derivable_read(reader, [*args[1], *(t for t in args[2] if not isinstance(t, Static))], {})
VERBS[vjp] = lambda reader, args, named: derivative(args[0].value, "vjp", tuple(range(len(args[1]))))._derivable_read(
    reader, [*args[1], args[2]], {}
)
VERBS[hvp] = lambda reader, args, named: derivative(
    grad(args[0].value), "jvp", tuple(k for k, t in enumerate(args[2]) if not isinstance(t, Static))
)._derivable_read(reader, [*args[1], *(t for t in args[2] if not isinstance(t, Static))], {})[1]
