"""The command line as a user types it: what it says, its exit codes, and one line for a mistake."""

from __future__ import annotations

import csv
import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import h5py
import jax
import numpy as np
import pytest
import toy

from handrail import cli, envs
from handrail.data import sources
from handrail.data.episodes import Episodes
from handrail.jobs import METHODS, method_of
from handrail.metrics_file import read_metrics
from handrail.networks import Actor
from handrail.policies import MLPPolicy
from handrail.policy_files import save_policy
from handrail.results import COLUMNS, CURVE_COLUMNS
from handrail.runs import Run

LOOP = [*("--steps", 240, "--environments", 3, "--block", 24, "--batch", 8, "--start", 50)]
LOOP += [*("--evaluate-every", 120, "--evaluate-episodes", 2)]


@pytest.fixture
def handrail(capfd):
    """``(exit code, standard output, standard error)`` of a command line."""

    def call(*arguments: object) -> tuple[int, str, str]:
        capfd.readouterr()
        code = cli.main([str(argument) for argument in arguments])
        return (code, *capfd.readouterr())

    return call


@pytest.fixture
def mistake(handrail):
    """The line of a mistake: exit code 2, one line on standard error, nothing else."""

    def call(*arguments: object) -> str:
        code, out, errors = handrail(*arguments)
        assert code == 2, errors
        assert out == ""
        assert errors.startswith("handrail: ")
        assert errors.endswith("\n")
        assert len(errors.splitlines()) == 1, errors
        return errors.removeprefix("handrail: ").rstrip("\n")

    return call


@pytest.fixture(scope="module")
def demos(tmp_path_factory) -> Path:
    return toy.demonstration_file(tmp_path_factory.mktemp("demos") / "toy.hdf5", episodes=6)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, demos) -> dict[str, Path]:
    """A run of each method, of a few updates."""
    base = tmp_path_factory.mktemp("runs")
    bc = ["--hidden", 8, "--updates", 60, "--batch", 8]
    dt = ["--embed", 8, "--layers", 1, "--context", 3, "--updates", 60, "--batch", 4]
    inside = [f"--dt.{option[2:]}" if str(option)[:2] == "--" else option for option in dt]
    commands = {
        "bc": ["train", "bc", toy.TOY, "--demos", demos, *bc],
        "dt": ["train", "dt", toy.TOY, "--demos", demos, *dt],
        "iql": ["train", "iql", toy.TOY, "--warmup", 48, "--hidden", 8, *LOOP],
        "gold": [
            *("train", "gold", toy.TOY, "--demos", demos, "--cost-limit", 3.5),
            *("--stages", 2, "--window", 2, "--pretrain", 20, "--iql.hidden", 8, *inside, *LOOP),
        ],
        "cvpo": [
            *("train", "cvpo", toy.TOY, "--preset", "official", "--warmup", 48, "--hidden", 8),
            *("--actions", 4, "--updates-per-step", 0.5, "--buffer", 900, *LOOP),
        ],
        "expert": ["expert", toy.TOY, "--start-return", -99, "--hidden", 8, *LOOP],
    }
    for name, command in commands.items():
        arguments = [*map(str, command), "--out", str(base / name)]
        assert cli.main(arguments) == 0, arguments
    return {name: base / name for name in commands}


def test_a_preset_gives_the_defaults_and_what_is_typed_overrides_it(trained):
    settings = Run.open(trained["cvpo"]).settings
    assert settings["cvpo"]["actor_rate"] == 2e-3  # the preset's
    assert settings["cvpo"]["actions"] == 4
    assert settings["online"]["batch"] == 8
    assert "preset" not in settings


# -- help ----------------------------------------------------------------------------------------


def test_help_answers_without_the_heavy_imports():
    asked = "import sys; from handrail.cli import main; assert main(['--help']) == 0; "
    found = "print([m for m in ('jax', 'numpy', 'tyro', 'gymnasium') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", asked + found], capture_output=True, text=True)
    assert out.stderr == ""
    *help_, imported = out.stdout.splitlines()
    assert imported == "[]"
    assert help_[0] == "usage: handrail COMMAND ..."
    assert all(any(line.startswith(f"  {name} ") for line in help_) for name in cli.COMMANDS)


TYPED = [name for name in cli.COMMANDS if name not in ("train", "data")]
TYPED += [f"train {name}" for name in METHODS if name != "expert"]
TYPED += ["data check", "data convert", "data download"]


@pytest.mark.parametrize("command", TYPED)
def test_every_command_speaks_to_machines(command, capsys):
    with pytest.raises(SystemExit):
        cli.main([*command.split(), "--help"])
    assert "--json" in capsys.readouterr().out


def test_a_preset_is_named_where_there_is_one(capsys):
    for method, named in (("cvpo", True), ("iql", False)):
        with pytest.raises(SystemExit):
            cli.main(["train", method, "--help"])
        assert ("`--preset NAME`" in capsys.readouterr().out) == named


@pytest.mark.parametrize("command", ["train gold", "table", "data check", "dataset"])
def test_help_fits_the_terminal(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "70")
    with pytest.raises(SystemExit):
        cli.main([*command.split(), "--help"])
    rows = capsys.readouterr().out.splitlines()
    assert rows[0].startswith(f"usage: handrail {command} ")
    assert max(map(len, rows)) <= 70


@pytest.mark.parametrize("command", ["train handrail", "dataset"])
def test_help_is_not_broken_where_the_source_is(command, capsys, monkeypatch):
    """Settings of a class, arguments of a function: a row ends where the next word has no room."""
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        cli.main([*command.split(), "--help"])
    rows = [row[1:].rstrip("│ ") for row in capsys.readouterr().out.splitlines()]
    wrapped = [
        (row, after)
        for row, after in itertools.pairwise(rows)
        if row.startswith(" " * 15) and after.startswith(" " * 15)
    ]
    width = max(len(row) for pair in wrapped for row in pair)
    assert len(wrapped) >= 3
    for row, after in wrapped:
        assert len(row) + 1 + len(after.split()[0]) > width, (row, after)
    assert not any("``" in row for row in rows)


def test_the_entry_point_is_installed():
    process = toy.handrail("--version")
    out, errors = process.communicate()
    assert (process.returncode, errors) == (0, "")
    assert out.startswith("handrail 0.")


@pytest.mark.parametrize(
    "command", [*cli.COMMANDS, "train bc", "train gold", "data check", "data convert"]
)
def test_each_command_explains_itself(command, capsys):
    try:
        code = cli.main([*command.split(), "--help"])
    except SystemExit as end:  # tyro's own
        code = end.code
    out, errors = capsys.readouterr()
    assert (code or 0, errors) == (0, "")
    assert f"handrail {command}" in out
    assert " STR" not in out.split("options")[0]  # names of what is wanted, not of types


def test_a_closed_pipe_is_no_fault():
    process = toy.handrail("--help")
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()  # long before anything is printed
    with process.stderr as errors:
        assert errors.read() == ""
    assert process.wait() == 0


# -- what is typed wrongly -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("trian iql x", "unknown command 'trian'; did you mean 'train'? `handrail --help`"),
        (
            "train ilq x",
            "unknown method 'ilq'; did you mean 'iql'? there are: bc, dt, iql, cvpo, gold",
        ),
        ("train iql", "Missing from handrail train iql: TASK suite/Name"),
        ("train cvpo x --preset fast", "cvpo has no preset 'fast'; there is: official, gold"),
        ("train cvpo x --preset", "cvpo has no preset ''"),
        ("train cvpo x --preset=fast", "cvpo has no preset 'fast'"),
        ("train cvpo --preset=official", "Missing from handrail train cvpo: TASK"),
        ("train iql x --preset gold", "iql has no preset 'gold'; there is: none"),
        ("train cvpo --preset official", "Missing from handrail train cvpo: TASK"),
        ("train iql x --stepz 3", "Unrecognized options: --stepz, 3; did you mean --steps?"),
        (
            "train iql x --seed foo",
            "--seed is 'foo', which is not a whole number; `handrail train iql --help`",
        ),
        ("train iql x --cost-limit foo", "--cost-limit is 'foo', which is not a number;"),
        ("evaluate x --episodes 1.5", "--episodes is '1.5', which is not a whole number;"),
        ("train gold x --schedule foo", "invalid choice 'foo' for argument '--schedule'"),
        ("train iql x --steps", "--steps"),
        ("train iql gym/No-v0", "gym/No-v0: Gymnasium cannot make it"),
        ("train iql bullet/CarCircel", "unknown task 'bullet/CarCircel'; did you mean 'bullet/C"),
        ("train iql nosuite/X", "unknown task 'nosuite/X'"),
        (f"train iql {toy.TOY} --cost-limit -1", "the cost limit is -1; it must be 0 or more"),
        (f"train iql {toy.TOY} --cost-limit inf", "the cost limit is inf; it must be 0 or more"),
        (f"train bc {toy.TOY}", "no expert is shipped for gym/toy:Toy-v0"),
        (f"train bc {toy.TOY} --demos nowhere", "nowhere: no such file or directory"),
        (
            f"train gold {toy.TOY} --guide gpt --demonstration-share 0 --pretrain 0",
            "neither dt nor bc",
        ),
        (f"demos {toy.TOY} --out x.hdf5", "no expert is shipped for gym/toy:Toy-v0"),
        ("resume nowhere", "there is no directory nowhere"),
        ("evaluate nowhere", "nowhere: there is no such run, policy or data set"),
        ("evaluate nowhere --cost-limit nan", "the cost limit is nan"),
        ("results nowhere.csv --out page.md", "nowhere.csv: no such file; `handrail table`"),
        ("figures nowhere --out figures", "there is no directory nowhere"),
        ("figures --out figures", "there is no run to draw"),
        ("train iql x --demos y --episodes 5", "Unrecognized options: --episodes, 5"),
        (f"train bc {toy.TOY} --demos y --episodes 5", "--episodes changes nothing with the other"),
        (f"train iql {toy.TOY} --pretrain 9", "--pretrain changes nothing with the other settings"),
        (f"train iql {toy.TOY} --pid.kp 3", "--pid.kp changes nothing"),
        (f"train gold {toy.TOY} --guide bc --dt.updates 3", "--dt.updates changes nothing"),
        (
            f"train iql {toy.TOY} --extraction awr --bc-weight 3",
            "--bc-weight changes nothing with the other settings as they are; leave it out "
            "(`handrail train iql --help` says what reads it)",
        ),
        (
            f"train marvel {toy.TOY} --backbone cvpo --multiplier pid",
            "--multiplier changes nothing with the other settings",
        ),
        ("data", "usage: handrail data check PATH"),
        ("data chekc x", "usage: handrail data check PATH"),
        ("data convert nowhere --out y", "nowhere: no such file or directory"),
    ],
)
def test_a_mistake_is_one_line(typed, line, mistake, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert line in mistake(*typed.split())
    assert list(tmp_path.iterdir()) == []


def test_what_is_switched_off_contradicts_nothing(mistake, tmp_path, monkeypatch):
    """The mistake that is told is another one, which comes later."""
    monkeypatch.chdir(tmp_path)
    off = "--backbone", "cvpo", "--multiplier", "fixed", "--cost-weight", 0
    assert mistake("train", "marvel", toy.TOY, *off, "--demos", "nowhere").startswith("nowhere:")


def changed(demos: Path, path: Path, **arrays) -> Path:
    """The set with other arrays, or without those that are None."""
    with h5py.File(demos) as old, h5py.File(path, "w") as new:
        for key in old:
            if arrays.get(key, old) is not None:
                new[key] = arrays.get(key, old[key][()])  # type: ignore[index]
    return path


def damages(demos: Path, base: Path) -> dict[str, tuple[Path, str]]:
    with h5py.File(demos) as file:
        arrays = {key: file[key][()] for key in file}  # type: ignore[index]
    far, nan = arrays["actions"].copy(), arrays["rewards"].copy()
    far[5], nan[7] = 2.5, np.nan
    wide = {
        key: np.concatenate([arrays[key], arrays[key][:, :1]], axis=1)
        for key in ("observations", "next_observations")
    }
    cut = base / "cut.hdf5"
    cut.write_bytes(demos.read_bytes()[:3000])
    (base / "none.hdf5").touch()
    (base / "set").mkdir()
    empty = {key: array[:0] for key, array in arrays.items()}
    return {
        "observations": (
            changed(demos, base / "a", **wide),
            "observations of the demonstrations have 4 values, gym/toy:Toy-v0 has 3",
        ),
        "nan": (
            changed(demos, base / "b", rewards=nan),
            "rewards of episode 0 are not finite at step 7",
        ),
        "cut": (cut, "cannot be read"),
        "nothing": (base / "none.hdf5", "is not an HDF5 file"),
        "folder": (base / "set", "holds neither"),
        "empty": (changed(demos, base / "c", **empty), "holds no episode"),
        "keys": (changed(demos, base / "d", costs=None, timeouts=None), "has no costs, timeouts"),
        "box": (
            changed(demos, base / "e", actions=far),
            "action 0 is 2.5 at step 5 of episode 0, outside [-2, 2] of gym/toy:Toy-v0",
        ),
    }


def test_demonstrations_that_are_not_sound_are_told_where(mistake, demos, tmp_path):
    for path, line in damages(demos, tmp_path).values():
        assert line in mistake("train", "bc", toy.TOY, "--demos", path, "--out", tmp_path / "run")
        assert not (tmp_path / "run").exists()


def test_demonstrations_of_another_task_are_refused(mistake, demos, tmp_path):
    for method in ("bc", "dt", "iql", "gold"):
        line = mistake("train", method, toy.ENDS, "--demos", demos, "--out", tmp_path / "run")
        assert f"these are demonstrations of {toy.TOY}, not of {toy.ENDS}" in line


# -- training ------------------------------------------------------------------------------------


def test_a_run_has_all_that_is_promised(trained):
    for name, path in trained.items():
        have = {file.name.split(".out")[0] for file in path.iterdir()}
        want = {"settings.toml", "metrics.csv", "events", "checkpoint", "policy", "summary.json"}
        if name in ("iql", "cvpo", "gold", "expert"):
            want |= {"episodes", "learning_curves.png", "reward_cost_plane.png"}
        assert have - want == ({"guide"} if name == "gold" else set())
        assert want <= have
        summary = json.loads((path / "summary.json").read_text())
        assert summary["env_steps"] == (240 if "episodes" in want else 0)
        assert summary["validation"]["cost_limit"] == (3.5 if name == "gold" else 25)


@pytest.mark.parametrize("largest", [0.5, 40])
def test_a_run_that_ends_beyond_its_limit_says_so(handrail, tmp_path, largest):
    """And what held its multiplier back: that is the one thing that its user can change."""
    demos = tmp_path / "costly.hdf5"
    sources.write(toy.demonstrations(goal=1.5), demos)
    code, _, errors = handrail(
        *("train", "iql", toy.TOY, "--demos", demos, "--out", tmp_path / "run", "--hidden", 8),
        *("--cost-limit", 0, "--multiplier", "pid", "--cost-weight", 0, "--pid.largest", largest),
        *("--pretrain", 100, *LOOP),
    )
    assert code == 0, errors
    assert "validation episodes, beyond the limit of 0; `handrail evaluate" in errors
    assert ("stood at its bound of 0.5 in the end" in errors) == (largest == 0.5)


def test_a_run_sums_itself_up_for_machines(trained, demos, handrail, tmp_path):
    path = tmp_path / "run"
    short = ["--hidden", 8, "--updates", 5, "--batch", 8]
    code, out, errors = handrail(
        "train", "bc", toy.TOY, "--json", "--demos", demos, "--out", path, *short
    )
    assert code == 0, errors
    (line,) = out.splitlines()
    assert json.loads(line) == {
        "run": str(path), **json.loads((path / "summary.json").read_text())
    }  # fmt: skip
    assert handrail("resume", path, "--json")[:2] == (0, out)
    assert handrail("resume", path)[:2] == (0, "")


def test_a_run_is_never_overwritten(trained, mistake):
    line = mistake("train", "iql", toy.TOY, "--out", trained["iql"])
    assert line.endswith(f"choose another --out or `handrail resume {trained['iql']}`")


def test_a_demo_goes_on_only_as_it_was_begun(trained, mistake, tmp_path):
    subprocess.run(["cp", "-r", str(trained["iql"]), str(tmp_path / "gold")], check=True)
    line = mistake("demo", "--out", tmp_path)
    assert f"{tmp_path / 'gold'} was begun with another method; say what" in line
    assert "steps is 0" in mistake("demo", "--out", tmp_path / "new", "--steps", 0)
    assert not (tmp_path / "new").exists()


def test_a_run_goes_on_from_another_directory(handrail, monkeypatch, tmp_path):
    """With the data that it was begun with, named by a path relative to where that was."""
    begun, elsewhere = tmp_path / "begun", tmp_path / "elsewhere"
    begun.mkdir()
    elsewhere.mkdir()
    toy.demonstration_file(begun / "toy.hdf5", episodes=6)
    monkeypatch.chdir(begun)
    short = ["--hidden", 8, "--updates", 5, "--batch", 8]
    name = ["train", "bc", toy.TOY, "--demos", "toy.hdf5", *short]
    assert handrail(*name, "--out", "whole")[0] == 0
    assert handrail(*name, "--out", "cut")[0] == 0
    assert method_of(Run.open(Path("cut"))).settings()["demos"] == Path("toy.hdf5")
    (begun / "cut" / "summary.json").unlink()
    shutil.rmtree(begun / "cut" / "checkpoint")
    monkeypatch.chdir(elsewhere)
    toy.demonstration_file(elsewhere / "toy.hdf5", episodes=5)  # of the same name, and not meant
    code, _, errors = handrail("resume", begun / "cut")
    assert code == 0, errors
    whole, cut = (
        json.loads((begun / run / "summary.json").read_text()) for run in ("whole", "cut")
    )
    assert whole["validation"] == cut["validation"]
    (begun / "toy.hdf5").unlink()
    (elsewhere / "toy.hdf5").unlink()
    (begun / "cut" / "summary.json").unlink()
    code, _, errors = handrail("resume", begun / "cut")
    assert code == 2
    assert "toy.hdf5" in errors


def test_what_a_simulator_prints_is_no_part_of_the_answer(trained, handrail, monkeypatch):
    reset = toy.Toy.reset

    def talks(self: toy.Toy, **given: Any):
        print("loading urdf")
        os.write(1, b"loading meshes\n")  # as a C library does
        return reset(self, **given)

    monkeypatch.setattr(toy.Toy, "reset", talks)
    code, out, errors = handrail("evaluate", trained["bc"], "--episodes", 2, "--json")
    assert code == 0
    assert json.loads(out)["episodes"] == 2
    assert errors.count("loading urdf") == errors.count("loading meshes") > 0
    assert "loading urdf" in handrail("evaluate", trained["bc"], "--episodes", 2)[1]


def test_a_complete_run_has_nothing_to_resume(trained, handrail):
    before = {file: file.read_bytes() for file in trained["bc"].rglob("*") if file.is_file()}
    code, out, errors = handrail("resume", trained["bc"])
    assert (code, out) == (0, "")
    assert "is complete; `handrail evaluate" in errors
    after = {file: file.read_bytes() for file in trained["bc"].rglob("*") if file.is_file()}
    assert after == before


@pytest.fixture
def half(trained, tmp_path) -> Path:
    """A run with a checkpoint and no summary."""
    path = tmp_path / "half"
    subprocess.run(["cp", "-r", str(trained["iql"]), str(path)], check=True)
    (path / "summary.json").unlink()
    return path


def test_a_run_whose_last_moments_are_missing_is_completed(half, trained, handrail):
    assert handrail("resume", half)[0] == 0
    found = [json.loads((p / "summary.json").read_text()) for p in (half, trained["iql"])]
    assert found[0]["validation"] == found[1]["validation"]


def test_what_cannot_be_written_is_told_before_anything_is_played(
    trained, mistake, demos, tmp_path
):
    below = tmp_path / "file" / "x.csv"
    below.parent.touch()
    line = mistake("evaluate", trained["bc"], "--append", below)  # shows no table either
    assert line.startswith(f"{below}: cannot be written (")
    below = below.with_suffix(".hdf5")
    assert "cannot be written" in mistake(
        "demos", toy.TOY, "--policy", trained["bc"], "--out", below
    )
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    status = ("table", "gold", "--status", "--results", tmp_path / "binary.csv")
    assert "is no CSV file" in mistake(*status)


def test_a_run_of_another_version_is_not_resumed(trained, handrail, tmp_path):
    run = tmp_path / "run"
    subprocess.run(["cp", "-r", str(trained["gold"]), str(run)], check=True)
    (run / "summary.json").unlink()
    index = run / "checkpoint" / "latest.json"
    record = json.loads(index.read_text())
    record["progress"]["behaviour"]["schedule"] = {"stage": 0}
    index.write_text(json.dumps(record))
    code, _, errors = handrail("resume", run)
    assert code == 2
    assert "is a run of another version, whose guidance" in errors.splitlines()[-1]


def test_a_run_in_training_is_not_resumed_beside_it(half, mistake):
    holds = "import sys; from handrail.runs import Run; run = Run.open(sys.argv[1])\n"
    holds += "with run.alone(): print(flush=True); sys.stdin.read()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", holds, str(half)], **pipes) as other:
        other.stdout.readline()
        before = {file: file.read_bytes() for file in half.rglob("*") if file.is_file()}
        assert mistake("resume", half).endswith(
            f"another process is training {half}; wait for it, or stop it first"
        )
        assert before == {file: file.read_bytes() for file in half.rglob("*") if file.is_file()}
        other.kill()  # which releases it
    assert cli.main(["resume", str(half)]) == 0


def test_what_is_no_run_is_not_resumed(mistake, half, tmp_path):
    assert mistake("resume", tmp_path).endswith("is not a run: it has no settings.toml")
    file = half / "settings.toml"
    file.write_text(file.read_text().replace("format = 1", "format = 2"))
    assert "has format 2, this handrail reads 1" in mistake("resume", half)
    file.write_text("task = ")
    assert "settings.toml cannot be read" in mistake("resume", half)


def _edit(index, **values):
    index.write_text(json.dumps({**json.loads(index.read_text()), **values}))


@pytest.mark.parametrize(
    ("damage", "line"),
    [
        (lambda index, file: index.write_text('{"format": 9}'), "has format 9, this handrail"),
        (
            lambda index, file: index.write_text('{"format": 1}'),
            "is damaged, or of another version: no 'file'",
        ),
        (lambda index, file: index.write_text('{"format'), "latest.json is damaged"),
        (
            lambda index, file: _edit(index, sha256=3),
            "is damaged, or of another version: 'sha256' is 3",
        ),
        (
            lambda index, file: _edit(index, episodes="2"),
            "is damaged, or of another version: 'episodes' is '2'",
        ),
        (lambda index, file: file.write_bytes(file.read_bytes()[:-9]), "is damaged: its sha256"),
        (lambda index, file: file.unlink(), "is missing"),
    ],
)
def test_a_damaged_checkpoint_is_not_resumed(damage, line, half, handrail):
    (file,) = (half / "checkpoint").glob("*.safetensors")
    damage(half / "checkpoint" / "latest.json", file)
    code, out, errors = handrail("resume", half)
    assert (code, out) == (2, "")
    begun, told = errors.splitlines()  # what it is about to do, and why not
    assert begun.startswith("IQL on gym/toy:Toy-v0, seed 0")
    assert told.startswith("handrail: ")
    assert line in told


def test_a_checkpoint_of_other_settings_is_not_resumed(half, handrail):
    file = half / "settings.toml"
    file.write_text(file.read_text().replace("hidden = [\n    8,\n]", "hidden = [\n    9,\n]"))
    code, _, errors = handrail("resume", half)
    assert code == 2
    assert "is a checkpoint of another version or other settings" in errors.splitlines()[-1]
    assert "Traceback" not in errors


# -- evaluation ----------------------------------------------------------------------------------

SUMMARY = {"mean", "iqm", "ci95", "min", "max", "std"}


def test_an_evaluation_for_machines(trained, demos, handrail):
    for path, method, limit in (
        (trained["gold"], "GOLD (DT-IQL)", 3.5),  # the run's own limit
        (trained["iql"], "IQL", 25),
        (trained["gold"] / "guide", "DT", 3.5),
        (trained["bc"] / "policy", "policy", 25),
        (demos, "demonstrations", 25),
    ):
        code, out, errors = handrail("evaluate", path, "--episodes", 4, "--json")
        assert (code, errors) == (0, "")
        found = json.loads(out)
        assert set(found) == {
            *("task", "method", "episodes", "seed", "return", "cost", "length"),
            *("cost_limit", "violation_rate"),
        }
        assert all(set(found[name]) == SUMMARY for name in ("return", "cost", "length"))
        assert (found["task"], found["method"], found["episodes"]) == (toy.TOY, method, 4)
        assert found["cost_limit"] == limit
        assert handrail("evaluate", path, "--episodes", 4, "--json")[1] == out


def test_an_evaluation_is_of_the_seeds_and_the_limit_that_were_asked_for(trained, handrail):
    def found(*options) -> dict:
        code, out, _ = handrail("evaluate", trained["bc"], "--json", *options)
        assert code == 0
        return json.loads(out)

    first, both = found("--episodes", 1, "--seed", 7), found("--episodes", 2, "--seed", 7)
    second = found("--episodes", 1, "--seed", 8)
    mean = (first["return"]["mean"] + second["return"]["mean"]) / 2
    assert both["return"]["mean"] == pytest.approx(mean)
    assert found("--episodes", 1, "--cost-limit", 0)["cost_limit"] == 0
    other = found("--episodes", 3, "--task", toy.ENDS)
    assert other["task"] == toy.ENDS
    assert other["length"]["mean"] < toy.HORIZON


def test_an_evaluation_for_people(trained, handrail):
    code, out, errors = handrail("evaluate", trained["bc"], "--episodes", 2)
    assert (code, errors) == (0, "")
    assert "BC on gym/toy:Toy-v0" in out
    assert "95% interval" in out


def test_films_and_drawings(handrail, tmp_path):
    """Of a policy on a native task, after its report."""
    spec = envs.make("native/PointCircle1").spec_
    actor = Actor(spec.observation_size, 2, (4,), squashed=True, key=jax.random.key(0))
    save_policy(MLPPolicy.of(actor).mode(), tmp_path / "policy", spec)
    drawn = [tmp_path / "film.webp", tmp_path / "ways.svg"]
    code, out, errors = handrail(
        "evaluate", tmp_path / "policy", "--episodes", 2, "--json",
        "--video", drawn[0], "--paths", drawn[1],
    )  # fmt: skip
    assert (code, errors) == (0, "")
    assert json.loads(out)["task"] == "native/PointCircle1"
    assert all(path.stat().st_size > 10_000 for path in drawn)
    assert b"episode" in drawn[1].read_bytes()


def test_what_cannot_be_evaluated_is_told(trained, half, demos, mistake, tmp_path):
    run = trained["bc"]
    assert "0 episodes" in mistake("evaluate", run, "--episodes", 0)
    assert "the seed is -1" in mistake("evaluate", run, "--seed", -1)
    assert "ask for 1 to 6" in mistake("evaluate", demos, "--episodes", 7)
    line = mistake("evaluate", run, "--task", "bullet/CarCircle-gold")
    assert line.endswith("whose observation size is 3; that of bullet/CarCircle-gold is 8")
    line = mistake("evaluate", demos, "--task", "bullet/CarCircle-gold")
    assert line.startswith(
        "these are demonstrations of gym/toy:Toy-v0, not of bullet/CarCircle-gold"
    )
    line = mistake("evaluate", run / "policy", "--append", tmp_path / "table.csv")
    assert line.startswith("--append takes a run")
    assert "--append takes a run" in mistake("evaluate", demos, "--append", tmp_path / "table.csv")
    line = mistake("evaluate", half, "--append", tmp_path / "t.csv", "--episodes", 1)
    assert line == f"{half} is not complete; `handrail resume {half}`"
    (half / "policy" / "card.json").unlink()
    assert "--video and --paths take" in mistake("evaluate", demos, "--video", tmp_path / "a.mp4")
    assert "films are .mp4" in mistake("evaluate", run, "--video", tmp_path / "a.avi")
    assert "takes no render_mode" in mistake("evaluate", run, "--video", tmp_path / "a.mp4")
    assert "is no native task" in mistake("evaluate", run, "--paths", tmp_path / "a.png")
    assert mistake("evaluate", half).endswith(f"finish it with `handrail resume {half}`")
    assert "neither a Minari data set" in mistake("evaluate", tmp_path)
    assert list(tmp_path.glob("*.csv")) == []


def test_a_row_of_results_takes_the_place_of_its_like(trained, handrail, mistake, tmp_path):
    table = tmp_path / "deep" / "table.csv"

    def append(name: str, *options) -> list[dict[str, str]]:
        path = trained[name]
        options = options if "--episodes" in options else (*options, "--episodes", 1)
        assert handrail("evaluate", path, "--append", table, *options)[0] == 0
        with table.open() as file:
            return list(csv.DictReader(file))

    (row,) = append("bc")
    assert tuple(row) == COLUMNS
    assert (row["task"], row["method"], row["seed"], row["env_steps"]) == (toy.TOY, "BC", "0", "0")
    assert json.loads(row["settings"])["bc"]["hidden"] == [8]
    assert row["cumulative_cost"] == ""  # it does not act in the simulator
    rows = append("iql")
    assert [row["method"] for row in rows] == ["BC", "IQL"]
    trained_on = sources.read(trained["iql"])  # its log of episodes
    assert rows[1]["cumulative_cost"] == f"{sum(episode.cost for episode in trained_on):.0f}"
    again = append("bc", "--episodes", 2)
    assert [row["method"] for row in again] == ["IQL", "BC"]
    assert again[1]["return"] != row["return"]
    # Rows do not tell of other episodes, and a cell of another task was not trained on it.
    for other in (("--seed", 2000), ("--task", toy.ENDS)):
        line = mistake("evaluate", trained["bc"], "--append", table, *other)
        assert line.endswith("from seed 1000; leave --task and --seed out")
    rows = append("iql", "--cost-limit", 2.5)  # judged by another limit it is another row
    assert [row["method"] for row in rows] == ["IQL", "BC", "IQL"]
    assert json.loads(rows[-1]["settings"])["cost_limit"] == 2.5
    assert append("iql", "--cost-limit", 2.5) == rows
    table.write_text("a,b\n1,2\n")
    line = mistake("evaluate", trained["bc"], "--append", table, "--episodes", 1)
    assert "is no table of results" in line
    assert table.read_text() == "a,b\n1,2\n"


def test_a_curve_takes_the_place_of_its_like(trained, handrail, mistake, tmp_path):
    table = tmp_path / "curves.csv"
    for name in ("bc", "iql", "gold", "iql"):
        path = trained[name]
        assert handrail("evaluate", path, "--append-curve", table, "--episodes", 1)[0] == 0
    with table.open() as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == CURVE_COLUMNS
    # BC has none; IQL's are entered once.
    assert [r["method"] for r in rows] == 2 * ["GOLD (DT-IQL)"] + 2 * ["IQL"], rows
    metrics = read_metrics(trained["iql"])
    assert [int(r["step"]) for r in rows[2:]] == list(metrics["step"]) == [120, 240]
    for column, name in (("return", "eval/return"), ("cost", "eval/cost")):
        found = [float(r[column]) for r in rows[2:]]
        np.testing.assert_allclose(found, metrics[name], atol=0.005)
    policy = trained["iql"] / "policy"
    assert "--append takes a run" in mistake("evaluate", policy, "--append-curve", table)


# -- data, tasks, figures ------------------------------------------------------------------------


def test_a_sound_set_is_described(demos, handrail):
    code, out, errors = handrail("data", "check", demos, "--task", toy.TOY)
    assert (code, errors) == (0, "")
    assert out.splitlines()[-1] == "no problem found"
    found = json.loads(handrail("data", "check", demos, "--json")[1])
    assert found["problems"] == []
    assert (found["summary"]["episodes"], found["summary"]["steps"]) == (6, 120)


def test_all_that_is_wrong_with_a_set_is_listed(demos, handrail, tmp_path):
    with h5py.File(demos) as file:
        rewards, actions = file["rewards"][()], file["actions"][()]  # type: ignore[index]
    rewards[[3, 45]], actions[70] = np.nan, 9
    path = changed(demos, tmp_path / "set.hdf5", rewards=rewards, actions=actions)
    code, out, errors = handrail("data", "check", path, "--task", toy.TOY)
    problems = [line for line in out.splitlines() if line.startswith("problem: ")]
    assert code == 2
    assert errors == f"handrail: {path}: 3 problem(s); mend or remove them\n"
    assert "rewards of episode 0 are not finite at step 3" in problems[0]
    assert "rewards of episode 2 are not finite at step 5" in problems[1]
    assert "actions of episode 3 leave the box of gym/toy:Toy-v0 at step 10" in problems[2]
    assert len(json.loads(handrail("data", "check", path, "--json")[1])["problems"]) == 2

    file = toy.demonstration_file(tmp_path / "more.hdf5", episodes=25)
    path = changed(file, tmp_path / "all.hdf5", rewards=np.full(500, np.nan, np.float32))
    lines = handrail("data", "check", path)[1].splitlines()
    assert sum(line.startswith("problem: ") for line in lines) == 20
    assert lines[-1] == "... and 5 more (--json lists all)"
    assert len(json.loads(handrail("data", "check", path, "--json")[1])["problems"]) == 25


def test_a_set_converted_there_and_back_is_the_same(demos, handrail, mistake, tmp_path):
    there, back = tmp_path / "minari-v0", tmp_path / "back.hdf5"
    code, out, _ = handrail(
        *("data", "convert", demos, "--out", there, "--format", "minari", "--task", toy.TOY)
    )
    assert (code, out) == (0, f"{there}: 6 episodes, 120 steps (minari)\n")
    assert handrail("data", "convert", there, "--out", back)[0] == 0
    again = handrail("data", "convert", there, "--out", tmp_path / "third.hdf5", "--json")[1]
    assert json.loads(again) == {
        "file": str(tmp_path / "third.hdf5"), "format": "dsrl", "episodes": 6, "steps": 120
    }  # fmt: skip
    first, second = sources.read(demos), sources.read(back)
    assert second.task == first.task
    for left, right in zip(first, second, strict=True):
        for name in ("observations", "actions", "rewards", "costs"):
            np.testing.assert_array_equal(getattr(left, name), getattr(right, name))
        assert left.terminated == right.terminated
    assert "exists already" in mistake("data", "convert", demos, "--out", back)


def test_a_set_is_converted_as_the_task_that_is_said(demos, handrail, mistake, tmp_path):
    unnamed, named = tmp_path / "unnamed.hdf5", tmp_path / "named.hdf5"
    sources.write(Episodes(tuple(sources.read(demos)), None), unnamed)
    assert handrail("data", "convert", unnamed, "--out", named, "--task", toy.TOY)[0] == 0
    assert (sources.read(unnamed).task, sources.read(named).task) == (None, toy.TOY)
    convert = "data", "convert", demos, "--out", tmp_path / "no.hdf5", "--task"
    assert "unknown task 'nosuite/X'" in mistake(*convert, "nosuite/X")
    assert f"are demonstrations of {toy.TOY}, not of {toy.ENDS}" in mistake(*convert, toy.ENDS)
    assert not (tmp_path / "no.hdf5").exists()


def test_the_tasks_for_machines(handrail):
    code, out, errors = handrail("tasks", "--json")
    assert (code, errors) == (0, "")
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["name"] for row in rows] == [task.name for task in envs.tasks()]
    keys = {"name", "horizon", "cost_limit", "costs", "reward_unit", "observations", "actions"}
    assert all(set(row) == keys for row in rows)


def test_figures_of_runs_of_one_task(trained, half, handrail, mistake, tmp_path):
    out = tmp_path / "figures"
    runs = [trained[name] for name in ("cvpo", "iql", "bc")]
    code, printed, errors = handrail("figures", *runs, "--out", out)
    assert (code, errors) == (0, "")
    files = [Path(line) for line in printed.splitlines()]
    assert [file.name for file in files] == ["reward_cost_plane.png", "learning_curves.png"]
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in files)
    again = json.loads(handrail("figures", *runs, "--out", out, "--json")[1])
    assert again == {"files": printed.splitlines()}
    assert "is not complete" in mistake("figures", *runs, half, "--out", out)
    line = mistake("figures", *runs, trained["gold"], "--out", out)
    assert line == "runs of different cost limits in one figure: 3.5, 25.0; draw them apart"


def test_a_policy_plays_demonstrations(trained, handrail, mistake, tmp_path):
    out = tmp_path / "played.hdf5"
    command = ("demos", toy.ENDS, "--policy", trained["bc"], "--episodes", 12, "--out", out)
    code, printed, errors = handrail(*command)
    assert code == 0, errors
    assert printed.startswith(f"{out}: 12 episodes, ")
    played = sources.read(out)
    assert (len(played), played.task) == (12, toy.ENDS)
    assert len({len(episode) for episode in played}) > 3
    told = handrail(*command[:-1], tmp_path / "again.hdf5", "--json")[1]
    costs = [episode.cost for episode in played]
    assert json.loads(told)["cost"] == pytest.approx(
        {"mean": np.mean(costs), "min": min(costs), "max": max(costs)}
    )
    assert "exists already" in mistake(*command)
    seeds = ("--out", tmp_path / "y", "--seed", -1)
    assert "the seed is -1" in mistake(*command[:-2], *seeds)


def test_who_plays_ends_with_a_parent_that_is_killed(trained, tmp_path):
    command = ("demos", toy.ENDS, "--policy", trained["bc"], "--episodes", 10**6)
    process = toy.handrail(*command, "--out", tmp_path / "played.hdf5")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    deadline = time.monotonic() + 100
    while len(children.read_text().split()) < 2:  # a player, and what watches over semaphores
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.kill()
    process.communicate(timeout=100)  # it ends when nobody holds the output: no player
