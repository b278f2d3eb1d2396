"""``handrail evaluate RUN|POLICY|DEMOS``"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from tyro.conf import Positional

from handrail import envs, results
from handrail import video as films
from handrail.commands._cli import parse, show
from handrail.data import sources
from handrail.data.episodes import Episode, Episodes
from handrail.errors import HandrailError
from handrail.evaluate import EVALUATION_SEED, evaluate, report, table
from handrail.jobs import method_of
from handrail.policy_files import load_policy, require_fit
from handrail.progress import Console
from handrail.runs import Run
from handrail.storage import require_place


def main(argv: list[str]) -> None:
    parse(evaluate_, argv, "evaluate")


def evaluate_(
    path: Positional[Path],
    episodes: int | None = None,
    seed: int = EVALUATION_SEED,
    cost_limit: float | None = None,
    task: str | None = None,
    json: bool = False,
    append: Path | None = None,
    append_curve: Path | None = None,
    video: Path | None = None,
    paths: Path | None = None,
) -> None:
    """Return, cost, length and violations, with 95% intervals. The same call, the same numbers.

    Args:
        path: a run, a policy's directory, or demonstrations.
        episodes: how many to play, or to read of demonstrations; 50, or all that there are.
        seed: of the first episode; the others follow. Evaluations use 1000 and above.
        cost_limit: of an episode, undiscounted; by default the run's, or else the task's.
        task: another task than the policy's own, of the same sizes.
        json: one JSON object instead of a table.
        append: add a row to this table of results (CSV); a run's only, of its own task and from
            seed 1000. One for each --cost-limit.
        append_curve: add the run's learning curve to this table (CSV), in place of one of the same
            task, method and seed.
        video: film the first episode to this file (.mp4, .gif or .webp).
        paths: draw the ways of the first episodes, six at most, to this file (.png, .svg, .pdf);
            native tasks only.
    """
    if cost_limit is not None and not 0 <= cost_limit < float("inf"):
        raise HandrailError(f"the cost limit is {cost_limit:g}; it must be 0 or more, and finite")
    if not path.exists():
        raise HandrailError(f"{path}: there is no such run, policy or data set")
    asked = cost_limit
    run = Run.open(path) if (path / "settings.toml").is_file() else None
    if run is None and (append is not None or append_curve is not None):
        raise HandrailError("--append takes a run: a policy alone does not say how it was made")
    if append is not None and run is not None:
        results.require_complete(run)
        if task not in (None, run.settings["task"]) or seed != EVALUATION_SEED:
            raise HandrailError(
                "--append keeps what tables compare: episodes of the run's own task, from seed "
                f"{EVALUATION_SEED}; leave --task and --seed out"
            )
    for file, columns in (
        (append, results.COLUMNS),
        (append_curve, results.CURVE_COLUMNS),
    ):
        if file is not None:
            results.require_table(file, columns)
    shown, played = None, []
    if run is None and not (path / "card.json").is_file():
        if video is not None or paths is not None:
            raise HandrailError("--video and --paths take a run or a policy, which can be played")
        found = _demonstrations(sources.read(path), episodes, cost_limit, task)
    else:
        policy, spec = load_policy(path)
        require_fit(path, spec, envs.spec(task or spec.task))
        shown = _Shown(task or spec.task, video, paths)
        label, console = path.name, Console()
        if run is not None:
            method = method_of(run)
            cost_limit = method.cost_limit if cost_limit is None else cost_limit
            # A complete run knows it; the guide that it began with may have moved since.
            label = (run.summary() or {}).get("method") or method.label
        found, played = evaluate(
            policy,
            lambda: envs.make(task or spec.task),
            episodes=50 if episodes is None else episodes,
            seed=seed,
            cost_limit=cost_limit,
            method=label,
            watcher=console if console.terminal.is_terminal else None,  # else only the report
        )
    show(found, table(found), as_json=json)
    if run is not None and append is not None:
        results.append_row(append, run, found, asked)
    if run is not None and append_curve is not None:
        results.append_curve(append_curve, run, found["method"])
    if shown is not None:
        shown.draw(played)


class _Shown:
    """Film and drawing of the first episodes; what they need is checked before any is played."""

    def __init__(self, task: str, video: Path | None, paths: Path | None):
        self.task, self.video, self.paths = task, video, paths
        if video is not None:
            films.check(video)
            envs.make(task, pictures=True).close()
        if paths is not None and not task.startswith("native/"):
            raise HandrailError(f"{task} is no native task: its paths cannot be drawn")
        if paths is not None and paths.suffix not in (".png", ".svg", ".pdf"):
            raise HandrailError(f"{paths}: drawings are .png, .svg or .pdf; name one of them")
        if paths is not None:
            require_place(paths)

    def draw(self, played: Sequence[Episode]) -> None:
        if self.video is not None:
            with closing(envs.make(self.task, pictures=True)) as env:
                films.film(played[0], env, self.video)
        if self.paths is not None:
            from handrail.envs.native.paths import draw, follow

            first = played[:6]
            with closing(envs.make(self.task)) as env:
                ways = [follow(episode, env) for episode in first]
            try:
                draw(ways, [f"episode {e.seed}" for e in first]).savefig(self.paths, dpi=150)
            except OSError as error:
                raise HandrailError(
                    f"{self.paths}: cannot be written ({error.strerror}); write elsewhere"
                ) from error


def _demonstrations(
    played: Episodes, episodes: int | None, cost_limit: float | None, task: str | None
) -> dict:
    asked, task = task, task or played.task
    if task is None and cost_limit is None:
        raise HandrailError("this data set names no task; say --task, or --cost-limit")
    if episodes is not None and not 1 <= episodes <= len(played):
        raise HandrailError(f"{episodes} episodes of {len(played)}: ask for 1 to {len(played)}")
    if asked or cost_limit is None:
        assert task is not None
        spec = envs.spec(task)
        played.require(spec)
        cost_limit = spec.cost_limit if cost_limit is None else cost_limit
    return report(
        played[:episodes],
        task=task or "?",
        method="demonstrations",
        seed=played[0].seed,
        cost_limit=cost_limit,
    )
