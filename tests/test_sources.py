"""Sets on disk: what is read back, and what is said of a bad one."""

import ast
import inspect
import json
import os
import pickle
import subprocess
import sys
import warnings

import h5py
import numpy as np
import pytest

from handrail.data import formats, sources
from handrail.data.episodes import Episode, Episodes
from handrail.errors import HandrailError
from handrail.types import Spec

SPEC = Spec("toy/Box", 3, 2, (-1.0, -1.0), (1.0, 1.0), 6, 5.0)
ARRAYS = ("observations", "actions", "rewards", "costs")


def _episode(steps: int, *, terminated=False, seed=None, rng=None) -> Episode:
    rng = rng or np.random.default_rng(steps)
    return Episode(
        rng.normal(size=(steps + 1, 3)).astype(np.float32),
        rng.uniform(-1, 1, (steps, 2)).astype(np.float32),
        rng.normal(size=steps).astype(np.float32),
        rng.integers(0, 2, steps).astype(np.float32),
        terminated,
        seed,
    )


@pytest.fixture
def episodes() -> Episodes:
    """Ended by the task, by the time limit, of one step, and with a seed beyond 32 bits."""
    return Episodes(
        (
            _episode(5, terminated=True, seed=0),
            _episode(6, seed=2**40 + 1),
            _episode(1, terminated=True, seed=3),
            _episode(4, seed=None),
        ),
        "toy/Box",
    )


def _same(one: Episodes, other: Episodes, *, seeds=True) -> None:
    assert len(one) == len(other)
    assert one.task == other.task
    for a, b in zip(one, other, strict=True):
        for name in ARRAYS:
            have, want = getattr(a, name), getattr(b, name)
            assert have.dtype == want.dtype == np.float32
            assert have.tobytes() == want.tobytes(), name
        assert a.terminated == b.terminated
        assert not seeds or a.seed == b.seed


def _flat(steps=7, **changes):
    """DSRL's arrays for episodes of 3 (terminated), 2 (timed out) and 2 steps (the file ends)."""
    rng = np.random.default_rng(0)
    observations = rng.normal(size=(steps, 3)).astype(np.float32)
    following = np.roll(observations, -1, axis=0)
    following[[2, 4, 6]] += 1.0
    arrays = {
        "observations": observations,
        "next_observations": following,
        "actions": rng.uniform(-1, 1, (steps, 2)).astype(np.float32),
        "rewards": rng.normal(size=steps).astype(np.float32),
        "costs": np.ones(steps, np.float32),
        "terminals": np.arange(steps) == 2,
        "timeouts": np.arange(steps) == 4,
    }
    return {k: v for k, v in {**arrays, **changes}.items() if v is not None}


def _hdf5(path, arrays):
    with h5py.File(path, "w") as file:
        for key, array in arrays.items():
            file[key] = array
    return path


# --- Round trips --------------------------------------------------------------------------------


def test_dsrl_to_minari_to_episode_files_and_back_bit_for_bit(tmp_path, episodes):
    sources.write(episodes, tmp_path / "a.hdf5")
    sources.write(sources.read(tmp_path / "a.hdf5"), tmp_path / "b", "minari")
    for number, episode in enumerate(sources.read(tmp_path / "b")):
        sources.write_episode(tmp_path / "c" / f"{number:08d}.safetensors", episode, "toy/Box")
    returned = sources.read(tmp_path / "c")
    sources.write(returned, tmp_path / "d.hdf5", "dsrl")
    for name in ("a.hdf5", "b", "c", "d.hdf5"):
        _same(sources.read(tmp_path / name), episodes, seeds=False)
    _same(returned, episodes, seeds=False)


def test_minari_and_episode_files_keep_the_seeds(tmp_path, episodes):
    sources.write(episodes, tmp_path / "minari", "minari")
    _same(sources.read(tmp_path / "minari"), episodes)
    for number, episode in enumerate(episodes):
        file = tmp_path / "episodes" / f"{number}.safetensors"
        sources.write_episode(file, episode, episodes.task)
        _same(Episodes((sources.read_episode(file),)), Episodes((episode,)))
    _same(sources.read(tmp_path / "episodes"), episodes)
    _same(sources.read(tmp_path), episodes)  # as of a run, whose log is in episodes/


def test_a_set_without_a_task_stays_without(tmp_path, episodes):
    nameless = Episodes(episodes.episodes)
    sources.write(nameless, tmp_path / "a.hdf5")
    sources.write(nameless, tmp_path / "b", "minari")
    sources.write_episode(tmp_path / "c.safetensors", nameless[0], None)
    for name in ("a.hdf5", "b", "c.safetensors"):
        assert sources.read(tmp_path / name).task is None


def test_more_than_ten_minari_episodes_keep_their_order(tmp_path):
    many = Episodes(tuple(_episode(1 + n % 3, seed=n) for n in range(12)))
    sources.write(many, tmp_path / "many", "minari")
    assert [e.seed for e in sources.read(tmp_path / "many")] == list(range(12))


# --- Others' layouts ----------------------------------------------------------------------------


def test_dsrl_written_by_hand_is_cut_where_terminals_or_timeouts_are_set(tmp_path):
    flat = _flat()
    episodes = sources.read(_hdf5(tmp_path / "SafetyToy-v0-40-3.hdf5", flat))
    assert [len(e) for e in episodes] == [3, 2, 2]
    assert [e.terminated for e in episodes] == [True, False, False]
    assert episodes.task is None
    for episode, begin, end in zip(episodes, (0, 3, 5), (3, 5, 7), strict=True):
        np.testing.assert_array_equal(episode.observations[:-1], flat["observations"][begin:end])
        np.testing.assert_array_equal(
            episode.observations[1:], flat["next_observations"][begin:end]
        )
        for name in ARRAYS[1:]:
            np.testing.assert_array_equal(getattr(episode, name), flat[name][begin:end])


def test_dsrl_of_doubles_and_flags_as_numbers_is_read(tmp_path):
    flat = {key: np.asarray(array, np.float64) for key, array in _flat().items()}
    episodes = sources.read(_hdf5(tmp_path / "a.hdf5", flat))
    assert [e.terminated for e in episodes] == [True, False, False]
    assert episodes[0].rewards.dtype == np.float32


def test_our_dsrl_has_the_layout_of_dsrl(tmp_path, episodes):
    sources.write(episodes, tmp_path / "a.hdf5")
    with h5py.File(tmp_path / "a.hdf5") as file:
        assert set(file) == set(_flat())
        for key in set(file) - {"terminals", "timeouts"}:
            assert file[key].dtype == np.float32
            assert file[key].compression == "gzip"
        assert file["terminals"][()].nonzero()[0].tolist() == [4, 11]
        assert file["timeouts"][()].nonzero()[0].tolist() == [10, 15]


def test_minari_itself_reads_what_we_write(tmp_path, episodes, monkeypatch):
    import minari

    sources.write(episodes, tmp_path / "toy-v3", "minari", SPEC)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    data = minari.load_dataset("toy-v3")
    assert data.spec.dataset_id == "toy-v3"
    assert data.action_space.high.tolist() == [1.0, 1.0]
    assert data.total_steps == episodes.steps
    for theirs, ours in zip(data.iterate_episodes(), episodes, strict=True):
        np.testing.assert_array_equal(theirs.observations, ours.observations)
        np.testing.assert_array_equal(theirs.infos["cost"], ours.costs)
        assert theirs.terminations.any() == ours.terminated
        assert theirs.truncations[-1] != ours.terminated


def test_a_name_that_minari_does_not_allow_is_mended(tmp_path, episodes):
    import minari

    sources.write(episodes, tmp_path / "my demos.1", "minari")
    data = minari.MinariDataset(tmp_path / "my demos.1" / "data")
    assert data.spec.dataset_id == "my-demos-1-v0"


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # Minari leaves a temporary directory open
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_minari_set_of_a_data_collector_is_read(tmp_path, monkeypatch):
    """Collected by Minari's own wrapper, which keeps the infos of the reset too."""
    import gymnasium
    import minari

    class Counter(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(-9, 9, (1,), np.float32)
        action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)

        def reset(self, *, seed=None, options=None):
            self.t = 0
            return np.zeros(1, np.float32), {"cost": -1.0}

        def step(self, action):
            self.t += 1
            observation = np.full(1, self.t, np.float32)
            return observation, float(self.t), self.t == 3, False, {"cost": 10.0 * self.t}

    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the metadata that this test does not give
        collector = minari.DataCollector(Counter(), record_infos=True)
        for seed in (4, 5):
            collector.reset(seed=seed)
            while not collector.step(np.float32([0.5]))[2]:
                pass
        collector.create_dataset("counter-v0")
        collector.close()
    episodes = sources.read(tmp_path / "counter-v0")
    assert [e.seed for e in episodes] == [4, 5]
    for episode in episodes:
        assert episode.observations.ravel().tolist() == [0, 1, 2, 3]
        assert episode.costs.tolist() == [10, 20, 30]
        assert episode.terminated


# --- Bad input: one line that names the fault, the place and the remedy --------------------------


def _fails(path, *words):
    with pytest.raises(HandrailError) as caught:
        sources.read(path)
    line = str(caught.value)
    assert "\n" not in line
    assert str(path) in line
    for word in words:
        assert word in line, line
    if "more: " not in line:  # inspect says the same, and does not raise
        assert sources.inspect(path)["problems"][0] in line
    return line


def test_missing_file(tmp_path):
    _fails(tmp_path / "no.hdf5", "no such file", "handrail demos")


def test_not_hdf5_and_empty(tmp_path):
    for content in (b"", b"step,reward\n0,1\n"):
        (tmp_path / "a.hdf5").write_bytes(content)
        _fails(tmp_path / "a.hdf5", "is not an HDF5 file", "DSRL")


@pytest.mark.parametrize("share", [0.01, 0.5, 0.95])
def test_truncated_hdf5(tmp_path, episodes, share):
    sources.write(episodes, tmp_path / "a.hdf5")
    whole = (tmp_path / "a.hdf5").read_bytes()
    (tmp_path / "a.hdf5").write_bytes(whole[: max(8, int(len(whole) * share))])
    _fails(tmp_path / "a.hdf5", "cannot be read", "damaged, cut short")


class _Bomb:
    def __reduce__(self):
        return pytest.fail, ("unpickled",)


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_a_pickle_is_never_loaded(tmp_path, protocol):
    path = tmp_path / ("a.pkl" if protocol == 0 else "a.hdf5")  # protocol 0 is plain text
    path.write_bytes(pickle.dumps(_Bomb(), protocol))
    _fails(path, "is a pickle", "never read", "h5py")


def test_npz_and_npy_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", observations=np.zeros(3))
    _fails(tmp_path / "a.npz", "npz", "h5py")
    np.save(tmp_path / "a.npy", np.zeros(3))
    _fails(tmp_path / "a.npy", "npy", "h5py")


def test_missing_keys_are_all_named(tmp_path):
    path = _hdf5(tmp_path / "a.hdf5", _flat(costs=None, timeouts=None))
    _fails(path, "has no costs, timeouts", "it has actions, ")


def test_unequal_lengths_are_named(tmp_path):
    path = _hdf5(tmp_path / "a.hdf5", _flat(rewards=np.zeros(6), costs=np.zeros(8)))
    _fails(path, "lengths disagree", "7 observations", "6 rewards", "8 costs")


def test_wrong_dimensions_and_kinds_are_named(tmp_path):
    bad = _flat(rewards=np.zeros((7, 1)), actions=np.zeros(7), costs=np.array([b"x"] * 7))
    path = _hdf5(tmp_path / "a.hdf5", bad)
    _fails(path, "actions of the file have shape (7,), not (T, size)", "2 more", "data check")
    problems = sources.inspect(path)["problems"]
    assert [p.split(" of ")[0] for p in problems] == ["actions", "rewards", "costs"]
    assert "(7, 1), not (T,)" in problems[1]
    assert "not numbers" in problems[2]


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_not_finite_says_array_step_and_episode(tmp_path, value):
    rewards = np.zeros(7)
    rewards[4] = value
    path = _hdf5(tmp_path / "a.hdf5", _flat(rewards=rewards))
    _fails(path, "rewards of episode 1 are not finite at step 1", "mend")


def test_a_final_observation_that_is_not_finite_is_found(tmp_path):
    flat = _flat()
    flat["next_observations"][6] = np.nan
    _fails(_hdf5(tmp_path / "a.hdf5", flat), "observations of episode 2 are not finite at step 2")


def test_an_episode_end_that_no_flag_marks_is_found(tmp_path):
    path = _hdf5(tmp_path / "a.hdf5", _flat(timeouts=np.zeros(7, bool)))
    _fails(path, "next_observations of episode 1", "at step 1;", "set timeouts")


def test_empty_sets(tmp_path):
    path = _hdf5(tmp_path / "a.hdf5", {key: array[:0] for key, array in _flat().items()})
    _fails(path, "holds no episode", "handrail demos")
    (tmp_path / "b").mkdir()
    _fails(tmp_path / "b", "neither a Minari data set", "handrail demos")


@pytest.fixture
def minari_set(tmp_path, episodes):
    sources.write(episodes, tmp_path / "m", "minari")
    return tmp_path / "m"


def test_a_minari_set_without_costs(minari_set):
    with h5py.File(minari_set / "data" / "main_data.hdf5", "a") as file:
        del file["episode_2/infos/cost"]
    _fails(minari_set, "episode 2 has no array infos/cost", 'infos["cost"]')


def test_a_minari_set_of_unequal_lengths(minari_set):
    with h5py.File(minari_set / "data" / "main_data.hdf5", "a") as file:
        del file["episode_1/observations"]
        file["episode_1/observations"] = np.zeros((6, 3), np.float32)
    _fails(minari_set, "lengths disagree in episode 1", "6 observations, 6 actions", "T + 1")


def test_a_damaged_minari_set(minari_set):
    _fails(minari_set / "data" / "main_data.hdf5", "inside of a Minari data set")
    os.truncate(minari_set / "data" / "main_data.hdf5", 3000)
    _fails(minari_set, "cannot be read")
    os.remove(minari_set / "data" / "main_data.hdf5")
    _fails(minari_set, "cannot be read", "No such file")
    (minari_set / "data" / "metadata.json").write_text("{")
    with pytest.raises(HandrailError, match="is damaged"):
        sources.read(minari_set)
    (minari_set / "data" / "metadata.json").write_text(json.dumps({"data_format": "arrow"}))
    _fails(minari_set, "stored as arrow", "hdf5")


def test_bad_episode_files(tmp_path, episodes):
    for number, episode in enumerate(episodes):
        sources.write_episode(tmp_path / f"{number}.safetensors", episode, episodes.task)
    sources.write_episode(tmp_path / "4.safetensors", episodes[0], "toy/Other")
    os.truncate(tmp_path / "1.safetensors", 100)
    (tmp_path / "3.safetensors").write_bytes(b"")
    _fails(tmp_path, "1.safetensors is damaged", "2 more")
    problems = sources.inspect(tmp_path)["problems"]
    assert problems[1].startswith("3.safetensors is damaged")
    assert "several tasks in one set: ['toy/Box', 'toy/Other']" in problems[2]
    assert sources.inspect(tmp_path)["summary"]["episodes"] == 3


def test_an_episode_file_of_something_else(tmp_path):
    from safetensors.numpy import save_file

    save_file({"weight": np.zeros(3)}, tmp_path / "a.safetensors")
    _fails(tmp_path, "a.safetensors has no observations, actions, rewards, costs")


# --- inspect ------------------------------------------------------------------------------------


def test_inspect_reports_every_problem_and_where(tmp_path):
    flat = _flat()
    flat["rewards"][[1, 2]] = np.nan
    flat["costs"][5] = np.inf
    flat["actions"][3] = np.nan
    flat["costs"][4] = -1
    report = sources.inspect(_hdf5(tmp_path / "a.hdf5", flat))
    assert [p.split(";")[0] for p in report["problems"]] == [
        "rewards of episode 0 are not finite at step 1 (2 in all)",
        "actions of episode 1 are not finite at step 0 (2 in all)",
        "costs of episode 1 are negative at step 1",
        "costs of episode 2 are not finite at step 0",
    ]
    assert report["summary"] == {"format": "dsrl", "task": None, "episodes": 0, "steps": 0}


def test_inspect_summarises_a_sound_set(tmp_path, episodes):
    sources.write(episodes, tmp_path / "a.hdf5")
    report = sources.inspect(tmp_path / "a.hdf5", SPEC)
    returns, costs = [e.return_ for e in episodes], [e.cost for e in episodes]
    assert report["problems"] == []
    assert report["summary"] == {
        "format": "dsrl",
        "task": "toy/Box",
        "episodes": 4,
        "steps": 16,
        "return": {"mean": np.mean(returns), "min": min(returns), "max": max(returns)},
        "cost": {"mean": np.mean(costs), "min": min(costs), "max": max(costs)},
        "length": {"mean": 4.0, "min": 1, "max": 6},
        "terminated": 2,
        "truncated": 2,
        "observation_size": 3,
        "action_size": 2,
    }
    json.dumps(report)


def test_costs_below_zero_are_refused(tmp_path):
    flat = _flat()
    flat["costs"][4] = -1
    line = "costs of episode 1 are negative at step 1; mend them"
    _fails(_hdf5(tmp_path / "a.hdf5", flat), line)
    assert sources.inspect(tmp_path / "a.hdf5")["problems"] == [line]


def test_minari_is_written_to_a_relative_path(tmp_path, monkeypatch, episodes):
    monkeypatch.chdir(tmp_path)
    sources.write(episodes, "set", "minari")
    _same(sources.read("set"), episodes)


@pytest.mark.parametrize(("named", "task"), [(["a", "b"], None), ("", None), ("toy/A", "toy/A")])
def test_only_a_name_is_a_task(tmp_path, episodes, named, task):
    sources.write(episodes, tmp_path / "set", "minari")
    sources.write(episodes, tmp_path / "set.hdf5")
    file = tmp_path / "set" / "data" / "metadata.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"task": named}))
    with h5py.File(tmp_path / "set.hdf5", "r+") as dsrl:
        dsrl.attrs["task"] = named
    assert sources.read(tmp_path / "set").task == task
    assert sources.read(tmp_path / "set.hdf5").task == task


def test_a_minari_part_that_was_not_copied_is_named(tmp_path, episodes):
    sources.write(episodes, tmp_path / "set", "minari")
    with h5py.File(tmp_path / "set" / "data" / "main_data.hdf5", "r+") as file:
        del file["episode_1"]
        file["episode_1"] = h5py.ExternalLink("part.hdf5", "/episode_1")
    with pytest.raises(HandrailError, match="episode 1 lies in a file that is not there; copy the"):
        sources.read(tmp_path / "set")


def test_bytes_that_changed_give_no_traceback(tmp_path, episodes):
    sources.write(episodes, tmp_path / "set.hdf5")
    whole, rng = (tmp_path / "set.hdf5").read_bytes(), np.random.default_rng(0)
    lines = []
    for _ in range(60):
        data = bytearray(whole)
        for at in rng.integers(8, len(data), 64):
            data[at] = rng.integers(256)
        (tmp_path / "damaged.hdf5").write_bytes(data)
        try:
            sources.read(tmp_path / "damaged.hdf5")
        except HandrailError as error:
            lines.append(str(error))
    assert len(lines) > 5
    assert all(len(line.splitlines()) == 1 for line in lines)


@pytest.mark.parametrize("damage", ["beside", "seed", "scalar"])
def test_a_minari_file_that_was_meddled_with_gives_no_traceback(damage, tmp_path, episodes):
    sources.write(episodes, tmp_path / "set", "minari")
    with h5py.File(tmp_path / "set" / "data" / "main_data.hdf5", "r+") as file:
        if damage == "beside":
            file["more"] = np.zeros(3)
        elif damage == "seed":
            file["episode_0"].attrs["seed"] = "abc"
        else:
            del file["episode_0"]["terminations"]
            file["episode_0"]["terminations"] = True
    problems = sources.inspect(tmp_path / "set")["problems"]
    assert problems == (["more is no episode; remove it"] if damage == "beside" else [])


def test_inspect_holds_a_set_against_a_task(tmp_path, episodes):
    flat = _flat()
    flat["actions"][3, 1] = 1.5
    path = _hdf5(tmp_path / "a.hdf5", flat)
    short = Spec("toy/Short", 3, 2, (-1.0, -1.0), (1.0, 1.0), 2, 5.0)
    assert sources.inspect(path, short)["problems"] == [
        "episode 0 has 3 steps, toy/Short ends after 2",
        "actions of episode 1 leave the box of toy/Short at step 0",
    ]
    sources.write(episodes, tmp_path / "b.hdf5")
    other = Spec("toy/Other", 4, 1, (-1.0,), (1.0,), 6, 5.0)
    problems = sources.inspect(tmp_path / "b.hdf5", other)["problems"]
    assert problems[:3] == [
        "the set is of toy/Box, not of toy/Other",
        "observations of episode 0 have 3 values, toy/Other has 4",
        "actions of episode 0 have 2 values, toy/Other has 1",
    ]
    assert len(problems) == 1 + 2 * 4


def test_sizes_that_differ_within_a_set(tmp_path, episodes):
    wide = Episode(
        np.zeros((2, 5), np.float32), np.zeros((1, 2), np.float32), *np.zeros((2, 1), np.float32),
        terminated=False,
    )  # fmt: skip
    for name, episode in (("0", episodes[0]), ("1", wide)):
        sources.write_episode(tmp_path / f"{name}.safetensors", episode, None)
    _fails(tmp_path, "(observation, action) sizes in one set: [(3, 2), (5, 2)]")


# --- Writing ------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["dsrl", "minari"])
def test_nothing_that_exists_is_overwritten(tmp_path, episodes, format):
    path = tmp_path / "a"
    path.write_text("precious")
    with pytest.raises(HandrailError, match="exists already; remove it or write elsewhere"):
        sources.write(episodes, path, format)
    assert path.read_text() == "precious"
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("format", ["dsrl", "minari"])
def test_a_write_that_fails_leaves_nothing(tmp_path, episodes, format, monkeypatch):
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "disk full")))
    with pytest.raises(HandrailError, match=r"a: cannot be written \(disk full\)"):
        sources.write(episodes, tmp_path / "a", format)
    assert os.listdir(tmp_path) == []


def test_a_full_disk_while_a_set_is_written_is_a_line(tmp_path, episodes):
    """h5py takes Python down with it where it meets one, so a process of its own has to survive."""
    code = (
        "import resource, signal, sys; from handrail.data import sources\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "whole = sources.read(sys.argv[1])\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))\n"  # as if there were no room
        "sources.write(whole, sys.argv[2])\n"
    )
    sources.write(episodes, tmp_path / "a.hdf5")
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "a.hdf5", tmp_path / "b.hdf5"],
        check=False, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.endswith("b.hdf5: cannot be written (File too large); write elsewhere\n")
    assert os.listdir(tmp_path) == ["a.hdf5"]


def test_an_unknown_format_is_an_error(tmp_path, episodes):
    with pytest.raises(HandrailError, match="unknown format 'csv'; give one of dsrl, minari"):
        sources.write(episodes, tmp_path / "a", "csv")


def test_an_episode_file_is_replaced_whole(tmp_path, episodes):
    file = tmp_path / "0.safetensors"
    sources.write_episode(file, episodes[0], None)
    sources.write_episode(file, episodes[1], None)
    _same(Episodes((sources.read_episode(file),)), Episodes((episodes[1],)))
    assert os.listdir(tmp_path) == ["0.safetensors"]


def test_views_of_other_arrays_are_written_as_they_are_seen(tmp_path):
    base = np.arange(36, dtype=np.float32).reshape(6, 6)
    episode = Episode(base[:, ::2], base[1:, 1:3].copy(order="F"), base[1:, 0], base[0, 1:], False)
    sources.write_episode(tmp_path / "0.safetensors", episode, None)
    _same(Episodes((sources.read_episode(tmp_path / "0.safetensors"),)), Episodes((episode,)))


@pytest.mark.parametrize("module", [sources, formats])
def test_import_is_light(module):
    """`handrail --help` must not wait for h5py or Minari: they are imported where they are used."""
    tree = ast.parse(inspect.getsource(module))
    names = {a.name for node in tree.body if isinstance(node, ast.Import) for a in node.names}
    names |= {str(node.module) for node in tree.body if isinstance(node, ast.ImportFrom)}
    assert not {name.split(".")[0] for name in names} & {"h5py", "minari", "gymnasium", "jax"}
