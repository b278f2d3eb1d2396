"""A step's ten substeps of physics in one compiled call, without Python's lock.

It calls MuJoCo's C functions, those that ``mj_step`` is made of. Two things are gained over a loop
in Python: threads that step different environments do not wait for each other, and sensors are
computed once a step instead of ten times (nothing of the physics depends on them). The bits are
those of ``mj_step``; a test compares them.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import numba
import numpy as np

from handrail.envs.native.model import mujoco
from handrail.errors import HandrailError


def _library() -> ctypes.CDLL:
    """MuJoCo's library, which its Python package has loaded already."""
    folder = Path(mujoco.__file__).parent
    files = [f for f in folder.iterdir() if f.name.startswith(("libmujoco", "mujoco.dll"))]
    if len(files) != 1:
        raise HandrailError(f"MuJoCo's library is not in {folder}: reinstall mujoco")
    return ctypes.CDLL(str(files[0]))


def _function(name: str, *more: type):
    """Of (model, data, ...); pointers are passed as numbers."""
    function = getattr(_LIBRARY, name)
    function.argtypes, function.restype = (ctypes.c_size_t, ctypes.c_size_t, *more), None
    return function


_LIBRARY = _library()
_ACTUATION, _ACCELERATION, _CONSTRAINT, _EULER, _CHECK_POS, _CHECK_VEL, _CHECK_ACC = map(
    _function,
    ("mj_fwdActuation", "mj_fwdAcceleration", "mj_fwdConstraint", "mj_Euler",
     "mj_checkPos", "mj_checkVel", "mj_checkAcc"),
)  # fmt: skip
_FORWARD = _function("mj_forwardSkip", ctypes.c_int, ctypes.c_int)  # stage to skip, skip sensors


@numba.njit(nogil=True)
def _substeps(model, data, guides, ways):  # pragma: no cover - compiled
    for k in range(len(ways)):
        if k == 0 and not len(guides):
            # What follows from position and velocity is there, from the pass that ended a step.
            _ACTUATION(model, data)
            _ACCELERATION(model, data)
            _CONSTRAINT(model, data)
        else:
            for i in range(len(guides)):
                for j in range(3):
                    guides[i, j] = ways[k, j]
            _CHECK_POS(model, data)
            _CHECK_VEL(model, data)
            _FORWARD(model, data, 0, 1)
        _CHECK_ACC(model, data)
        _EULER(model, data)
    _FORWARD(model, data, 0, 0)


class Physics:
    """Of one model and its data; the integrator is Euler's."""

    def __init__(self, model: Any, data: Any):
        assert model.opt.integrator == mujoco.mjtIntegrator.mjINT_EULER
        self._model, self._data = model, data  # alive as long as their addresses are known here
        self._where = np.uint64(model._address), np.uint64(data._address)
        self._guides = data.mocap_pos

    def __reduce__(self):
        raise TypeError("addresses cannot be copied; make another environment and set_state")

    def step(self, ways: np.ndarray) -> None:
        """A substep for each of ``ways``, with all mocap bodies there, (S, 3) m; at the end all
        that follows from the state, sensors too."""
        _substeps(*self._where, self._guides, ways)
