"""Settings: written, read back, refused; and where the parts of a method come from."""

from __future__ import annotations

import ast
import inspect
import itertools
import math
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import pytest
import toy

from handrail.errors import HandrailError
from handrail.gold import GOLD
from handrail.guidance import GuidanceSettings
from handrail.jobs import METHODS, build, method_of, start
from handrail.judge import REPORT_SEED, VALIDATION_SEED
from handrail.learners.bc import BCSettings
from handrail.learners.cvpo import CVPOSettings
from handrail.learners.decision_transformer import DTSettings
from handrail.learners.iql import IQLSettings
from handrail.learners.sac import SACSettings
from handrail.methods import BC, DT, JUDGED, Method
from handrail.multipliers import Ramp
from handrail.online_methods import CVPO, IQL, Expert, SACLag
from handrail.online_settings import OnlineSettings
from handrail.pid import PID, PIDSettings
from handrail.policies import MLPPolicy
from handrail.policy_files import save_policy
from handrail.progress import Watcher
from handrail.runs import Run
from handrail.types import Spec


@pytest.fixture
def demos(tmp_path) -> Path:
    return toy.demonstration_file(tmp_path / "demos.hdf5", toy.TOY, episodes=2)


# -- settings there and back ---------------------------------------------------------------------

CHANGED = [
    BC(
        task="gym/a",
        cost_limit=2.5,
        seed=7,
        demos=Path("x/y.hdf5"),
        episodes=3,
        bc=BCSettings(hidden=(3, 4, 5), learning_rate=1e-3),
    ),
    DT(task="gym/a", cost_weight=0.25, dt=DTSettings(tanh=False, target_return=-3.5, embed=6)),
    DT(task="gym/a", dt=DTSettings(backbone="gpt2", weights="somewhere")),
    IQL(
        task="gym/a",
        demos=Path("d"),
        pretrain=0,
        online=OnlineSettings(steps=1000, start=500, keep_policies=True, updates_per_step=0.1),
        iql=IQLSettings(extraction="sac", hidden=()),
    ),
    CVPO(task="gym/a", cost_limit=3.0, cvpo=CVPOSettings(actions=7, slack=2.0, hidden=(9,))),
    DT(task="gym/a", reward_unit=0.08),
    GOLD(
        task="gym/a",
        guide="runs/guide",
        demonstration_share=0.0,
        guidance=GuidanceSettings("bernoulli_decay", horizon=9, decay=0.0),
        dt=DTSettings(context=7),
    ),
    IQL(task="gym/a", multiplier="pid", pid=PIDSettings(kp=0.0, delay=3), cost_limit=5.0),
    GOLD(task="gym/a", multiplier="adaptive-pid", cost_weight=0.5),
    Expert(
        task="gym/a", ramp=Ramp(ease_cost=7.5), sac=SACSettings(tau=0.1), online=OnlineSettings()
    ),
]


@pytest.mark.parametrize(
    "method",
    [*(cls(task="gym/a") for cls in METHODS.values()), *CHANGED],
    ids=lambda method: method.name,
)
def test_settings_come_back_from_the_file(method: Method, tmp_path):
    run = Run.create(tmp_path / "run", method.settings())
    assert method_of(Run.open(run.path)) == method
    # Where a run lies is no setting of it.
    elsewhere = replace(method, out=Path("elsewhere"))
    assert elsewhere.settings() == method.settings()
    assert all(name in run.settings for name in ("task", "seed", "method"))


def damaged(tmp_path, old: str, new: str) -> Run:
    run = Run.create(tmp_path / "run", IQL(task="gym/a").settings())
    file = run.path / "settings.toml"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new, 1))
    return Run.open(run.path)


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ('method = "iql"', 'method = "iqn"', "unknown method 'iqn'; use the version"),
        ('method = "iql"\n', "", "unknown method None"),
        ("warmup = ", "warm = 1\nwarmup = ", "unknown setting 'warm'; remove it"),
        ("expectile = ", "quantile = 1\nexpectile = ", "unknown setting 'quantile'"),
        ("expectile = 0.8", "expectile = 1.5", "expectile must lie between 0 and 1"),
        ('task = "gym/a"\n', "", r"damaged: .*'task'"),
        ("seed = 0", 'seed = "x"', "seed is 'x'; it must be int"),
        ("seed = 0", "seed = true", "seed is True; it must be int"),
        ("warmup = 5000", "warmup = true", "warmup is True; it must be int"),
        (
            "hidden = [\n    256,\n    256,\n]",
            "hidden = [8, 2.5]",
            r"hidden is \(8, 2.5\); it must be tuple",
        ),
        ("seed = 0", "seed = 0\ncost_limit = [3]", r"cost_limit is \(3,\); it must be float"),
        (
            "hidden = [\n    256,\n    256,\n]",
            'hidden = "256"',
            r"hidden is '256'; it must be tuple\[int, ...\]",
        ),
        ("normalise = true", "normalise = 1", "normalise is 1; it must be bool"),
        ('multiplier = "fixed"', "multiplier = 3", "multiplier is 3; it must be"),
    ],
)
def test_a_file_of_settings_that_is_not_ours_is_told(old, new, line, tmp_path):
    with pytest.raises(HandrailError, match=line):
        method_of(damaged(tmp_path, old, new))


def test_a_group_of_settings_is_a_table():
    with pytest.raises(HandrailError, match="here: pid is 3; it must be a table"):
        build(IQL, {"task": "gym/a", "pid": 3}, Path("here"))


# -- contradictions ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda: BC(task="a", cost_limit=-1.0), "cost limit is -1; it must be 0 or more"),
        (lambda: BC(task="a", cost_limit=float("nan")), "cost limit is nan"),
        (lambda: BC(task="a", seed=-1), "seed is -1"),
        *(
            (lambda cls=cls: cls(task="a", warmup=-1), "warmup is -1; it must be 0 or more")
            for cls in (IQL, CVPO, SACLag, Expert)
        ),
        (lambda: BC(task="a", episodes=0), "ask for 1 or more"),
        (lambda: DT(task="a", cost_weight=-1.0), "cost weight is -1"),
        (lambda: IQL(task="a", cost_weight=-0.5), "cost weight is -0.5"),
        (lambda: IQL(task="a", reward_unit=0.0), "reward unit is 0; it must be above 0"),
        (lambda: GOLD(task="a", reward_unit=float("nan")), "reward unit is nan"),
        (lambda: GOLD(task="a", backbone="ppo"), "backbone must be iql or cvpo, not 'ppo'"),
        (
            lambda: IQL(task="a", multiplier="lagrangian"),
            "must be fixed, gradient, pid or adaptive-pid, not",
        ),
        (lambda: IQL(task="a", cost_limit=math.inf), "is inf; it must be 0 or more, and finite"),
        (lambda: PID(math.inf), "the cost limit is inf; state one of 0 or more, and finite"),
        (lambda: GOLD(task="a", backbone="cvpo", multiplier="pid"), "take --backbone iql"),
        (
            lambda: IQL(task="a", multiplier="pid", cost_weight=11.0),
            "is 11, pid.largest is 10; low",
        ),
        (lambda: IQL(task="a", demonstration_share=1.0), r"must lie in \[0, 1\)"),
        (lambda: IQL(task="a", pretrain=-1), "pretrain is -1"),
        (lambda: GOLD(task="a", pretrain=-1), "pretrain is -1"),
        (lambda: OnlineSettings(noise=-0.5), "noise is -0.5"),
        (lambda: OnlineSettings(noise=float("nan")), "noise is nan"),
        (lambda: GOLD(task="a", demonstration_share=-0.1), "demonstration_share is -0.1"),
        (lambda: OnlineSettings(steps=0), "steps is 0; it must be 1 or more"),
        (lambda: OnlineSettings(start=0), "start is 0"),
        (lambda: OnlineSettings(evaluate_episodes=0), "evaluate_episodes is 0"),
        (lambda: OnlineSettings(block=501), r"block \(501\) is no multiple of environments \(5\)"),
        (lambda: OnlineSettings(updates_per_step=0.0), "updates_per_step is 0; it must be above 0"),
        (lambda: OnlineSettings(updates_per_step=float("inf")), "updates_per_step is inf"),
        (lambda: OnlineSettings(updates_per_step=1e-4), "gives no update"),
        (lambda: OnlineSettings(noise=float("inf")), "noise is inf"),
        (lambda: IQL(task="a", cost_weight=float("inf")), "cost weight is inf"),
        (lambda: DTSettings(target_return=float("nan")), "target_return is nan"),
        (lambda: BC(task="a", seed=2**63), "below 2.63"),
        (
            lambda: OnlineSettings(steps=700, start=100),
            r"steps \(700\) is no multiple of block \(500\)",
        ),
        (lambda: OnlineSettings(evaluate_every=750), "evaluate_every .750. is no multiple"),
        (lambda: DTSettings(weights="x"), "backbone fresh takes none"),
        (lambda: DTSettings(heads=3), "3 heads do not divide an embed of 128"),
        (lambda: GuidanceSettings(decay=float("nan")), "decay is nan"),
    ],
)
def test_contradictory_settings_are_refused_at_once(make, line):
    with pytest.raises(HandrailError, match=line):
        make()


def settings_classes() -> list[type]:
    found: list[type] = []

    def visit(cls: type) -> None:
        if cls not in found:
            found.append(cls)
            for value in vars(cls(task="a") if issubclass(cls, Method) else cls()).values():
                if is_dataclass(value):
                    visit(type(value))

    for method in METHODS.values():
        visit(method)
    return found


# Names that say all, and the groups of settings.
PLAIN = {"layers", "heads", "learning_rate", "discount", "hidden"}
PLAIN |= {"bc", "dt", "iql", "cvpo", "sac", "online", "ramp", "guidance", "cpq", "bear", "vpa"}
PLAIN |= {"clone"}


@pytest.mark.parametrize("cls", settings_classes(), ids=lambda cls: cls.__name__)
def test_each_setting_says_what_it_is(cls):
    documented = set()
    for base in cls.__mro__[:-1]:
        if is_dataclass(base):
            body = ast.parse(inspect.getsource(base)).body[0].body
            for line, after in itertools.pairwise(body):
                if isinstance(line, ast.AnnAssign) and isinstance(after, ast.Expr):
                    documented.add(line.target.id)  # type: ignore[union-attr]
    assert {field.name for field in fields(cls)} - documented - PLAIN == set()
    assert cls.__doc__


# Bounds that may be left off.
OPEN = {"clip", "most", "max_weight"}


@pytest.mark.parametrize("cls", settings_classes(), ids=lambda cls: cls.__name__)
def test_what_is_no_finite_number_is_refused_in_every_setting(cls):
    """It would end hours later in a policy that diverged, with a rate of learning to blame."""
    made = cls(task="a") if issubclass(cls, Method) else cls()
    for field in fields(cls):
        if isinstance(getattr(made, field.name), float):
            for value in (math.nan, math.inf)[: 1 if field.name in OPEN else 2]:
                with pytest.raises(HandrailError):
                    replace(made, **{field.name: value})


# -- what a run asks for before it begins --------------------------------------------------------


def test_a_whole_number_may_be_written_as_a_float():
    made = build(OnlineSettings, {"steps": 5e4, "noise": 1}, Path("x.toml"))
    assert (made.steps, type(made.steps), made.noise, type(made.noise)) == (50_000, int, 1.0, float)
    with pytest.raises(HandrailError, match=r"x.toml: steps is 0.5; it must be a whole number"):
        build(OnlineSettings, {"steps": 0.5}, Path("x.toml"))


def small(**changes) -> OnlineSettings:
    return OnlineSettings(**{"steps": 1000, "evaluate_every": 500, "start": 500, **changes})


def test_no_run_is_begun_for_what_cannot_be_done(tmp_path, demos):
    out = tmp_path / "run"
    gpt2 = DTSettings(backbone="gpt2", weights=str(tmp_path))
    for method, line in (
        (BC(task="gym/Nothing-v0", demos=demos), "Gymnasium cannot make it"),
        (BC(task=toy.TOY), f"no expert is shipped for {toy.TOY}"),
        (BC(task=toy.ENDS, demos=demos), f"demonstrations of {toy.TOY}, not of {toy.ENDS}"),
        (IQL(task=toy.TOY, demos=tmp_path / "none"), "no such file"),
        (GOLD(task=toy.TOY, demos=demos, guide="gpt"), "'gpt' is neither dt nor bc"),
        (GOLD(task=toy.TOY, demos=demos, guide=str(tmp_path)), "is not a policy"),
        (DT(task=toy.TOY, demos=demos, dt=gpt2), "config.json is missing"),
        (IQL(task=toy.TOY, online=small(buffer=499)), "start is 500, buffer 499, steps 1000"),
        (GOLD(task=toy.TOY, demos=demos, online=small(steps=500)), "start is 500, buffer 1000000"),
        (GOLD(task=toy.TOY, demos=demos, dt=gpt2), "config.json is missing"),
    ):
        with pytest.raises(HandrailError, match=line):
            start(replace(method, out=out))
        assert not out.exists()


def test_a_trained_guide_needs_demonstrations_where_the_student_learns_from_them(tmp_path):
    import jax

    from handrail.networks import Actor

    guide = tmp_path / "guide"
    actor = Actor(3, 1, (4,), squashed=False, key=jax.random.key(0))
    spec = Spec(toy.TOY, 3, 1, (-2.0,), (2.0,), toy.HORIZON, 25.0)
    save_policy(MLPPolicy.of(actor), guide, spec)
    GOLD(task=toy.TOY, guide=str(guide), demonstration_share=0.0, pretrain=0).check()
    for seeded in ({"demonstration_share": 0.0}, {"pretrain": 0}):
        with pytest.raises(HandrailError, match="no expert is shipped"):
            GOLD(task=toy.TOY, guide=str(guide), **seeded).check()
    with pytest.raises(HandrailError, match=f"is of {toy.TOY}, not of {toy.ENDS}"):
        GOLD(task=toy.ENDS, guide=str(guide), demonstration_share=0.0, pretrain=0).check()


def test_the_guide_is_judged_by_the_runs_cost_limit(tmp_path, demos):
    method = GOLD(
        task=toy.TOY,
        demos=demos,
        guide="bc",
        cost_limit=3.5,
        bc=BCSettings(hidden=(4,), updates=1, batch=2),
    )
    with Run.create(tmp_path / "run", method.settings()) as run:
        method.fit_guide(run, Watcher())
    summary = Run.open(tmp_path / "run" / "guide").summary()
    assert summary is not None
    assert summary["validation"]["cost_limit"] == 3.5


def test_the_report_at_the_end_is_of_episodes_that_chose_nothing():
    """Neither of an evaluation of the default size, nor of training, evaluation, demonstrations."""
    report = range(REPORT_SEED, REPORT_SEED + JUDGED)
    choosing = range(VALIDATION_SEED, VALIDATION_SEED + 10 * OnlineSettings().evaluate_episodes)
    assert not set(report) & set(choosing)
    assert 99 < min(report) <= max(report) < 1000
