"""Imports point one way: types <- networks, training <- learners, ... <- gold, marvel <- cli."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "handrail"
LAYERS = [
    {"__init__", "answers", "errors", "machine", "products", "stats", "style", "types"},
    {
        "cli",
        "events_file",
        "metrics_file",
        "multipliers",
        "networks",
        "progress",
        "storage",
        "transformer",
    },
    {"__main__", "data", "figures", "pid"},  # the command line finds the others by name
    {"envs", "policies", "runs"},
    {"behaviour", "handover", "offline", "results", "rollout", "training", "video"},
    {"evaluate", "guidance", "judge", "learners"},
    {"expansion", "online_settings", "prealignment", "transformer_policy"},
    {"policy_files"},
    {"demonstrations", "online"},
    {"datasets", "methods"},
    {"offline_methods", "online_methods"},
    {"fine_tuning", "gold"},
    {"baselines", "marvel"},
    {"combined"},
    {"drawing"},
    {"jobs"},
    {"tables"},
    {"page"},
    {"commands"},
]
LAYER = {name: i for i, names in enumerate(LAYERS) for name in names}
# Parameters in, parameters out: a learner knows no environment, no run, no file of its own and no
# log, nor does anything that it imports.
NO_LEARNER_IMPORTS = {"envs", "runs", "rollout", "online", "evaluate", "progress", "logging"}


def imported(path: Path) -> set[str]:
    """Full names of what a file imports, ours without ``handrail.``."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.removeprefix("handrail.") for name in names}


def modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def top(path: Path) -> str:
    return path.relative_to(SOURCE).with_suffix("").parts[0]


def test_every_module_has_its_place():
    assert {top(path) for path in modules()} == set(LAYER)


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_point_one_way(path: Path):
    own = top(path)
    names = {name.split(".")[0] for name in imported(path)} - {own}
    above = {name for name in names if LAYER.get(name, -1) >= LAYER[own]}
    assert not above, f"{own} imports {above}, which stand beside or above it"


def file_of(name: str) -> Path | None:
    """Of a name that is imported: a module, or what a module holds."""
    parts = name.split(".")
    for n in (len(parts), len(parts) - 1):
        stem = SOURCE.joinpath(*parts[:n])
        for file in (stem.with_suffix(".py"), stem / "__init__.py"):
            if n and file.is_file():
                return file
    return None


def reached(path: Path) -> set[str]:
    """Full names of all that comes with a file."""
    names, files, left = set(), {path}, [path]
    while left:
        found = imported(left.pop())
        names |= found
        new = {file for name in found if (file := file_of(name))} - files
        files |= new
        left += new
    return names


@pytest.mark.parametrize("path", sorted((SOURCE / "learners").glob("*.py")), ids=lambda p: p.stem)
def test_what_a_learner_brings_along(path: Path):
    wrong = {name for name in reached(path) if name.split(".")[0] in NO_LEARNER_IMPORTS}
    assert not wrong, f"{path.stem} brings {wrong}"


def test_the_parser_sees_imports(tmp_path: Path):
    file = tmp_path / "module.py"
    file.write_text(
        "import logging.handlers\nfrom handrail import envs\nfrom handrail.gold import f"
    )
    assert imported(file) == {"logging.handlers", "envs", "gold.f"}
    assert reached(file) >= {"logging.handlers", "envs.cmdp.CMDP"}
    assert file_of("gold.f") == SOURCE / "gold.py"
