"""Tables: what is planned, what is shared, and that it is all made once, whatever happens on the
way. On the toy task, in real processes."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy

from handrail import cli, envs
from handrail.data import sources
from handrail.errors import HandrailError, Stopped
from handrail.metrics_file import read_metrics
from handrail.networks import Actor
from handrail.policies import MLPPolicy
from handrail.policy_files import save_policy
from handrail.runs import Run
from handrail.storage import alone
from handrail.tables import definition as definitions
from handrail.tables import plan as plans
from handrail.tables.board import render, share
from handrail.tables.carry_out import Progress, carry_out, require_done
from handrail.tables.plan import DEMONSTRATIONS, EXPERT, Stage
from handrail.tables.work import work

LOOP = "environments = 3, block = 24, batch = 8, start = 50, evaluate_every = 120"
DEFINITION = f"""
evaluate = 3
demonstrations = 6
tasks = ["{toy.TOY}", "{toy.ENDS}"]
[online]
steps = 240
evaluate_episodes = 2
[task."{toy.ENDS}".online]
batch = 4
[[method]]
label = "BC"
name = "bc"
seeds = 1
demos = true
settings.bc = {{ hidden = [8], updates = 60, batch = 8 }}
[[method]]
label = "IQL"
name = "iql"
seeds = 2
settings = {{ warmup = 48, iql = {{ hidden = [8] }}, online = {{ {LOOP} }} }}
[[method]]
label = "GOLD (BC-IQL)"
name = "gold"
seeds = 2
demos = true
guide = "BC"
settings = {{ pretrain = 10, iql = {{ hidden = [8] }}, online = {{ {LOOP} }} }}
"""
for _task in (toy.TOY, toy.ENDS):
    DEFINITION += f"""[task."{_task}".expert]
warmup = 48
sac = {{ hidden = [8] }}
online = {{ steps = 240, evaluate_episodes = 2, {LOOP} }}
"""


@pytest.fixture
def definition(tmp_path) -> Path:
    file = tmp_path / "toy.toml"
    file.write_text(DEFINITION)
    return file


@pytest.fixture
def stages(definition, tmp_path) -> list[Stage]:
    return plans.plan(definitions.read(str(definition)), tmp_path / "out")


# ---- the plan ------------------------------------------------------------------------------------


def test_what_several_cells_need_is_planned_once_and_before_them(stages):
    labels = [(stage.label, stage.task, stage.seed) for stage in stages]
    assert len(set(labels)) == len(labels) == 2 * (1 + 1 + 2 + 2 + 2)  # two guides, of BC
    at = {stage.path: i for i, stage in enumerate(stages)}
    for stage in stages:
        assert all(at[need] < at[stage.path] for need in stage.needs)
        needs = [stages[at[need]].label for need in stage.needs]
        expected = {"GOLD (BC-IQL)": [DEMONSTRATIONS, "BC"], "BC": [DEMONSTRATIONS]}
        expected |= {DEMONSTRATIONS: [EXPERT]}
        assert needs == expected.get(stage.label, [])
    # A seed of everything comes before the next.
    assert [stage.seed for stage in stages if stage.label == "IQL"] == [0, 0, 1, 1]


def test_a_stage_has_the_settings_of_the_table_the_task_and_the_row(stages):
    gold = next(s for s in stages if s.label == "GOLD (BC-IQL)" and s.task == toy.ENDS)
    assert (
        gold.settings["online"] | {"steps": 240, "batch": 8, "noise": 0.3}
        == (gold.settings["online"])
    )  # the row's above the task's; the method's own default of noise
    method = gold.method()
    assert (method.task, method.seed, method.out) == (toy.ENDS, 0, gold.path)
    assert method.iql.hidden == (8,)
    assert str(method.demos) == gold.settings["demos"]
    assert method.guide == str(gold.needs[1])


def test_a_name_holds_the_content(definition, tmp_path, stages):
    elsewhere = plans.plan(definitions.read(str(definition)), tmp_path / "else")
    assert [s.path.name for s in elsewhere] == [s.path.name for s in stages]
    definition.write_text(DEFINITION.replace("demonstrations = 6", "demonstrations = 7"))
    other = plans.plan(definitions.read(str(definition)), tmp_path / "out")
    same = {(s.label, s.seed): s.path == o.path for s, o in zip(stages, other, strict=True)}
    assert {key[0] for key, as_before in same.items() if as_before} == {"IQL", EXPERT}


def test_a_setting_that_is_not_read_is_no_content(definition, tmp_path, stages):
    """GOLD by IQL carries CVPO's settings, and those of a guide that it does not fit."""

    def gold(change: str) -> str:
        mine = "settings = { pretrain = 10, iql = { hidden = [8] }, online = { "
        changed = mine.replace("pretrain = 10,", f"pretrain = 10, {change},")
        if change.startswith("online."):
            changed = mine + change.removeprefix("online.") + ", "
        assert mine in DEFINITION
        definition.write_text(DEFINITION.replace(mine, changed))
        table = definitions.read(str(definition))
        part = plans.plan(table, tmp_path / "out", methods=["GOLD (BC-IQL)"], seeds=1)
        return part[-1].path.name

    plain = gold("episodes = 7")  # of an expert that is not asked to play
    assert gold("cvpo = { actions = 7 }") == plain
    assert gold("bc = { updates = 7 }") == plain
    assert gold("pid = { ki = 7.0 }") == plain
    assert gold("online.average = 0") == plain  # an int is another value, were it looked at
    assert gold("online.caution = 0") == plain
    assert gold("online.caution = 1.0") != plain
    assert gold("online.average = 7.0") != plain
    assert gold("cost_weight = 7.0") != plain
    assert gold('multiplier = "pid"') != plain


def test_a_leash_is_content_where_there_is_one(definition, tmp_path, stages):
    """IQL from scratch draws its policy as the soft actor-critic does, unless it is told not to."""

    def iql(change: str) -> str:
        definition.write_text(
            DEFINITION.replace("warmup = 48, iql = { ", "warmup = 48, iql = { " + change)
        )
        table = definitions.read(str(definition))
        return plans.plan(table, tmp_path / "out", methods=["IQL"], seeds=1)[-1].path.name

    plain = iql("")
    assert iql("bc_weight = 7.0, ") == plain
    near = iql('extraction = "ddpg_bc", ')
    assert near != plain
    assert iql('extraction = "ddpg_bc", bc_weight = 7.0, ') not in (near, plain)


def test_a_part_of_a_table(definition, tmp_path):
    table = definitions.read(str(definition))
    part = plans.plan(
        table, tmp_path, tasks=[toy.TOY], methods=["GOLD (BC-IQL)"], seeds=1, steps=480
    )
    assert [s.label for s in part] == [EXPERT, DEMONSTRATIONS, "BC", "GOLD (BC-IQL)"]
    assert part[-1].settings["online"]["steps"] == 480
    assert part[0].settings["online"]["steps"] == 240  # an expert is what it is


def test_golds_table_is_whole():
    table = definitions.read("gold")
    stages = list(plans.cells(plans.plan(table, Path("x"))))
    count = {label: sum(s.label == label for s in stages) for label in {s.label for s in stages}}
    assert len(table.tasks) == 8
    assert count.pop("DT") >= 3 * 8
    for label in ("GOLD (DT-IQL)", "IQL", "CVPO", "Handrail"):
        assert count.pop(label) == 5 * 8
    assert set(count) == {"BC", "IQL (demos)", "GOLD (BC-IQL)", "GOLD (DT-CVPO)"}
    assert set(count.values()) == {3 * 8}
    online = [s.settings["online"] for s in stages if "online" in s.settings]
    assert {o["steps"] for o in online} == {online[0]["steps"]}  # equal environment steps
    for stage in stages:
        assert stage.method().seed == stage.seed


def test_the_table_of_guides_adds_those_of_mediocre_demonstrations_to_golds():
    table = definitions.read("guides")
    stages = plans.plan(table, Path("x"))
    gold = {stage.path: stage for stage in plans.plan(definitions.read("gold"), Path("x"))}
    assert {s.label for s in stages if s.path not in gold} == {
        DEMONSTRATIONS, *(row.label for row in table.method if row.level == "medium")
    }  # fmt: skip
    assert all(gold.get(stage.path, stage) == stage for stage in stages)
    assert len(list(plans.cells(stages))) == 4 * 8 * 3
    by_path = {stage.path: stage for stage in stages}
    for stage in plans.cells(stages):
        # A student has the demonstrations of its guide, of the level that its label says.
        demos, *guide = (by_path[path] for path in stage.needs)
        level = "medium" if "medium" in stage.label else "expert"
        assert Path(demos.settings["policy"]).parts[-2:] == (stage.task.replace("/", "-"), level)
        assert [g.needs for g in guide] == [(demos.path,) for _ in guide]
        assert [g.seed for g in guide] == ([stage.seed] if "GOLD" in stage.label else [])


def test_the_level_that_is_the_default_makes_no_new_name(definition, tmp_path, stages):
    definition.write_text(DEFINITION.replace("demos = true", 'demos = true\nlevel = "expert"'))
    assert plans.plan(definitions.read(str(definition)), tmp_path / "out") == stages


def test_a_level_that_is_not_shipped_is_told(definition):
    medium = DEFINITION.replace("demos = true", 'demos = true\nlevel = "medium"')
    definition.write_text(medium)
    table = definitions.read(str(definition))
    with pytest.raises(HandrailError, match=f"no medium expert is shipped for {toy.TOY}; leave"):
        plans.plan(table, Path("x"))


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (("evaluate = 3", "evaluates = 3"), "unknown 'evaluates'"),
        (
            ('name = "bc"', 'name = "bc"\nlevel = "novice"'),
            "the level of 'BC' is 'novice'; there are: expert, medium",
        ),
        (
            ('name = "iql"', 'name = "iql"\nlevel = "medium"'),
            "'IQL' has a level and no demonstrations; say demos = true",
        ),
        (('name = "bc"', 'name = "bcc"'), "unknown method 'bcc'"),
        (("hidden = [8], updates", "hiden = [8], updates"), "unknown setting 'hiden'"),
        (
            ("settings.bc = ", 'settings.demos = "mine.hdf5"\nsettings.bc = '),
            "'BC' has demos and settings.demos; leave one of them out",
        ),
        (('guide = "BC"', 'guide = "DT"'), "the guide of 'GOLD (BC-IQL)' is no row without"),
        (('guide = "BC"', 'guide = "GOLD (BC-IQL)"'), "is no row without a guide"),
        (('label = "IQL"', 'label = "BC"'), "each with a label of its own"),
        (("evaluate = 3", "evaluate = 0"), "evaluate is 0; it must be a number of episodes"),
        (("seeds = 1", 'seeds = "1"'), "seeds of 'BC' is '1'"),
        (("warmup = 48, iql", "seed = 3, iql"), "settings of 'IQL' name 'seed'"),
        (
            ("steps = 240", 'steps = "many"'),
            "the settings of 'expert': steps is 'many'; it must be int",
        ),
        (('[task."gym/toy:Toy', '[task."gym/toy:Tay'), "is of no task of the table"),
        (("evaluate = 3", "evaluate = "), "cannot be read"),
        (('label = "BC"', 'label = "expert"'), "label is 'expert', which names a stage; call"),
        (
            ("[online]\nsteps = 240\nevaluate_episodes = 2", "online = 3"),
            "online is 3; it must be a",
        ),
        (("updates = 60", "updates = -60"), "the settings of 'BC': updates is -60"),
        (("seeds = 2", ""), "'seeds' of 'IQL' is missing; say it"),
        (("evaluate = 3", ""), "'evaluate' is missing; say it"),
        (('label = "IQL"', "label = 5"), "label of 5 is 5; it must be a text"),
        (('label = "IQL"', 'label = ["IQL"]'), "label of ['IQL'] is ['IQL']; it must be a text"),
        (('guide = "BC"', 'guide = ["BC"]'), "is ['BC']; it must be a row's label"),
        (("demos = true", 'demos = "yes"'), "is 'yes'; it must be true or false"),
        (('tasks = ["', 'tasks = [3, "'), "a task is 3; it must be a name"),
        (("block = 24", "block = 25"), "block (25) is no multiple of environments (3)"),
    ],
)
def test_a_faulty_definition_is_told_in_a_line(definition, capfd, change, line):
    definition.write_text(DEFINITION.replace(*change))
    assert cli.main(["table", str(definition), "--status"]) == 2
    out, errors = capfd.readouterr()
    assert out == ""
    assert line in errors
    assert len(errors.splitlines()) == 1


def test_a_definition_that_is_no_text(definition, capfd):
    definition.write_bytes(DEFINITION.replace("BC", "\xfc").encode("latin-1"))
    assert cli.main(["table", str(definition), "--status"]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert "cannot be read" in line


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["silver"], "there is no table 'silver' (there are: gold"),
        (["nowhere.toml"], "there is no file nowhere.toml"),
        (["gold", "--tasks", "native/PointGoal1"], "the table has no task 'native/PointGoal1'"),
        (["gold", "--methods", "PPO"], "the table has no method 'PPO'"),
        (["gold", "--seeds", "0"], "--seeds is 0"),
        (["gold", "--workers", "0"], "--workers is 0"),
        (["gold", "--workers", "2", "--ray", "auto"], "--workers and --ray: give one of them"),
    ],
)
def test_a_mistake_is_told_in_a_line(arguments, line, capfd):
    assert cli.main(["table", *arguments]) == 2
    out, errors = capfd.readouterr()
    assert out == ""
    assert line in errors
    assert len(errors.splitlines()) == 1


# ---- carrying it out -----------------------------------------------------------------------------


class Script:
    """Workers whose processes end with the exit codes that a stage's label gives, in order."""

    def __init__(self, codes: dict[str, list[int]], slots: int = 1):
        self.codes, self._slots, self.begun = codes, slots, []
        self.stopped = False

    def slots(self) -> int:
        return self._slots

    def begin(self, stage: Stage) -> Future[int]:
        assert Stage.read(stage.order) == stage
        self.begun.append(f"{stage.label} {stage.seed}")
        code = self.codes.get(stage.label, [0]).pop(0) if stage.label in self.codes else 0
        stage.log.write_text(f"began\nhandrail: {stage.label} is ill\n\n")
        if code == 0:
            made = stage.path if stage.label == DEMONSTRATIONS else stage.path / "evaluation.json"
            made.parent.mkdir(parents=True, exist_ok=True)
            made.write_text(f'{{"episodes": {stage.episodes}}}')
        future: Future[int] = Future()
        future.set_result(code)
        return future

    def stop(self) -> None:
        self.stopped = True


def _carry(stages, workers, stopping=lambda: False):
    finished = []
    progress = carry_out(
        stages, workers, show=render, finished=finished.append, stopping=stopping, every=0.01
    )
    return progress, finished


def _toys(stages) -> list[Stage]:
    return [stage for stage in stages if stage.task == toy.TOY]


def test_every_stage_is_made_once_and_never_again(stages):
    workers = Script({})
    progress, finished = _carry(stages, workers)
    assert finished == list(stages)
    assert not progress.failed
    again = Script({})
    assert _carry(stages, again)[1] == []
    assert again.begun == []


def test_what_was_deleted_while_others_are_made_is_made_again(stages):
    class Deletes(Script):
        def begin(self, stage: Stage) -> Future[int]:
            if stage.label == "BC":
                stage.needs[0].unlink()
            return super().begin(stage)

    mine = [s for s in _toys(stages) if s.label == EXPERT or (s.seed == 0 and s.label != "IQL")]
    workers = Deletes({})
    progress, _ = _carry(mine, workers)
    assert not progress.failed
    assert all(stage.done for stage in mine)
    assert workers.begun == [
        "expert 1", "demonstrations 0", "BC 0", "demonstrations 0", "GOLD (BC-IQL) 0"
    ]  # fmt: skip


def test_a_users_own_files_are_content(definition, tmp_path):
    def path(folder: str) -> Path:
        mine = f'settings = {{ demos = "{tmp_path}/{folder}/demos.hdf5", bc = {{ updates = 7 }} }}'
        definition.write_text(DEFINITION.replace("demos = true\nsettings.bc", f"{mine}\n#", 1))
        table = definitions.read(str(definition))
        return plans.plan(table, tmp_path / "out", methods=["BC"], seeds=1)[-1].path

    for folder, content in (("a", b"1"), ("b", b"2"), ("c", b"1")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "demos.hdf5").write_bytes(content)
    first = path("a")
    assert path("c") == first
    assert path("b") != first
    (tmp_path / "a" / "demos.hdf5").write_bytes(b"3")
    assert path("a") not in (first, path("b"))
    # A row tells where the file lay and not what it held: it stands for no cell.
    stage = plans.plan(definitions.read(str(definition)), tmp_path / "out", methods=["BC"], seeds=1)
    assert not plans.spare(stage, [_row(stage[-1])])[-1].spared


def test_a_run_of_a_table_that_was_moved_goes_on(definition, tmp_path, monkeypatch):
    """Its settings name the guide where it lay when the run was begun."""
    monkeypatch.chdir(tmp_path)
    table = definitions.read(str(definition))

    def made(out: str) -> list[Stage]:
        return plans.plan(table, Path(out), tasks=[toy.TOY], methods=["GOLD (BC-IQL)"], seeds=1)

    for stage in made("here"):
        work(stage)
    kept = _bytes(Path("here"))
    gold = made("here")[-1].path
    for left in ("summary.json", "evaluation.json"):
        (gold / left).unlink()
    Path("here").rename("there")
    for stage in made("there"):
        work(stage)
    assert _bytes(Path("there")) == kept


def test_a_failure_takes_along_only_what_needs_it(stages):
    workers = Script({"BC": [2, 0]})
    progress, finished = _carry(_toys(stages), workers)
    assert [(s.label, s.seed) for s in finished][2:] == [
        ("IQL", 0),
        ("IQL", 1),
        ("BC", 1),
        ("GOLD (BC-IQL)", 1),
    ]
    why = {path.name[:4]: text for path, text in progress.failed.items()}
    assert why["bc-0"] == "handrail: BC is ill"
    assert why["gold"].startswith("it needs bc-0-")
    with pytest.raises(HandrailError, match=r"bc-0-.* failed \(and 1 more\): handrail: BC is ill"):
        require_done(progress)
    _, finished = _carry(_toys(stages), Script({}))  # the same command tries again
    assert [(s.label, s.seed) for s in finished] == [("BC", 0), ("GOLD (BC-IQL)", 0)]


def test_a_killed_process_is_begun_again_a_few_times(stages):
    workers = Script({"IQL": [-9, -9, 0, -9, -9, -9]})
    progress, finished = _carry(_toys(stages), workers)
    assert [name for name in workers.begun if name[:3] == "IQL"] == 3 * ["IQL 0"] + 3 * ["IQL 1"]
    assert [s.seed for s in finished if s.label == "IQL"] == [0]
    ((path, why),) = progress.failed.items()
    assert path.name.startswith("iql-1")
    assert why == "its process was killed 3 times (SIGKILL)"


def test_no_process_goes_on_when_its_coordinator_fails(stages):
    """A full disk where the results are: it may come while others train."""
    workers = Script({})

    def full(stage: Stage) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        carry_out(stages, workers, show=render, finished=full, stopping=lambda: False)
    assert workers.stopped


def test_an_expert_is_trained_only_where_the_definition_says_how(definition, tmp_path):
    definition.write_text(DEFINITION.split(f'[task."{toy.ENDS}".expert]')[0])
    part = plans.plan(definitions.read(str(definition)), tmp_path / "out", seeds=1)
    experts = [stage.task for stage in part if stage.label == EXPERT]
    assert experts == [toy.TOY]
    played = next(s for s in part if s.label == DEMONSTRATIONS and s.task == toy.ENDS)
    with pytest.raises(HandrailError, match="no expert is shipped for gym/toy:ToyEnds-v0"):
        work(played)


def test_an_expert_over_its_limit_is_no_expert(stages):
    expert = next(s for s in stages if s.label == EXPERT)
    work(expert)
    assert expert.done
    (expert.path / "evaluation.json").unlink()
    spec = envs.make(toy.TOY).spec_  # one that always drives on, into the zone that costs
    actor = Actor(spec.observation_size, 1, (4,), squashed=True, key=jax.random.key(0))
    actor = eqx.tree_at(lambda net: net.trunk.layers[-1].bias, actor, jnp.array([9.0, 0.0]))
    save_policy(MLPPolicy.of(actor).mode(), expert.path / "policy", spec)
    strict = replace(expert, settings={**expert.settings, "cost_limit": 1.0})
    with pytest.raises(HandrailError, match=r"costs \d+\.\d, its limit is 1; give it other"):
        work(strict)
    assert not strict.done


def test_another_number_of_evaluation_episodes_judges_again(stages):
    first = next(s for s in stages if s.label == "IQL")
    _carry([first], Script({}))
    assert first.done
    assert not replace(first, episodes=first.episodes + 1).done


def test_one_command_at_a_time(definition, tmp_path, capfd):
    with alone(tmp_path / "out"):
        assert cli.main(["table", str(definition), "--out", str(tmp_path / "out")]) == 2
    assert "another process is training" in capfd.readouterr().err


def _row(stage: Stage, **others: str) -> dict[str, str]:
    """As it stands in a table of results, whose settings come from TOML: without any None."""
    settings = {k: v for k, v in stage.settings.items() if k not in ("task", "seed", "method")}
    row = {"task": stage.task, "method": stage.label, "seed": str(stage.seed)}
    return {
        **row,
        "episodes": str(stage.episodes),
        "settings": json.dumps({k: v for k, v in settings.items() if v is not None}),
        **others,
    }


def test_a_cell_that_stands_in_the_results_is_made_where_it_is_needed_alone(stages):
    mine = _toys(stages)
    label = {s.label: s for s in mine if s.seed == 0}
    # Both guides, but of their two students that of seed 1 has none yet, and needs its guide.
    rows = [_row(s) for s in mine if s.label == "BC" or (s.seed == 0 and s.label != "IQL")]
    rows += [_row(label["IQL"], method="IQL, renamed")]
    spared = [(s.label, s.seed) for s in plans.spare(mine, rows) if s.spared]
    assert spared == [("BC", 0), ("GOLD (BC-IQL)", 0)]
    # A guide that is needed is made again, and complete all the same.
    marked = plans.spare(mine, rows)
    complete = [(s.label, s.seed) for s in plans.cells(marked) if s.complete]
    assert complete == [("BC", 0), ("GOLD (BC-IQL)", 0), ("BC", 1)]
    assert [s.done for s in marked if (s.label, s.seed) == ("BC", 1)] == [False]
    # Both of GOLD's have: nothing is needed but IQL, which needs nothing.
    rows += [_row(s) for s in mine if s.label == "GOLD (BC-IQL)"]
    spared = plans.spare(mine, rows)
    assert {s.label for s in spared if not s.spared} == {"IQL"}
    workers = Script({})
    _carry(spared, workers)
    assert workers.begun == ["IQL 0", "IQL 1"]


@pytest.mark.parametrize(
    "other",
    [
        {"seed": "7"},
        {"task": toy.ENDS},
        {"episodes": "4"},
        {"settings": '{"online": {"batch": 7}}'},
        {"settings": '{"of_an_older_version": 1}'},
        {"settings": '{"online": 7}'},
        {"settings": "{"},
    ],
)
def test_a_row_of_other_content_stands_for_no_cell(stages, other):
    iql = next(s for s in _toys(stages) if s.label == "IQL")
    assert plans.spare([iql], [_row(iql)])[0].spared
    assert not plans.spare([iql], [_row(iql, **other)])[0].spared
    # Of several rows of a cell the last counts, which is what pages show.
    assert plans.spare([iql], [_row(iql, **other), _row(iql)])[0].spared
    another = "seed" in other or "task" in other
    assert plans.spare([iql], [_row(iql), _row(iql, **other)])[0].spared == another


def test_results_of_another_form_are_told_before_the_work(definition, tmp_path, capfd):
    other = tmp_path / "other.csv"
    other.write_text("a,b\n1,2\n")
    command = ["table", str(definition), "--out", str(tmp_path / "out"), "--results", str(other)]
    assert cli.main(command) == 2
    assert "is no table of results" in capfd.readouterr().err
    assert not list(tmp_path.glob("out/*/*"))


def test_a_stop_is_passed_on(stages):
    workers = Script({})
    asked = iter([False, False, True])
    with pytest.raises(Stopped, match=f"{len(stages) - 2} stages are not complete"):
        _carry(stages, workers, lambda: next(asked))
    assert workers.stopped


# ---- in real processes ---------------------------------------------------------------------------


def _table(definition: Path, out: Path, *options: str):
    return toy.handrail(
        "table", str(definition), "--out", str(out), "--tasks", toy.TOY, "--seeds", "1", *options
    )


def _bytes(out: Path) -> dict[str, bytes]:
    """What a stage must give again bit for bit."""
    files = [*out.rglob("metrics.csv"), *out.rglob("evaluation.json"), *out.rglob("*.hdf5")]
    return {str(file.relative_to(out)): file.read_bytes() for file in files}


def test_a_table_is_made_killed_and_made_on(definition, tmp_path):
    whole, out = tmp_path / "whole", tmp_path / "out"
    process = _table(definition, whole, "--workers", "2")
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert errors.splitlines()[-1] == f"complete: {whole / 'results.csv'}"

    # Killed with its processes at work; they hear of it, and stop.
    process = _table(definition, out, "--workers", "1")
    _wait(lambda: list(out.rglob("iql-0-*/metrics.csv")))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    # Begun again, and asked to stop by Ctrl-C.
    process = _table(definition, out, "--workers", "1")
    assert "IQL on gym/toy:Toy-v0, seed 0: begun" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130, errors
    assert "stages are not complete; the same command goes on" in errors.splitlines()[-1]
    # And to its end.
    process = _table(definition, out, "--workers", "2")
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    have, want = _bytes(out), _bytes(whole)
    assert sorted(have) == sorted(want)
    assert have == want

    with (out / "results.csv").open(newline="") as lines:
        rows = {row["method"]: row for row in csv.DictReader(lines)}
    assert sorted(rows) == ["BC", "GOLD (BC-IQL)", "IQL"]
    for row in rows.values():
        path = next(out.glob(f"*/{plans._slug(row['method'])}-0-*/"))
        report = json.loads((path / "evaluation.json").read_text())
        assert float(row["return"]) == pytest.approx(report["return"]["mean"], abs=0.005)
        assert (report["episodes"], report["seed"]) == (3, 1000)
    with (out / "results_curves.csv").open(newline="") as lines:
        curve = [row for row in csv.DictReader(lines) if row["method"] == "IQL"]
    metrics = read_metrics(next(out.rglob("iql-0-*/")))
    np.testing.assert_allclose([float(r["step"]) for r in curve], metrics["step"])
    found = [float(r["return"]) for r in curve]
    np.testing.assert_allclose(found, metrics["eval/return"], atol=0.005)

    process = _table(definition, out, "--status", "--json")
    told, errors = process.communicate()
    assert errors == ""
    cells = json.loads(told)["cells"]
    assert {(cell["method"], cell["complete"]) for cell in cells} == {(m, True) for m in rows}
    board, errors = _table(definition, tmp_path / "empty", "--status").communicate()
    assert "0 of 3 cells are complete" in board
    assert errors == ""
    assert not (tmp_path / "empty").exists()

    # On another machine, where the results have come along and no run has.
    process = _table(definition, tmp_path / "new", "--results", str(out / "results.csv"))
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert errors == f"complete: {out / 'results.csv'}\n"
    assert not list((tmp_path / "new").glob("*/*"))
    with (out / "results.csv").open(newline="") as lines:
        assert {row["method"]: row for row in csv.DictReader(lines)} == rows

    guide = next(out.glob("*/bc-0-*/"))
    with Run.open(next(out.glob("*/gold-bc-iql-0-*/"))) as run:
        assert run.settings["guide"] == str(guide)
        assert not (run.path / "guide").exists()  # shared, not fitted again
        assert len(sources.read(Path(run.settings["demos"]))) == 6


def _wait(what, seconds: float = 120) -> None:
    for _ in range(int(10 * seconds)):
        if what():
            return
        time.sleep(0.1)
    raise AssertionError("it did not happen")


BEAR = {"bear": {"updates": 120}}


def test_the_board(stages, tmp_path):
    from rich.console import Console

    made = Script({})
    _carry(_toys(stages)[:3], made)
    running = next(s for s in stages if s.label == "GOLD (BC-IQL)")
    with Run.create(running.path, running.method().settings()) as run:
        run.log(120, {"eval/return": 1.0})
    assert share(running) == 0.5
    offline = replace(running, path=tmp_path / "bear", settings={"method": "bear-lag", **BEAR})
    with Run.create(offline.path, {"method": "bear-lag"}) as run:
        run.log(30, {"loss/actor": 1.0})
    assert share(offline) == 0.25
    failed = {s.path: "ill" for s in stages if s.label == "IQL" and s.task == toy.ENDS}
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(render(Progress(stages, {running.path: running}, failed)))
    lines = console.export_text().splitlines()
    assert lines[0].startswith("1 of 12 cells are complete")
    rows = {line.split()[0]: line.split()[1:] for line in lines if line.startswith("toy:")}
    assert rows == {
        "toy:Toy-v0": ["2/2", "1/2", "0/2", "0/2"],
        "toy:ToyEnds-v0": ["0/2", "0/2", "✗0/2", "0/2"],
    }
    assert lines[-1].rstrip() == f"▸ GOLD (BC-IQL) on {toy.TOY}, seed 0: 50%"


@pytest.mark.parametrize("name", ["gold", "guides", "marvel"])
def test_the_boards_of_the_shipped_tables_fit_80_columns(name):
    from rich.console import Console

    console = Console(width=80, record=True, file=io.StringIO())
    console.print(render(Progress(plans.plan(definitions.read(name), Path("x")))))
    assert "…" not in console.export_text()


# ---- on a cluster --------------------------------------------------------------------------------


@pytest.fixture
def cluster():
    """A cluster of two machines and its address; a line to its input, and it loses one."""
    here = Path(__file__).parent
    process = subprocess.Popen(
        [sys.executable, here / "ray_cluster.py"],
        env={**os.environ, "PYTHONPATH": str(here), "RAY_USAGE_STATS_ENABLED": "0"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.communicate(timeout=60)


def test_a_lost_machine_costs_nothing(definition, tmp_path, cluster):
    """IQL of two seeds on two machines; one machine is killed at work: its stage goes on from its
    checkpoint on the other, and ends in the same bits."""
    definition.write_text(DEFINITION.replace("steps = 240\nevaluate", "steps = 4800\nevaluate"))
    whole, out = tmp_path / "whole", tmp_path / "out"
    common = ["--methods", "IQL", "--seeds", "2"]
    process = _table(definition, whole, "--workers", "2", *common)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    machines, address = cluster
    process = _table(definition, out, "--ray", address, *common)
    _wait(lambda: len(list(out.rglob("iql-*/checkpoint/latest.json"))) == 2)
    machines.stdin.write("\n")
    machines.stdin.flush()
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    have, want = _bytes(out), _bytes(whole)
    assert sorted(have) == sorted(want)
    assert have == want
    # One of the two was taken up again, neither from its beginning.
    logs = [log.read_text() for log in sorted(out.rglob("iql-*.log"))]
    assert sorted(log.count("IQL on gym/toy:Toy-v0") for log in logs) == [1, 2], logs
    again = next(log for log in logs if log.count("IQL on gym/toy:Toy-v0") == 2)
    assert "IQL  120/4,800" not in again.split("IQL on gym/toy:Toy-v0")[2]


def test_a_cluster_that_is_not_there(definition, tmp_path):
    process = _table(definition, tmp_path / "out", "--ray", "127.0.0.1:1")
    _, errors = process.communicate()
    assert process.returncode == 2
    assert "no Ray cluster at '127.0.0.1:1'" in errors
    assert len(errors.splitlines()) == 1
