"""Films of episodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from handrail.data.episodes import Episode
from handrail.envs.cmdp import CMDP
from handrail.errors import HandrailError
from handrail.storage import require_place

FORMATS = (".mp4", ".gif", ".webp")
_INSTALL = 'films need imageio: pip install "handrail[video]"'


def check(path: Path) -> None:
    """Raise a HandrailError where a film cannot be written to ``path``."""
    if path.suffix.lower() not in FORMATS:
        raise HandrailError(f"{path}: films are {', '.join(FORMATS)}; name one of them")
    require_place(path)
    try:
        import imageio.v2  # noqa: F401
    except ModuleNotFoundError as error:
        raise HandrailError(_INSTALL) from error


def film(episode: Episode, env: CMDP, path: Path, *, fps: int = 30) -> None:
    """Play the actions of ``episode`` again from its seed and film them, a frame a step.

    Args:
        env: of the episode's task, made with ``pictures``.
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
        opened: Any = imageio.get_writer(path, **options)
        with opened as writer:
            env.reset(seed=episode.seed)
            writer.append_data(_picture(env, 0, 0.0, 0.0, 0.0))
            earned = spent = 0.0
            for step, action in enumerate(env.spec_.to_unit(episode.actions), 1):
                _, reward, _, _, info = env.step(action)
                earned, spent = earned + float(reward), spent + info["cost"]
                writer.append_data(_picture(env, step, earned, spent, info["cost"]))
    except OSError as error:
        raise HandrailError(f"{path}: cannot be written ({error}); write elsewhere") from error


def _picture(env: CMDP, step: int, return_: float, cost: float, now: float) -> np.ndarray:
    """The scene with the sums so far written on it, red where this step costs."""
    from PIL import Image, ImageDraw

    image = Image.fromarray(env.picture())
    draw = ImageDraw.Draw(image, "RGBA")
    draw.rectangle((0, 0, image.width, 18), fill=(255, 255, 255, 200))
    text = f"step {step}   return {return_:.1f}   cost {cost:g}"
    draw.text((6, 3), text, fill=(180, 0, 0) if now else (30, 30, 30))
    return np.asarray(image)
