"""The ``gym/`` tasks: any registered Gymnasium id whose steps carry ``info["cost"]``."""

from __future__ import annotations

import warnings

import gymnasium

from handrail.envs import velocity
from handrail.envs.cmdp import CMDP, Task
from handrail.errors import HandrailError

_COST_LIMIT = 25.0
"""Safety-Gymnasium's usual limit; state your own with ``--cost-limit``."""


def tasks() -> list[Task]:
    """The velocity tasks; besides, every registered id is a task, as ``gym/ID``."""
    return velocity.tasks()


def make(name: str, pictures: bool = False) -> CMDP:
    """The registered environment as a CMDP; ``gym/module:ID`` imports ``module`` first.

    Raises:
        HandrailError: the id is not registered, cannot be built, or has no time limit.
    """
    known = next((task for task in velocity.tasks() if task.name == name), None)
    if known is not None:
        return CMDP(velocity.make(name, pictures), known)
    identifier = name.removeprefix("gym/")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # -1: no TimeLimit wrapper, which takes five values only; the CMDP keeps the limit
            drawn = {"render_mode": "rgb_array"} if pictures else {}
            env = gymnasium.make(
                identifier, max_episode_steps=-1, disable_env_checker=True, **drawn
            )
    except (gymnasium.error.Error, ImportError) as error:
        reason = str(error).splitlines()[0]
        raise HandrailError(
            f"{name}: Gymnasium cannot make it ({reason}); register the id, or name the module "
            "that registers it as gym/MODULE:ID"
        ) from error
    except TypeError as error:
        if not pictures:
            raise
        raise HandrailError(f"{name} draws no pictures: it takes no render_mode") from error
    registered = env.unwrapped.spec  # of the id that was found: module and version resolved
    horizon = registered and gymnasium.spec(registered.id).max_episode_steps
    if not horizon:
        raise HandrailError(f"{name}: it has no time limit; register it with max_episode_steps")
    return CMDP(env, Task(name, horizon, _COST_LIMIT, 'info["cost"] of the environment'))
