"""Acquire loads and release stores on elements of a NumPy array, for Numba code.

The trick of this package, fenced here: Numba has no atomics for plain threads, so two intrinsics
emit LLVM's. A release store makes every earlier write visible to a thread whose acquire load sees
the stored value; single-producer single-consumer rings and the flow table's switch need no more.
"""

# mypy: disable-error-code="no-untyped-def,untyped-decorator"

from __future__ import annotations

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic


def _element(context, builder, signature, args):
    array_type = signature.args[0]
    array = context.make_array(array_type)(context, builder, args[0])
    return cgutils.get_item_pointer(context, builder, array_type, array, [args[1]], wraparound=False)


@intrinsic
def load_acquire(typingctx, array, index):
    """array[index] of a one-dimensional int64 array, with acquire ordering."""
    if not (isinstance(array, types.Array) and array.ndim == 1 and isinstance(index, types.Integer)):
        return None
    signature = array.dtype(array, types.intp)

    def codegen(context, builder, signature, args):
        return builder.load_atomic(_element(context, builder, signature, args), "acquire", 8)

    return signature, codegen


@intrinsic
def store_release(typingctx, array, index, value):
    """array[index] = value of a one-dimensional int64 array, with release ordering."""
    if not (isinstance(array, types.Array) and array.ndim == 1 and isinstance(index, types.Integer)):
        return None
    signature = types.none(array, types.intp, array.dtype)

    def codegen(context, builder, signature, args):
        builder.store_atomic(args[2], _element(context, builder, signature, args), "release", 8)
        return context.get_dummy_value()

    return signature, codegen
