"""MuJoCo's C functions, for compiled code to call by their names.

Addresses and what they point to are passed as numbers; a model and its data come first, or where
to and where from.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llvmlite import binding
from numba import types

from handrail.envs.native.model import mujoco
from handrail.errors import HandrailError


def _load() -> None:
    """Make known the library that MuJoCo's Python package has loaded already."""
    folder = Path(mujoco.__file__).parent
    files = [f for f in folder.iterdir() if f.name.startswith(("libmujoco", "mujoco.dll"))]
    if len(files) != 1:
        raise HandrailError(f"MuJoCo's library is not in {folder}: reinstall mujoco")
    binding.load_library_permanently(str(files[0]))


def _function(name: str, *more: types.Type) -> Any:  # for compiled code, which has no annotations
    return types.ExternalFunction(name, types.void(types.intp, types.intp, *more))


_load()
ACTUATION, ACCELERATION, CONSTRAINT, EULER, CHECK_POS, CHECK_VEL, CHECK_ACC = map(
    _function,
    ("mj_fwdActuation", "mj_fwdAcceleration", "mj_fwdConstraint", "mj_Euler",
     "mj_checkPos", "mj_checkVel", "mj_checkAcc"),
)  # fmt: skip
FORWARD = _function("mj_forwardSkip", types.int32, types.int32)  # stage to skip, skip sensors
COPY = _function("mju_copy", types.int32)  # how many numbers
MATRIX = _function("mju_quat2Mat")
