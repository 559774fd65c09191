"""Calls of the engines from compiled code, through addresses.

A function under `@njit` that calls a layer must not contain the layer's engines: Numba would compile them anew for each
such function, for seconds. So its code only calls an address, the symbol `derivable_convolution`, and hands over where
the arrays lie and which sizes they have. Behind the address stands `answer`. It makes arrays of that again, without
copying them, and calls the functions by which the layers compute from Python: the same engines, the same choice among
them, the same threads.

Entering Python takes some ten microseconds. A small convolution is done earlier, by the definition; so there is also a
table of the definition's addresses, `derivable_definitions`, one for each operation and precision. An entry is 0 until
the first small call has gone through `answer`, which then fills it. Nothing is compiled for that: it is the code that
small layers use from Python.

Numba stores compiled code with the names of symbols, not with addresses, so that code from a cache finds what belongs
to its own process.
"""

from __future__ import annotations

import ctypes
import math
import threading
from typing import Any

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array
from numba.np.numpy_support import as_dtype, from_dtype

from derivable.convolution import direct
from derivable.convolution.choice import SMALL_WORK, run_convolution, run_input_gradient, run_kernel_gradient

__all__ = ["CONVOLUTION", "INPUT_GRADIENT", "KERNEL_GRADIENT", "call_engine"]

CONVOLUTION, INPUT_GRADIENT, KERNEL_GRADIENT = range(3)
DEFINITIONS = (direct.convolution_part, direct.input_gradient_part, direct.kernel_gradient_part)
DTYPES = "fdFD"  # float32, float64, complex64, complex128
NUMBERS = 25  # the shapes of two inputs and of the output, stride, padding in front, dilation, groups

# ------------------------------------------------------------------------------------------- the Python side

failures = threading.local()


def array_at(address: int, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Return the C-contiguous array that lies at an address."""
    memory = (ctypes.c_char * (math.prod(shape) * dtype.itemsize)).from_address(address)
    return np.ndarray(shape, dtype, memory)


def compute(operation: int, kind: int, small: int, a: int, b: int, bias: int, out: int, numbers: list[int]) -> None:
    """Compute one convolution, given by addresses and ints."""
    dtype = np.dtype(DTYPES[kind])
    first, second = array_at(a, tuple(numbers[:5]), dtype), array_at(b, tuple(numbers[5:10]), dtype)
    shape = tuple(numbers[10:15])
    result = array_at(out, shape, dtype)
    rest = (tuple(numbers[15:18]), tuple(numbers[18:21]), tuple(numbers[21:24]), numbers[24])
    added: tuple[Any, ...] = () if operation == KERNEL_GRADIENT else (array_at(bias, shape[1:2], dtype),)
    if small and kind < 2:
        # By the very code that the next call will find in the table: the first result is no other than the second.
        DEFINITIONS[operation](0, math.prod(shape[:3]), first, second, *added, result, *rest)
        note_definition(operation, kind)
    elif operation == CONVOLUTION:
        result[...] = run_convolution(first, second, added[0], shape[2:], *rest)
    elif operation == INPUT_GRADIENT:
        result[...] = run_input_gradient(first, second, added[0], shape[2:], *rest)
    else:
        result[...] = run_kernel_gradient(first, second, shape[2:], *rest)


def answer(operation: int, kind: int, small: int, a: int, b: int, bias: int, out: int, numbers: Any) -> int:
    """Compute what compiled code asks for; return 0, or 1 after an exception, which `raise_failure` raises again."""
    try:
        compute(operation, kind, small, a, b, bias, out, numbers[:NUMBERS])
    except BaseException as error:  # KeyboardInterrupt, too: no exception finds its way through a C function
        failures.error = error
        return 1
    return 0


def raise_failure() -> None:
    """Raise the exception that ended `answer` in this thread."""
    error, failures.error = failures.error, None
    raise error


def arguments_of(operation: int, number: Any) -> tuple[Any, ...]:
    """Return the types of a definition's arguments, for arrays of such numbers."""
    array, three = types.Array(number, 5, "C"), types.UniTuple(types.int64, 3)
    bias = () if operation == KERNEL_GRADIENT else (types.Array(number, 1, "C"),)
    return (types.int64, types.int64, array, array, *bias, array, three, three, three, types.int64)


def note_definition(operation: int, kind: int) -> None:
    """Enter the address of a definition's machine code into the table."""
    definition: Any = DEFINITIONS[operation]
    signature = arguments_of(operation, from_dtype(np.dtype(DTYPES[kind])))
    definition.compile(signature)
    code = definition.overloads[signature]
    definitions[2 * operation + kind] = code.library.get_pointer_to_function(code.fndesc.llvm_func_name)


definitions = (ctypes.c_void_p * 6)()
callback = ctypes.CFUNCTYPE(
    ctypes.c_int64, *3 * [ctypes.c_int64], *4 * [ctypes.c_void_p], ctypes.POINTER(ctypes.c_int64)
)(answer)
llvmlite.binding.add_symbol("derivable_convolution", ctypes.cast(callback, ctypes.c_void_p).value)
llvmlite.binding.add_symbol("derivable_definitions", ctypes.addressof(definitions))

# ----------------------------------------------------------------------------------------- the compiled side


@intrinsic
def call_engine(typingctx, operation, a, b, bias, out, stride, before, dilation, groups, work, parts):  # type: ignore[no-untyped-def]
    """Compute an operation of C-contiguous arrays in normal form into `out`.

    `bias` is None for the gradient in the kernel. `work` is the number of multiplications; `parts` counts what a
    definition computes one by one.
    """
    kind = DTYPES.index(as_dtype(out.dtype).char)
    word, byte = ir.IntType(64), ir.IntType(8).as_pointer()

    def codegen(context, builder, signature, values):  # type: ignore[no-untyped-def]
        number, first, second, added, result, *places, groups, work, parts = values
        small = builder.icmp_signed("<", work, word(SMALL_WORK))
        if kind > 1:
            ask_python(context, builder, signature, values, small)
            return context.get_dummy_value()
        table = cgutils.add_global_variable(builder.module, ir.ArrayType(word, 6), "derivable_definitions")
        entry = builder.add(builder.mul(number, word(2)), word(kind))
        address = builder.load(builder.gep(table, [word(0), entry], inbounds=True))
        known = builder.icmp_unsigned("!=", address, word(0))
        with builder.if_else(builder.and_(small, known)) as (then, otherwise):
            with then:
                with_bias = [] if bias == types.none else [added]
                call_definition(
                    context, builder, address, [word(0), parts, first, second, *with_bias, result, *places, groups]
                )
            with otherwise:
                ask_python(context, builder, signature, values, small)
        return context.get_dummy_value()

    def call_definition(context, builder, address, values):  # type: ignore[no-untyped-def]
        arguments = arguments_of(KERNEL_GRADIENT if bias == types.none else CONVOLUTION, out.dtype)
        convention = context.call_conv
        function = builder.inttoptr(address, convention.get_function_type(types.none, arguments).as_pointer())
        status, _ = convention.call_function(builder, function, types.none, arguments, values)
        with cgutils.if_unlikely(builder, status.is_error):
            convention.return_status_propagate(builder, status)

    def ask_python(context, builder, signature, values, small):  # type: ignore[no-untyped-def]
        arrays = {
            k: make_array(signature.args[k])(context, builder, values[k])
            for k in (1, 2, 3, 4)
            if signature.args[k] != types.none
        }
        numbers = [n for k in (1, 2, 4) for n in cgutils.unpack_tuple(builder, arrays[k].shape)]
        numbers += [n for k in (5, 6, 7) for n in cgutils.unpack_tuple(builder, values[k])]
        memory = cgutils.alloca_once(builder, word, size=NUMBERS)
        for i, n in enumerate([*numbers, values[8]]):
            builder.store(n, cgutils.gep(builder, memory, i))
        addresses = [builder.bitcast(arrays[k].data, byte) if k in arrays else byte(None) for k in (1, 2, 3, 4)]
        function_type = ir.FunctionType(word, 3 * [word] + 4 * [byte] + [word.as_pointer()])
        function = cgutils.get_or_insert_function(builder.module, function_type, "derivable_convolution")
        status = builder.call(function, [values[0], word(kind), builder.zext(small, word), *addresses, memory])
        with cgutils.if_unlikely(builder, cgutils.is_not_null(builder, status)):
            python = context.get_python_api(builder)
            state = python.gil_ensure()
            module = python.import_module(context.insert_const_string(builder.module, __name__))
            python.call_function_objargs(python.object_getattr_string(module, "raise_failure"), ())
            python.gil_release(state)
            context.call_conv.return_exc(builder)

    three = types.UniTuple(types.int64, 3)
    return types.void(types.int64, a, b, bias, out, three, three, three, *3 * [types.int64]), codegen
