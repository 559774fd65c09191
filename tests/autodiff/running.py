"""Derivatives whose generated program is run as plain Python: quick to make, and the same program that is compiled."""

from derivable.autodiff.derivative import derivative
from derivable.autodiff.kinds import kind_of_value


def program(made, args):
    """Return the generated program of a derivative, uncompiled, for the kinds of these arguments."""
    kinds = tuple(kind_of_value(v, "an argument") for v in args)
    return made.maker.function_for(kinds, plain=True)


def value_and_grad(f, argnums, args):
    return program(derivative(f, "value_and_grad", argnums), args)(*args)


def vjp(f, argnums, args, cotangent):
    return program(derivative(f, "vjp", argnums), args)(*args, cotangent)


def jvp(f, argnums, args, tangents):
    return program(derivative(f, "jvp", argnums), args)(*args, *tangents)


def hvp(f, argnums, args, tangents):
    """Return the derivative of the gradient along tangents: forward over reverse."""
    made = derivative(derivative(f, "grad", argnums), "jvp", argnums)
    return program(made, args)(*args, *tangents)[1]


def grad_grad(f, argnums, args, tangents):
    """Return the same, reverse over reverse: the pullback of the gradient."""
    made = derivative(derivative(f, "grad", argnums), "vjp", argnums)
    return program(made, args)(*args, tangents)[1]
