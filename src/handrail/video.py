"""Films of episodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from handrail.envs.cmdp import CMDP
from handrail.errors import HandrailError
from handrail.rollout import play
from handrail.types import Policy

FORMATS = (".mp4", ".gif", ".webp")
_INSTALL = 'films need imageio: pip install "handrail[video]"'


class _Filmed(gymnasium.Wrapper):
    """Hands a picture of every step to a writer, with the sums so far written on it."""

    def __init__(self, env: CMDP, writer: Any):
        super().__init__(env)
        self.spec_ = env.spec_
        self._cmdp, self._writer = env, writer

    def _shoot(self) -> None:
        from PIL import Image, ImageDraw

        image = Image.fromarray(self._cmdp.picture())
        text = f"step {self._step}   return {self._return:.1f}   cost {self._cost:g}"
        draw = ImageDraw.Draw(image, "RGBA")
        draw.rectangle((0, 0, image.width, 18), fill=(255, 255, 255, 200))
        draw.text((6, 3), text, fill=(180, 0, 0) if self._now else (30, 30, 30))
        self._writer.append_data(np.asarray(image))

    def reset(self, **options: Any) -> Any:
        self._step, self._return, self._cost, self._now = 0, 0.0, 0.0, 0.0
        found = self.env.reset(**options)
        self._shoot()
        return found

    def step(self, action: Any) -> Any:
        found = self.env.step(action)
        self._step, self._now = self._step + 1, found[4]["cost"]
        self._return, self._cost = self._return + float(found[1]), self._cost + self._now
        self._shoot()
        return found


def check(path: Path) -> None:
    """Raise a HandrailError where a film cannot be written to ``path``."""
    if path.suffix.lower() not in FORMATS:
        raise HandrailError(f"{path}: films are {', '.join(FORMATS)}; name one of them")
    if not path.parent.is_dir():
        raise HandrailError(f"{path}: there is no directory {path.parent}; make it first")
    try:
        import imageio.v2  # noqa: F401
    except ModuleNotFoundError as error:
        raise HandrailError(_INSTALL) from error


def film(policy: Policy, env: CMDP, seed: int, path: Path, *, fps: int = 30) -> None:
    """Play the episode of ``seed`` and film it, a frame a step.

    Args:
        env: made with ``pictures``.
        path: .mp4, .gif or .webp; replaced where it exists.

    Raises:
        HandrailError: another format, no imageio, no pictures, or a disk that says no.
    """
    check(path)
    import imageio.v2 as imageio

    options: dict[str, Any] = {"fps": fps, "macro_block_size": 2}
    if path.suffix.lower() != ".mp4":
        options = {"duration": 1000 / fps, "loop": 0}
    try:
        with imageio.get_writer(path, **options) as writer:
            filmed: Any = _Filmed(env, writer)
            list(play(policy, [filmed], [seed]))
    except OSError as error:
        raise HandrailError(f"{path}: cannot be written ({error}); write elsewhere") from error
