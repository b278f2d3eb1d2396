"""What compiled code needs to hand over work from one thread to another without Python's lock."""

from __future__ import annotations

import os
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

YIELD: Any = types.ExternalFunction(  # the core to a thread that waits for it; else back at once
    "SwitchToThread" if os.name == "nt" else "sched_yield", types.int32()
)


def _load(typing: Any, address: Any) -> Any:  # pragma: no cover - compiled
    """The int64 at an address; what was written before it was stored is seen after it is loaded."""

    def build(_: Any, builder: Any, __: Any, values: Any) -> Any:
        at = builder.inttoptr(values[0], ir.IntType(64).as_pointer())
        return builder.load_atomic(at, "acquire", 8)

    return types.int64(types.intp), build


def _store(typing: Any, address: Any, value: Any) -> Any:  # pragma: no cover - compiled
    """An int64 to an address, after all that was written before it."""

    def build(context: Any, builder: Any, _: Any, values: Any) -> Any:
        at = builder.inttoptr(values[0], ir.IntType(64).as_pointer())
        builder.store_atomic(values[1], at, "release", 8)
        return context.get_dummy_value()

    return types.void(types.intp, types.int64), build


load: Any = intrinsic(_load)
store: Any = intrinsic(_store)
