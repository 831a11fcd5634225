"""Acquire loads, release stores, prefetches and fences on NumPy arrays, for Numba code.

Numba has no atomics for plain threads and no prefetch, so these intrinsics emit LLVM's. Only this module uses this
technique. A release store makes each earlier write visible to a thread whose acquire load sees the stored value;
single-producer single-consumer rings need no more. Prefetches make a batch faster than single packets: the cache misses
of its packets overlap (paper 4.2).
"""

# mypy: disable-error-code="no-untyped-def,untyped-decorator,import-untyped"

from __future__ import annotations

from llvmlite import ir
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
    """Store array[index] = value in a one-dimensional int64 array, with release ordering."""
    if not (isinstance(array, types.Array) and array.ndim == 1 and isinstance(index, types.Integer)):
        return None
    signature = types.none(array, types.intp, array.dtype)

    def codegen(context, builder, signature, args):
        builder.store_atomic(args[2], _element(context, builder, signature, args), "release", 8)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def prefetch(typingctx, array, row):
    """Request the cache line of array[row, 0] (two dimensions) or array[row] (one)."""
    if not (isinstance(array, types.Array) and array.ndim in (1, 2) and isinstance(row, types.Integer)):
        return None
    signature = types.none(array, types.intp)

    def codegen(context, builder, signature, args):
        array_type = signature.args[0]
        view = context.make_array(array_type)(context, builder, args[0])
        zero = context.get_constant(types.intp, 0)
        indices = [args[1]] if array_type.ndim == 1 else [args[1], zero]
        pointer = cgutils.get_item_pointer(context, builder, array_type, view, indices, wraparound=False)
        byte, word = ir.PointerType(ir.IntType(8)), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        # read, keep in all caches, data
        builder.call(function, [builder.bitcast(pointer, byte), word(0), word(3), word(1)])
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def fence(typingctx):
    """Stop loads and stores from crossing this point.

    Two threads need it when each first stores and then loads: one "I sleep", the other "there is work".
    """

    def codegen(context, builder, signature, args):
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.none(), codegen
