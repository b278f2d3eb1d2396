"""Pictures of a native task without a screen, by EGL or OSMesa."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

import numpy as np

from handrail.envs.native.model import mujoco
from handrail.errors import HandrailError

WIDTH, HEIGHT = 640, 480
_MARK = 0.25
"""Radius of the sphere that is drawn around an agent in a step that costs, m."""


class Camera:
    """Follows the agent from behind and above; closed, or dropped, it frees the context."""

    def __init__(self, model: Any, width: int = WIDTH, height: int = HEIGHT):
        self._model = model
        self._gl = _context(width, height)
        self._size = mujoco.MjrRect(0, 0, width, height)
        self._scene = mujoco.MjvScene(model, maxgeom=200)
        self._option = mujoco.MjvOption()
        self._view = mujoco.MjvCamera()
        self._view.type = mujoco.mjtCamera.mjCAMERA_FREE
        self._view.distance, self._view.azimuth, self._view.elevation = 3.5, 90, -55
        self._renderer = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100.value)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._renderer)
        self._picture = np.empty((height, width, 3), np.uint8)

    def picture(self, data: Any, at: np.ndarray, costs: bool) -> np.ndarray:
        """The scene around ``at``, (height, width, 3); a red sphere where ``costs``."""
        self._gl.make_current()
        self._view.lookat[:] = [at[0], at[1], 0.0]
        everything = mujoco.mjtCatBit.mjCAT_ALL.value
        mujoco.mjv_updateScene(
            self._model, data, self._option, None, self._view, everything, self._scene
        )
        self._scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0
        self._scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
        if costs and self._scene.ngeom < self._scene.maxgeom:
            mujoco.mjv_initGeom(
                self._scene.geoms[self._scene.ngeom],
                mujoco.mjtGeom.mjGEOM_SPHERE.value,
                np.full(3, _MARK),
                np.asarray(at, float),
                np.eye(3).ravel(),
                np.array([1, 0, 0, 0.4], np.float32),
            )
            self._scene.ngeom += 1
        mujoco.mjr_render(self._size, self._scene, self._renderer)
        mujoco.mjr_readPixels(self._picture, None, self._size, self._renderer)
        return self._picture[::-1].copy()

    def close(self) -> None:
        self._gl.make_current()
        self._renderer.free()
        self._gl.free()


def _context(width: int, height: int) -> Any:
    """An OpenGL context, current: MUJOCO_GL's, else EGL's, else OSMesa's."""
    wanted = os.environ.get("MUJOCO_GL", "").lower()
    if wanted not in ("", "egl", "osmesa"):
        raise HandrailError(
            f"MUJOCO_GL is {wanted!r}; pictures are drawn with egl or osmesa: "
            "set it to one, or unset it"
        )
    for name in (wanted,) if wanted else ("egl", "osmesa"):
        before = os.environ.get("PYOPENGL_PLATFORM")
        try:
            context = importlib.import_module(f"mujoco.{name}").GLContext(width, height)
            context.make_current()
            return context
        except Exception:  # of many kinds: no library, no device, no symbol
            # PyOpenGL keeps to the platform that it was first asked for.
            for module in [m for m in sys.modules if m.split(".")[0] == "OpenGL"]:
                del sys.modules[module]
            os.environ.pop("PYOPENGL_PLATFORM", None)
            if before is not None:
                os.environ["PYOPENGL_PLATFORM"] = before
    raise HandrailError(
        "no EGL and no OSMesa here: install libegl1, libegl-mesa0 and libgl1-mesa-dri, or "
        "libosmesa6; trajectories can be drawn without"
    )
