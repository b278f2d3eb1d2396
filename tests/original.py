"""safety-gymnasium 1.0.0 under today's Python, NumPy, Gymnasium and MuJoCo: what ours must equal.

Nothing of its dynamics, observations, rewards or costs is touched. What is: its package file (which
registers hundreds of tasks through a Gymnasium of 2023), array defaults of dataclasses, two NumPy
calls, and the pictures, which it reads from disk at every reset.
"""

import dataclasses
import importlib
import importlib.machinery
import importlib.util
import sys
import types
from typing import Any

import numpy as np


class _NumPy(types.ModuleType):
    """NumPy, where ``copy=False`` means as it did: only if needed."""

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    @staticmethod
    def array(x: Any, copy: bool = True, **rest: Any) -> np.ndarray:
        return np.array(x, copy=copy or None, **rest)


class _Model:
    """A model whose named parts give numbers as numbers, not as arrays of one."""

    def __init__(self, model: Any):
        self._model = model

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._model, name)
        return (lambda key: _Part(value(key))) if name in ("sensor", "jnt") else value


class _Part:
    def __init__(self, part: Any):
        self._part = part

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._part, name)
        if isinstance(value, np.ndarray) and value.shape == (1,) and name != "dim":
            return value[0]
        return value


def _module(name: str, **contents: Any) -> types.ModuleType:
    module = types.ModuleType(name)
    module.__spec__ = importlib.machinery.ModuleSpec(name, None)
    vars(module).update(contents)
    return sys.modules.setdefault(name, module)


def _load() -> Any:
    found = importlib.util.find_spec("safety_gymnasium")
    assert found is not None
    assert found.submodule_search_locations is not None
    where = list(found.submodule_search_locations)
    package = _module("safety_gymnasium")
    package.__path__, package.__file__ = where, f"{where[0]}/__init__.py"
    _module("safety_gymnasium.utils.keyboard_viewer", KeyboardViewer=object)
    get_field = dataclasses._get_field  # type: ignore[attr-defined]

    def field(cls: type, name: str, *rest: Any) -> Any:
        default = getattr(cls, name, None)
        if isinstance(default, np.ndarray):
            setattr(cls, name, dataclasses.field(default_factory=default.copy))
        return get_field(cls, name, *rest)

    dataclasses._get_field = field  # type: ignore[attr-defined]
    try:
        builder = importlib.import_module("safety_gymnasium.builder")
    finally:
        dataclasses._get_field = get_field  # type: ignore[attr-defined]
    agents = importlib.import_module("safety_gymnasium.bases.base_agent")
    world = importlib.import_module("safety_gymnasium.world")
    builder.np = agents.np = _NumPy("numpy")
    read_sensors = agents.BaseAgent._init_jnt_sensors

    def with_numbers(agent: Any) -> None:
        engine = agent.engine
        agent.engine = types.SimpleNamespace(model=_Model(engine.model), data=engine.data)
        read_sensors(agent)
        agent.engine = engine

    agents.BaseAgent._init_jnt_sensors = with_numbers
    yaml, plain = world.yaml, {"@builtin": "flat", "@width": "8", "@height": "8"}

    def load(file: Any, **rest: Any) -> Any:
        read = yaml.load(file, **rest)
        for name, kind in (("skybox", "skybox"), ("matplane", "2d")):
            read["textures"][name] = {"@name": name, "@type": kind, **plain}
        return read

    world.yaml = types.SimpleNamespace(load=load, FullLoader=yaml.FullLoader)
    return builder.Builder


BUILDER = _load()


def make(name: str) -> Any:
    """The original of ``native/name``; its step returns six values."""
    agent = "Point" if name.startswith("Point") else "Car"
    return BUILDER(f"Safety{name}-v0", config={"agent_name": agent})
