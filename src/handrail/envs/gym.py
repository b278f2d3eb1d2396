"""The ``gym/`` tasks: any registered Gymnasium id whose steps carry ``info["cost"]``."""

from __future__ import annotations

import os
import sys
import warnings
from importlib.util import find_spec

import gymnasium

from handrail.envs import velocity
from handrail.envs.cmdp import CMDP, Task, what_broke
from handrail.errors import HandrailError

COST_LIMIT = 25.0
"""Safety-Gymnasium's usual limit; state your own with ``--cost-limit``."""


def tasks() -> list[Task]:
    """The velocity tasks; besides, every registered id is a task, as ``gym/ID``."""
    return velocity.tasks()


def make(name: str, pictures: bool = False) -> CMDP:
    """The registered environment as a CMDP; ``gym/module:ID`` imports ``module`` first, from the
    working directory too.

    Raises:
        HandrailError: the id is not registered, cannot be built, or has no time limit.
    """
    known = next((task for task in velocity.tasks() if task.name == name), None)
    if known is not None:
        return CMDP(velocity.make(name, pictures), known)
    identifier = name.removeprefix("gym/")
    try:
        if ":" in identifier:
            _find(identifier.split(":")[0].split(".")[0])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # -1: no TimeLimit wrapper, which takes five values only; the CMDP keeps the limit
            drawn = {"render_mode": "rgb_array"} if pictures else {}
            env = gymnasium.make(
                identifier, max_episode_steps=-1, disable_env_checker=True, **drawn
            )
    except (gymnasium.error.Error, ImportError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise HandrailError(
            f"{name}: Gymnasium cannot make it ({reason}); register the id, or name the module "
            "that registers it as gym/MODULE:ID (from the working directory, or as installed)"
        ) from error
    except Exception as error:  # the module's or the environment's own, whatever it is
        if pictures and isinstance(error, TypeError) and "render_mode" in str(error):
            raise HandrailError(f"{name} draws no pictures: it takes no render_mode") from error
        broke = what_broke(error)
        raise HandrailError(f"{name}: it breaks when it is made ({broke}); mend it") from error
    registered = env.unwrapped.spec  # of the id that was found: module and version resolved
    horizon = registered and gymnasium.spec(registered.id).max_episode_steps
    if not horizon:
        raise HandrailError(f"{name}: it has no time limit; register it with max_episode_steps")
    return CMDP(env, Task(name, horizon, COST_LIMIT, 'info["cost"] of the environment'))


def _find(module: str) -> None:
    """Let a module that lies in the working directory be imported, as by ``python -m``."""
    if module.isidentifier() and find_spec(module) is None and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
