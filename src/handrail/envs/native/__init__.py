"""The ``native/`` tasks: safety-gymnasium's, with its dynamics, observations, rewards and costs, on
today's MuJoCo and Gymnasium.

Registered as ``handrail/PointGoal1-v0`` and so on once this module is imported
(``gymnasium.make("handrail.envs.native:handrail/PointGoal1-v0")`` imports it by itself);
``gymnasium.make_vec`` gives :class:`NativeVectorEnv`. docs/native.md lists the tasks and what
deviates.
"""

from __future__ import annotations

import gymnasium

from handrail.envs.cmdp import CMDP, Task
from handrail.envs.native.settings import SETTINGS, task
from handrail.errors import HandrailError

_INSTALL = 'the native tasks need MuJoCo and numba: pip install "handrail[native]"'


def tasks() -> list[Task]:
    """The tasks of this suite; needs no MuJoCo."""
    return [task(name) for name in SETTINGS]


def make(name: str, pictures: bool = False) -> CMDP:
    """The task ``native/...`` as a CMDP.

    Raises:
        HandrailError: MuJoCo or numba is not installed.
    """
    try:
        from handrail.envs.native.env import NativeEnv
    except ModuleNotFoundError as error:
        raise HandrailError(_INSTALL) from error
    name = name.removeprefix("native/")
    return CMDP(NativeEnv(name, render_mode="rgb_array" if pictures else None), task(name))


def _register() -> None:
    for name, settings in SETTINGS.items():
        gymnasium.register(
            id=f"handrail/{name}-v0",
            entry_point="handrail.envs.native.env:NativeEnv",
            vector_entry_point="handrail.envs.native.vector:NativeVectorEnv",
            max_episode_steps=settings.horizon,
            kwargs={"task": name},
        )


_register()
