"""Films of episodes: every step, on a real simulator, without a screen."""

import sys

import numpy as np
import pytest
import toy

from handrail import envs, video
from handrail.envs.cmdp import CMDP
from handrail.envs.native import task
from handrail.envs.native.env import NativeEnv
from handrail.errors import HandrailError
from handrail.policies import HeldRandom
from handrail.rollout import play


@pytest.fixture
def env():
    made = NativeEnv("PointGoal0", max_episode_steps=6, render_mode="rgb_array")
    yield CMDP(made, task("PointGoal0"))
    made.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # imageio's pipes
@pytest.mark.parametrize("suffix", video.FORMATS)
def test_a_frame_a_step(env, tmp_path, suffix):
    import imageio.v3 as imageio

    path = tmp_path / f"film{suffix}"
    (episode,) = play(HeldRandom(2), [env], [1000])
    video.film(episode, env, path)
    frames = imageio.imread(path, **({} if suffix == ".mp4" else {"index": ...}))
    assert frames.shape[:3] == (7, 480, 640)
    first, last = frames[0].astype(int), frames[-1].astype(int)
    assert np.abs(first - last).mean() > 0.1  # the agent and the text have moved
    assert frames.std() > 5


def test_refusals(env, tmp_path, monkeypatch):
    with pytest.raises(HandrailError, match=r"films are \.mp4, \.gif, \.webp"):
        video.check(tmp_path / "film.avi")
    (tmp_path / "file").touch()
    with pytest.raises(HandrailError, match=r"film\.mp4: cannot be written \(File exists\)"):
        video.check(tmp_path / "file" / "film.mp4")
    (episode,) = play(HeldRandom(2), [env], [1000])
    with pytest.raises(HandrailError, match="draws no pictures"):
        video.film(episode, envs.make("native/PointGoal0"), tmp_path / "film.mp4")
    with pytest.raises(HandrailError, match="takes no render_mode"):
        envs.make(toy.TOY, pictures=True)
    without = envs.make(toy.TOY)
    without.reset(seed=0)
    with pytest.raises(HandrailError, match="draws no pictures"):
        without.picture()
    monkeypatch.setitem(sys.modules, "imageio.v2", None)
    with pytest.raises(HandrailError, match=r'pip install "handrail\[video\]"'):
        video.check(tmp_path / "film.mp4")


def test_bullet_has_pictures():
    env = envs.make("bullet/BallCircle", pictures=True)
    env.reset(seed=0)
    picture = env.picture()
    env.close()
    assert picture.shape == (360, 480, 3)
    assert picture.std() > 5
