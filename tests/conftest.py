"""What every test shares: strict shapes, and one small task."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import jax
import pytest
import toy

from handrail.types import Spec

jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture
def spec() -> Spec:
    """Three observations, two actions, the unit box."""
    return Spec("test/Small", 3, 2, (-1.0, -1.0), (1.0, 1.0), horizon=10, cost_limit=5.0)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """For modules that train again and again: what was compiled once is read from there."""
    with toy.compiled_once(tmp_path_factory.getbasetemp() / "compiled") as directory:
        yield directory
