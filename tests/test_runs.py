"""The run directory: what is written can be read, and no kill, cut or full disk loses it."""

import csv
import errno
import json
import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from handrail import runs
from handrail.data.episodes import Episode
from handrail.errors import HandrailError
from handrail.metrics_file import read_metrics
from handrail.runs import Run
from handrail.storage import read_policy, write_policy

TASK = "native/Probe"


class State(NamedTuple):
    weights: dict
    mask: np.ndarray
    legacy_key: jax.Array
    key: jax.Array
    updates: int
    activation: object


def state(seed: int = 0, width: int = 3) -> State:
    weights = {"w": jnp.full((2, width), seed, jnp.float32), "b": jnp.arange(width)}
    mask = np.array([True, seed % 2 == 0])
    return State(weights, mask, jax.random.PRNGKey(seed), jax.random.key(seed), seed, jnp.tanh)


def episode(number: int) -> Episode:
    t = 3 + number
    rewards = np.arange(t, dtype=np.float32) + number
    return Episode(
        np.full((t + 1, 2), number, np.float32),
        np.zeros((t, 1), np.float32),
        rewards,
        np.ones(t, np.float32),
        terminated=number % 2 == 0,
        seed=number,
    )


@pytest.fixture
def run(tmp_path):
    with Run.create(tmp_path / "run", {"task": TASK}) as run:
        yield run


def assert_same(left, right):
    assert jax.tree.structure(left) == jax.tree.structure(right)
    for a, b in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        assert type(a) is type(b)
        if hasattr(a, "dtype"):
            assert a.dtype == b.dtype
            if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
                a, b = jax.random.key_data(a), jax.random.key_data(b)
            np.testing.assert_array_equal(a, b)
        else:
            assert a == b


def text(run: Run) -> str:
    return (run.path / "metrics.csv").read_text()


def latest(run: Run) -> Path:
    return run.path / "checkpoint" / "latest.json"


# -- create and open -----------------------------------------------------------------------------


def test_settings_come_back_and_say_what_made_them(tmp_path):
    settings = {"task": TASK, "demos": None, "out": tmp_path, "gold": {"sizes": (256, 256)}}
    Run.create(tmp_path / "a" / "run", settings)
    run = Run.open(tmp_path / "a" / "run")
    assert run.settings == {"task": TASK, "out": str(tmp_path), "gold": {"sizes": [256, 256]}}
    assert run.about["format"] == 1
    assert run.about["version"] == runs.version("handrail")
    assert run.about["jax"] == jax.__version__
    root = Path(__file__).parents[1]
    if (root / ".git").exists():  # not an unpacked archive
        head = ["git", "-C", root, "rev-parse", "HEAD"]
        commit = subprocess.run(head, capture_output=True, text=True, check=True).stdout.strip()
        assert run.about["commit"].removesuffix("-dirty") == commit


def test_create_takes_an_empty_directory_and_refuses_another(tmp_path):
    (tmp_path / "empty").mkdir()
    Run.create(tmp_path / "empty", {})
    with pytest.raises(HandrailError, match="exists; choose another --out or `handrail resume"):
        Run.create(tmp_path / "empty", {})
    Run.create(tmp_path / "my run", {})
    with pytest.raises(HandrailError) as refused:
        Run.create(tmp_path / "my run", {})
    (command,) = re.findall("`(.+)`", str(refused.value))
    assert shlex.split(command) == ["handrail", "resume", str(tmp_path / "my run")]
    (tmp_path / "file").touch()
    with pytest.raises(HandrailError, match="exists; choose another"):
        Run.create(tmp_path / "file", {})
    with pytest.raises(HandrailError, match="cannot write"):
        Run.create(tmp_path / "file" / "below", {})
    with pytest.raises(HandrailError, match="is not UTF-8, so the settings cannot be written"):
        Run.create(tmp_path / "odd", {"demos": "\udcff.hdf5"})
    assert not (tmp_path / "odd").exists()


def test_open_says_what_is_wrong(tmp_path):
    with pytest.raises(HandrailError, match="there is no directory"):
        Run.open(tmp_path / "none")
    with pytest.raises(HandrailError, match=r"no settings\.toml"):
        Run.open(tmp_path)
    file = tmp_path / "settings.toml"
    file.write_text("task = ")
    with pytest.raises(HandrailError, match="cannot be read"):
        Run.open(tmp_path)
    file.write_text("[handrail]\nformat = 2\n")
    with pytest.raises(HandrailError, match="has format 2, this handrail reads 1"):
        Run.open(tmp_path)


# -- metrics -------------------------------------------------------------------------------------


def test_a_new_column_leaves_empty_cells_before_it(run):
    run.log(10, {"eval/return": 1.5})
    run.log(20, {"eval/return": np.float32(0.1), "guide/share": jnp.float32(0.5)})
    run.log(30, {"guide/share": 0})
    rows = list(csv.reader(text(run).splitlines()))
    assert rows[0] == ["step", "eval/return", "guide/share"]
    tenth = repr(float(np.float32(0.1)))
    assert rows[1:] == [["10", "1.5", ""], ["20", tenth, "0.5"], ["30", "", "0.0"]]
    metrics = read_metrics(run.path)
    np.testing.assert_array_equal(metrics["step"], [10, 20, 30])
    np.testing.assert_array_equal(metrics["guide/share"], [np.nan, 0.5, 0.0])


def test_a_line_that_a_kill_cut_short_does_not_count(run):
    run.log(10, {"a": 1})
    with (run.path / "metrics.csv").open("a") as file:
        file.write("20,")
    assert read_metrics(run.path)["step"].tolist() == [10]


def test_read_metrics_says_what_is_wrong(run):
    with pytest.raises(HandrailError, match=r"no metrics\.csv"):
        read_metrics(run.path)
    for content in ("step,a\n1,x\n", "step,a\nx,1\n", "step,a\n1\n", "step,a\n\n"):
        (run.path / "metrics.csv").write_text(content)
        with pytest.raises(HandrailError, match="damaged"):
            read_metrics(run.path)
    with pytest.raises(HandrailError, match="damaged at line 2"):
        Run.open(run.path)


def points(run: Run) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard shows."""
    from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator

    shown = EventAccumulator(str(run.path))
    shown.Reload()
    return {
        tag: [(e.step, e.tensor_proto.float_val[0]) for e in shown.Tensors(tag)]
        for tag in shown.Tags()["tensors"]
    }


def test_tensorboard_has_the_scalars_and_alone_the_timings(run):
    run.log(1, {"eval/return": 2.0}, timings={"time/steps_per_s": 100.0})
    run.close()
    assert points(run) == {"eval/return": [(1, 2.0)], "time/steps_per_s": [(1, 100.0)]}
    assert "time" not in text(run)


# -- episodes ------------------------------------------------------------------------------------


def test_episodes_come_back_in_order(run):
    for number in range(3):
        run.add_episode(number, episode(number))
    assert (run.path / "episodes" / "00000002.safetensors").is_file()
    read = list(run.episodes(3))
    assert [e.seed for e in read] == [0, 1, 2]
    for number, e in enumerate(read):
        np.testing.assert_array_equal(e.rewards, episode(number).rewards)
        assert e.terminated == episode(number).terminated


def test_a_missing_or_damaged_episode_is_named(run):
    for number in range(3):
        run.add_episode(number, episode(number))
    file = run.path / "episodes" / "00000001.safetensors"
    file.write_bytes(file.read_bytes()[:-7])
    with pytest.raises(HandrailError, match="00000001"):
        list(run.episodes(3))
    file.unlink()
    with pytest.raises(HandrailError, match=r"00000001\.safetensors is missing"):
        list(run.episodes(3))


# -- checkpoints ---------------------------------------------------------------------------------


def test_every_kind_of_leaf_comes_back(run):
    run.save({"step": 7, "stage": "guided", "h": [1, 2]}, state(5))
    progress, restored = Run.open(run.path).load(state(0))
    assert progress == {"step": 7, "stage": "guided", "h": [1, 2]}
    assert_same(restored, state(5))


def test_restored_arrays_may_be_donated_and_written(run):
    run.save({"step": 0}, state(5))
    _, restored = run.load(state(0))
    double = jax.jit(lambda x: 2 * x, donate_argnums=0)
    np.testing.assert_array_equal(double(restored.weights["w"]), np.full((2, 3), 10))
    restored.mask[0] = False


def test_only_the_last_checkpoint_is_kept(run):
    for step in range(3):
        run.save({"step": step}, state(step))
    run.save({"step": 2}, state(9))  # the same step anew
    files = [f.name for f in latest(run).parent.glob("*.safetensors")]
    assert files == [json.loads(latest(run).read_text())["file"]]
    assert files[0].startswith("state-2-")
    assert_same(run.load(state())[1], state(9))


def test_load_rolls_the_run_back(run):
    run.log(10, {"a": 1})
    run.add_episode(0, episode(0))
    run.log(20, {"a": 2})
    kept = text(run)
    run.save({"step": 20}, state(1))
    run.log(30, {"a": 3, "later": 1})  # a column that the checkpoint does not know
    run.add_episode(1, episode(1))
    run.add_episode(2, episode(2))
    run.close()

    with Run.open(run.path) as again:
        progress, _ = again.load(state())
        assert progress["step"] == 20
        assert text(again) == kept
        assert [f.name for f in (run.path / "episodes").iterdir()] == ["00000000.safetensors"]
        again.log(30, {"a": 4, "later": 2})
        assert text(again) == "step,a,later\n10,1.0,\n20,2.0,\n30,4.0,2.0\n"
    assert points(again) == {"a": [(10, 1), (20, 2), (30, 4)], "later": [(30, 2)]}


def test_without_a_checkpoint_the_run_begins_anew(run):
    run.log(10, {"a": 1})
    run.add_episode(0, episode(0))
    assert run.load(state()) is None
    assert not (run.path / "metrics.csv").exists()
    assert list((run.path / "episodes").iterdir()) == []
    run.log(10, {"b": 1})
    assert text(run) == "step,b\n10,1.0\n"


def test_lost_rows_are_noticed(run):
    run.log(10, {"a": 1})
    run.save({"step": 10}, state())
    (run.path / "metrics.csv").write_text("step,a\n")
    with pytest.raises(HandrailError, match="lost rows"):
        run.load(state())


def damage_bytes(checkpoint: Path) -> None:
    (file,) = checkpoint.glob("*.safetensors")
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


def damage_length(checkpoint: Path) -> None:
    (file,) = checkpoint.glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:-1])


def damage_name(checkpoint: Path) -> None:
    (file,) = checkpoint.glob("*.safetensors")
    file.unlink()


def damage_index(checkpoint: Path) -> None:
    file = checkpoint / "latest.json"
    file.write_text(file.read_text()[:40])


def damage_version(checkpoint: Path) -> None:
    file = checkpoint / "latest.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "format": 9}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_bytes, "damaged"),
        (damage_length, "damaged"),
        (damage_name, "is missing"),
        (damage_index, "damaged"),
        (damage_version, "format 9"),
    ],
)
def test_a_damaged_checkpoint_is_refused_and_nothing_rolled_back(run, damage, message):
    run.save({"step": 0}, state())
    run.log(10, {"a": 1})
    damage(latest(run).parent)
    with pytest.raises(HandrailError, match=message):
        Run.open(run.path).load(state())
    assert text(run) == "step,a\n10,1.0\n"


@pytest.mark.parametrize(
    ("like", "message"),
    [
        (state(width=4), r"\.weights\['b'\] is int32\[3\] there and int32\[4\] here"),
        (state()._replace(weights={"w": 0}), r"\.weights\['w'\] is float32\[2, 3\] there and int6"),
        (state()._replace(mask=None), r"\.mask is bool\[2\] there and absent here"),
        (
            state()._replace(weights={**state().weights, "z": jnp.ones(1)}),
            r"\.weights\['z'\] is absent there",
        ),
    ],
)
def test_a_checkpoint_of_other_settings_names_the_first_mismatch(run, like, message):
    run.save({"step": 0}, state())
    line = rf"another version or other settings \({message}.*\); go on with .*, or begin anew$"
    with pytest.raises(HandrailError, match=line):
        run.load(like)


# -- kills and full disks ------------------------------------------------------------------------


class Killed(BaseException):
    """Stands for a kill: nothing after it runs but what a dead process leaves anyway."""


class Killer:
    """Lets ``after`` calls of the system through, then kills."""

    def __init__(self, monkeypatch, after: int):
        self.left = after
        for owner, name in ((os, "replace"), (os, "fsync"), (Path, "unlink")):
            monkeypatch.setattr(owner, name, self.guard(getattr(owner, name)))

    def guard(self, call):
        def guarded(*args, **kwargs):
            if self.left == 0:
                raise Killed
            self.left -= 1
            return call(*args, **kwargs)

        return guarded


@pytest.mark.parametrize("again", [False, True], ids=["next step", "same step"])
@pytest.mark.parametrize("after", range(8))
def test_a_kill_while_saving_leaves_a_whole_checkpoint(run, monkeypatch, after, again):
    """Calls: sync, rename, sync directory (state); the same three (index); unlink; none."""
    run.save({"step": 1}, state(1))
    with monkeypatch.context() as patch:
        Killer(patch, after)
        if after < 7:
            with pytest.raises(Killed):
                run.save({"step": 2 - again, "n": 2}, state(2))
        else:
            run.save({"step": 2 - again, "n": 2}, state(2))
    with Run.open(run.path) as opened:
        progress, restored = opened.load(state())
        new = "n" in progress
        assert new == (after >= 5)  # the rename of latest.json is the instant
        assert_same(restored, state(2 if new else 1))
        assert not list(run.path.rglob("*.tmp"))
        opened.save({"step": 3}, state(3))
        assert len(list(latest(run).parent.iterdir())) == 2


@pytest.mark.parametrize("after", range(12))
def test_a_kill_while_rolling_back_can_be_rolled_back(run, monkeypatch, after):
    run.log(10, {"a": 1})
    run.save({"step": 10}, state(1))
    run.log(20, {"b": 1})
    for number in range(3):
        run.add_episode(number, episode(number))
    (run.path / "episodes" / ".00000003.safetensors.4711").touch()  # a draft of a killed writer
    run.close()
    with monkeypatch.context() as patch:
        Killer(patch, after)
        if after < 7:  # a draft, three episodes; sync, rename, sync directory
            with pytest.raises(Killed):
                Run.open(run.path).load(state())
        else:
            Run.open(run.path).load(state())
    progress, _ = Run.open(run.path).load(state())
    assert progress == {"step": 10}
    assert text(run) == "step,a\n10,1.0\n"
    assert list((run.path / "episodes").iterdir()) == []


def fill(monkeypatch) -> None:
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)


def test_a_full_disk_keeps_the_checkpoint_and_says_how_to_go_on(run, monkeypatch):
    with monkeypatch.context() as patch:
        fill(patch)
        with pytest.raises(HandrailError, match="is full; there is no checkpoint yet"):
            run.save({"step": 1}, state(1))
    run.log(1, {"a": 1})
    run.save({"step": 1}, state(1))
    for write in (
        lambda: run.save({"step": 2}, state(2)),
        lambda: run.log(2, {"a": 2}),
        lambda: run.log(2, {"b": 2}),
        lambda: run.finish({}),
        lambda: run.add_episode(0, episode(0)),
    ):
        with monkeypatch.context() as patch:
            fill(patch)
            kept = r"is full; the last checkpoint is kept: free some space, then `handrail resume"
            with pytest.raises(HandrailError, match=kept):
                write()
    assert not list(run.path.rglob("*.tmp"))
    progress, restored = run.load(state())
    assert progress == {"step": 1}
    assert_same(restored, state(1))
    assert text(run) == "step,a\n1,1.0\n"


def test_another_fault_of_the_disk_is_not_called_full(run, monkeypatch):
    def broken(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="Input/output"):
        run.save({"step": 1}, state(1))


# -- the end -------------------------------------------------------------------------------------


def test_the_summary_says_that_a_run_is_complete(run):
    assert run.summary() is None
    run.finish({"return": {"mean": 1.0}})
    assert Run.open(run.path).summary() == {"return": {"mean": 1.0}}
    (run.path / "summary.json").write_text("[")
    with pytest.raises(HandrailError, match="damaged"):
        run.summary()


# -- policies ------------------------------------------------------------------------------------


def test_a_policy_comes_back_and_is_replaced_whole(tmp_path):
    arrays = {"w": np.arange(6, dtype=np.float32).reshape(2, 3).T, "scale": np.float32(2)}
    write_policy(tmp_path / "p", {"old": np.zeros(1)}, {"kind": "old"})
    write_policy(tmp_path / "p", arrays, {"kind": "mlp"})
    read, card = read_policy(tmp_path / "p")
    assert card == {"kind": "mlp"}
    assert read.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array)
        assert read[name].shape == array.shape
    assert len(list((tmp_path / "p").iterdir())) == 2


def test_a_policy_that_cannot_be_read_says_why(tmp_path):
    with pytest.raises(HandrailError, match="is not a policy"):
        read_policy(tmp_path)
    write_policy(tmp_path, {"w": np.zeros(3)}, {})
    damage_bytes(tmp_path)
    with pytest.raises(HandrailError, match="damaged"):
        read_policy(tmp_path)
    card = tmp_path / "card.json"
    card.write_text('{"format": 0}')
    with pytest.raises(HandrailError, match="format 0"):
        read_policy(tmp_path)
    card.write_text("[]")
    with pytest.raises(HandrailError, match="damaged"):
        read_policy(tmp_path)


def test_the_time_of_complete_stages_counts_where_there_is_no_checkpoint(tmp_path):
    with Run.create(tmp_path / "run", {"task": TASK}) as run:
        assert run.seconds < 10
        with Run.create(run.path / "guide", {"task": TASK}) as guide:
            guide.finish({"wall_seconds": 1000.0})
        with Run.create(run.path / "offline", {"task": TASK}):
            pass  # not complete
        assert run.seconds < 10  # it was made in this process: it is counted already
    with Run.open(run.path) as again:
        assert again.load(state()) is None
        assert 1000 <= again.seconds < 1010
        again.save({"step": 1}, state())
    with Run.open(run.path) as later:
        assert later.load(state()) is not None
        assert 1000 <= later.seconds < 1010  # not twice
