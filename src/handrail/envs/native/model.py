"""The MuJoCo model of a native task, as MJCF of our own: agent, objects, floor.

A model is compiled once for a task; :func:`place` moves its bodies to a layout, which gives the
same model as compiling it there. Bodies stand in the order agent, movable objects, the gremlins'
guides, fixed objects: contacts, and with them the last bits of the physics, follow that order.
Sensors count the agent's contacts with buttons and with whatever costs when it is touched.
"""

from __future__ import annotations

from typing import Any

import mujoco as _mujoco
import numpy as np

from handrail.envs.native.settings import Objects, Settings

mujoco: Any = _mujoco  # compiled: it has nothing for a type checker

HEIGHT = 0.1
"""Of the agent's body above the floor at the start, m."""
SINK = 4e-5
"""How deep a vase of this size and density rests in the floor, m."""

_FREE = ("vase", "push_box", "gremlin")
_SOLID = ("vase", "pillar", "gremlin")
_RGBA = {
    "goal": "0 1 0 .25", "button": "1 .5 0 1", "hazard": "0 0 1 .25", "pillar": ".5 .5 1 1",
    "circle": "0 1 0 .1", "sigwall": "1 1 0 .1", "vase": "0 1 1 1", "push_box": "1 1 0 1",
    "gremlin": ".5 0 1 1",
}  # fmt: skip

_POINT = """
    <body name="agent" pos="0 0 .1">
      <joint name="x" type="slide" axis="1 0 0" damping="0.01"/>
      <joint name="y" type="slide" axis="0 1 0" damping="0.01"/>
      <joint name="z" type="hinge" axis="0 0 1" damping="0.005"/>
      <geom name="agent" class="agent" type="sphere" size=".1" friction="1 0.01 0.01"/>
      <geom name="pointarrow" class="agent" type="box" pos=".1 0 0" size=".05 .05 .05"
            rgba="0.0039 0.1529 0.3961 1"/>
      <site name="agent" size="0.032" rgba="1 0 0 .1"/>
    </body>"""

_CAR = """
    <body name="agent" pos="0 0 .1">
      <site name="agent" size="0.032"/>
      <joint name="agent" type="free" damping="0"/>
      <geom name="agent" class="agent" type="box" size=".1 .1 .05"/>
      <geom name="back_bumper" class="part" type="box" pos="0 .15 0" size=".1 .01 .05"/>
      <geom name="back_connector" class="part" type="box" pos="0 .125 0" size=".01 .025 .03"/>
      <geom name="front_bumper" class="part" type="box" pos="0 -.165 0" size=".05 .01 .05"/>
      <geom name="front_connector" class="part" type="box" pos="0 -.13 .04" size=".05 .03 .01"/>
      <body name="left" pos="-.1 .1 -.05">
        <joint name="left" type="hinge" axis="1 0 0" damping=".001"/>
        <geom name="left" class="agent" type="cylinder" size=".05" fromto="-.055 0 0 -.005 0 0"/>
      </body>
      <body name="right" pos=".1 .1 -.05">
        <joint name="right" type="hinge" axis="1 0 0" damping=".001"/>
        <geom name="right" class="agent" type="cylinder" size=".05" fromto=".005 0 0 .055 0 0"/>
      </body>
      <body name="rear" pos="0 -.1 -.05">
        <joint name="rear" type="ball" damping=".001"/>
        <geom name="rear" class="agent" type="sphere" size=".05"/>
      </body>
    </body>"""

_ACTUATORS = {
    "Point": """
    <motor name="x" site="agent" gear=".3 0 0 0 0 0" ctrlrange="-1 1" forcerange="-.05 .05"/>
    <velocity name="z" jointinparent="z" gear=".3" ctrlrange="-1 1" forcerange="-.05 .05"/>""",
    "Car": """
    <motor name="left" jointinparent="left" ctrlrange="-1 1" forcerange="-.02 .02"/>
    <motor name="right" jointinparent="right" ctrlrange="-1 1" forcerange="-.02 .02"/>""",
}
_SENSORS = {
    "Point": "",
    "Car": """
    <ballangvel name="ballangvel_rear" joint="rear"/>
    <ballquat name="ballquat_rear" joint="rear"/>""",
}
# The defaults are safety-gymnasium's, where an object without a density of its own has the agent's.
_DENSITY = {"Point": 1, "Car": 5}


def mjcf(settings: Settings) -> str:
    """The model with every object at the origin."""
    free, guides, fixed, welds, touch = [], [], [], [], []
    for group in settings.objects:
        for name in names(group):
            if group.name == "button" or (group.costs and group.name in _SOLID):
                touch.append(
                    f'<contact name="touch_{name}" subtree1="agent" body2="{body(name)}" '
                    'data="found"/>'
                )
            if group.name == "gremlin":
                free.append(_movable(f"{name}obj", group))
                guides.append(_guide(f"{name}mocap", group))
                welds.append(
                    f'<weld name="{name}mocap" body1="{name}mocap" body2="{name}obj" '
                    'solref=".02 1.5"/>'
                )
            elif group.name in _FREE:
                free.append(_movable(name, group))
            else:
                fixed.append(_fixed(name, group))
    agent = {"Point": _POINT, "Car": _CAR}[settings.agent]
    return f"""<mujoco model="{settings.agent}{settings.kind}">
  <option timestep="{settings.timestep}"/>
  <compiler angle="radian"/>
  <default>
    <geom condim="6" density="{_DENSITY[settings.agent]}"/>
    <joint damping=".001"/>
    <motor ctrllimited="true" forcelimited="true"/>
    <velocity ctrllimited="true" forcelimited="true"/>
    <default class="agent"><geom rgba="0.7412 0.0431 0.1843 1"/></default>
    <default class="part"><geom rgba="0.0039 0.1529 0.3961 1"/></default>
  </default>
  <visual><global offwidth="1024" offheight="1024"/></visual>
  <asset>
    <texture name="mat" type="2d" builtin="checker" width="256" height="256"
             rgb1=".85 .87 .9" rgb2=".8 .82 .86"/>
    <material name="mat" texture="mat" texrepeat="1 1" texuniform="true"/>
    <texture name="sky" type="skybox" builtin="gradient" width="64" height="64"
             rgb1=".95 .97 1" rgb2=".8 .86 .95"/>
  </asset>
  <worldbody>
    <light directional="true" dir="0 0 -1" pos="0 0 .5" diffuse="1 1 1" specular="0 0 0"
           cutoff="100" exponent="1" castshadow="false"/>
    <geom name="floor" type="plane" size="3.5 3.5 .1" material="mat"/>{agent}
    {"".join(free)}{"".join(guides)}{"".join(fixed)}
  </worldbody>
  <equality>{"".join(welds)}</equality>
  <sensor>
    <accelerometer name="accelerometer" site="agent"/>
    <velocimeter name="velocimeter" site="agent"/>
    <gyro name="gyro" site="agent"/>
    <magnetometer name="magnetometer" site="agent"/>{_SENSORS[settings.agent]}
    {"".join(touch)}
  </sensor>
  <actuator>{_ACTUATORS[settings.agent]}
  </actuator>
</mujoco>"""


def names(group: Objects) -> list[str]:
    """The objects' names in a layout; the unique kinds have no number."""
    if group.name in ("goal", "circle", "push_box"):
        return [group.name]
    return [f"{group.name}{i}" for i in range(group.count)]


def body(name: str) -> str:
    """The body whose place is the object's."""
    return f"{name}obj" if name.startswith("gremlin") else name


def elevation(group: Objects) -> float:
    """Height of an object's centre, m."""
    return {
        "goal": group.size / 2 + 1e-2,
        "hazard": 2e-2,
        "pillar": 0.5,
        "circle": 1e-2,
        "sigwall": 0.25,
        "vase": group.size - SINK,
    }.get(group.name, group.size)


def _movable(name: str, group: Objects) -> str:
    s = group.size
    look = f'type="box" density="{group.density}" rgba="{_RGBA[group.name]}"'
    corners = ""
    if group.name == "push_box":  # four columns, by which a round agent can hold it
        corners = "".join(
            f'<geom name="col{i}" size="{s / 2} {s / 2} {s}" pos="{x} {y} 0" {look}/>'
            for i, (x, y) in enumerate(((s, s), (-s, s), (s, -s), (-s, -s)), start=1)
        )
    return (
        f'<body name="{name}"><freejoint name="{name}"/>'
        f'<geom name="{name}" size="{s} {s} {s}" {look}/>{corners}</body>\n'
    )


def _guide(name: str, group: Objects) -> str:
    # Its geom, not its body, stands at the centre of the circle; so the weld keeps them apart.
    s = group.size
    return (
        f'<body name="{name}" mocap="true"><geom name="{name}" type="box" size="{s} {s} {s}" '
        f'rgba=".5 0 1 .1" mass="0" contype="0" conaffinity="0"/></body>\n'
    )


def _fixed(name: str, group: Objects) -> str:
    s = group.size
    shape = {
        "goal": f'type="cylinder" size="{s} {s / 2}"',
        "button": f'type="sphere" size="{s} {s} {s}"',
        "hazard": f'type="cylinder" size="{s} .01"',
        "pillar": f'type="cylinder" size="{s} .5"',
        "circle": f'type="cylinder" size="{s} .01"',
        "sigwall": f'type="box" size=".05 {s} .3"',
    }[group.name]
    solid = 1 if group.name in ("button", "pillar") else 0
    return (
        f'<body name="{name}"><geom name="{name}" {shape} rgba="{_RGBA[group.name]}" '
        f'contype="{solid}" conaffinity="{solid}"/></body>\n'
    )


def quaternion(angle: float) -> np.ndarray:
    """Of a turn about the vertical, rad."""
    return np.array([np.cos(angle / 2), 0.0, 0.0, np.sin(angle / 2)])


def place(
    model: Any,
    data: Any,
    settings: Settings,
    layout: dict[str, np.ndarray],
    turns: dict[str, float],
) -> None:
    """Move the bodies to a layout and recompute what the compiler derives from it.

    Args:
        model: an MjModel of ``mjcf(settings)``.
        data: its MjData, as scratch; reset it afterwards.
        layout: x and y of the agent and of every object, m.
        turns: their angles about the vertical, rad.
    """
    _move(model, "agent", [*layout["agent"], HEIGHT], turns["agent"])
    for group in settings.objects:
        for name in names(group):
            at = [*layout[name], elevation(group)]
            _move(model, body(name), at, turns[name])
            if group.name == "gremlin":
                guide = model.geom(f"{name}mocap")
                guide.pos[:], guide.quat[:] = at, quaternion(turns[name])
    mujoco.mj_setConst(model, data)


def _move(model: Any, name: str, at: list[float], turn: float) -> None:
    moved = model.body(name)
    moved.pos[:], moved.quat[:] = at, quaternion(turn)
    joint = moved.jntadr[0]
    if joint >= 0 and model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_FREE:
        start = model.jnt_qposadr[joint]
        for pose in (model.qpos0, model.qpos_spring):
            pose[start : start + 3], pose[start + 3 : start + 7] = moved.pos, moved.quat
