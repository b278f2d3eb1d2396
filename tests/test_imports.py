"""Imports point one way: types <- networks, training <- learners, ... <- gold, marvel <- cli."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "handrail"
LAYERS = [
    {"errors", "types", "products"},
    {"networks", "training"},
    {"learners", "guidance", "prealignment", "multipliers", "pid"},
    {"gold", "marvel"},
    {"cli"},
]
LAYER = {name: i for i, names in enumerate(LAYERS) for name in names}
# Parameters in, parameters out: a learner knows no environment, no file and no log.
NO_LEARNER_IMPORTS = {"envs", "runs", "rollout", "online", "evaluate", "report", "logging"}


def imported(path: Path) -> set[str]:
    """First name below ``handrail`` of each of our modules, full name of others."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = node.module or ""
            names |= {f"{module}.{alias.name}" for alias in node.names}
    return {name.split(".")[1] if name.startswith("handrail.") else name for name in names}


def modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_point_one_way(path: Path):
    own = path.relative_to(SOURCE).with_suffix("").parts[0]
    names = imported(path)
    if own in LAYER:
        above = {name for name in names if LAYER.get(name, -1) > LAYER[own]}
        assert not above, f"{own} imports {above}, which stand above it"
    if own == "learners":
        wrong = {name for name in names if name.split(".")[0] in NO_LEARNER_IMPORTS}
        assert not wrong, f"a learner imports {wrong}"


def test_the_parser_sees_imports(tmp_path: Path):
    file = tmp_path / "module.py"
    file.write_text(
        "import logging.handlers\nfrom handrail import envs\nfrom handrail.gold import f"
    )
    assert imported(file) == {"logging.handlers", "envs", "gold"}
