"""What the compiled step reads and writes: a row for each of many environments of a task.

A lone environment has rows of its own, those of a vector environment share theirs, and a thread
steps a range of them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from handrail.envs.native import kernels
from handrail.envs.native.index import PARTS, Index
from handrail.envs.native.model import mujoco
from handrail.envs.native.settings import SUBSTEPS

_ADDRESSES = ("model", "data", "ctrl", "mocap_pos", "xpos", "xmat", "qvel", "sensordata")
ROW = np.dtype(
    [(name, np.int64) for name in _ADDRESSES]
    # The episode: steps, the lit button, steps for which buttons are off, distances after the
    # step before (m; agent to goal, of Push agent to box and box to goal).
    + [("steps", np.int64), ("button", np.int64), ("timer", np.int64)]
    + [("last_box", np.float64), ("last_goal", np.float64)]
    # Whether the next step takes no action: a vector environment begins the next episode in it.
    + [("idle", np.bool_)]
    # What the step gave.
    + [("reward", np.float64), ("cost", np.float64)]
    + [(name, np.bool_) for name in ("met", "terminated", "truncated")]
)


class Rows:
    """Of ``number`` environments of a task.

    ``rows`` (N,) of ROW; ``observations`` (N, O); ``parts`` (N, P), the cost's, 0 or 1.
    """

    def __init__(self, index: Index, number: int):
        self.index = index
        self.rows = np.zeros(number, ROW)
        self.observations = np.zeros((number, index.width))
        self.parts = np.zeros((number, len(PARTS)))
        self._controls = np.zeros((number, 2))
        self._ways = np.zeros((number, SUBSTEPS, 3))
        self._ways[:, :, 2] = index.guided_at
        self._alive: list[tuple[Any, Any]] = [(None, None)] * number

    def __reduce__(self):
        raise TypeError("addresses cannot be copied; make another environment and set_state")

    def put(self, i: int, model: Any, data: Any) -> np.void:
        """An environment's model and data into row i; returns the row."""
        assert model.opt.integrator == mujoco.mjtIntegrator.mjINT_EULER
        self._alive[i] = model, data  # as long as their addresses are known here
        row = self.rows[i]
        row["model"], row["data"] = model._address, data._address
        for name in _ADDRESSES[2:]:
            row[name] = getattr(data, name).ctypes.data
        return row

    def prepare(self, actions: np.ndarray, first: int, last: int) -> None:
        """The actions of the next step, (M, 2), of the M rows from ``first`` to ``last``."""
        controls = self._controls[first:last]
        np.maximum(np.minimum(actions, 1.0), -1.0, out=controls)
        if not math.isfinite(controls.sum()):
            for action, row in zip(controls, self.rows[first:last], strict=True):
                if not (row["idle"] or np.isfinite(action).all()):
                    raise ValueError(f"the action {action} is not finite")
        if self.index.guides:  # in circles, all with the same phase, 1 rad/s
            steps = np.full((last - first, SUBSTEPS), self.index.timestep)
            steps[:, 0] = [data.time for _, data in self._alive[first:last]]
            phase = np.cumsum(steps, axis=1)  # adds up as MuJoCo's clock does
            # NumPy's, not the compiler's: they differ in the last bit
            self._ways[first:last, :, 0] = np.sin(phase) * self.index.travel
            self._ways[first:last, :, 1] = np.cos(phase) * self.index.travel

    @property
    def _stepped(self):
        return (
            self.index, self.rows, self._controls, self._ways, self.observations, self.parts,
        )  # fmt: skip

    def step(self, first: int, last: int) -> None:
        """Step the rows from ``first`` to ``last`` with the actions prepared; holds no lock."""
        kernels.step(*self._stepped, first, last)

    def follow(self, first: int, last: int, turns: np.ndarray, who: int, looks: int) -> None:
        """The same at every turn of a leader's: :func:`kernels.follow`."""
        kernels.follow(*self._stepped, first, last, turns, who, looks)

    def observe(self, i: int) -> np.ndarray:
        """Row i's observation, as its state is now; into ``observations`` too."""
        kernels.look(self.index, self.rows[i], self.observations[i])
        return self.observations[i].copy()

    def infos(self, own: np.ndarray, whole: np.ndarray) -> dict[str, Any]:
        """Gymnasium's infos of the last step: arrays over the rows, beside each, as ``_name``, who
        has it.

        Args:
            own: (N,) rows that have a cost.
            whole: (N,) those that have its parts too.
        """
        cost, met = self.rows["cost"], self.rows["met"] & whole
        table = {"cost": np.where(own, cost, 0.0), "_cost": own}
        if whole.any():
            for name, costly, part in zip(PARTS, self.index.costly, self.parts.T, strict=True):
                if costly:
                    table[name], table[f"_{name}"] = np.where(whole, part, 0.0), whole
        if met.any():
            table["goal_met"], table["_goal_met"] = met, met.copy()
        return table
