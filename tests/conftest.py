"""What every test shares: strict shapes, and one small task."""

from __future__ import annotations

import os
from collections.abc import Iterator

# Read when JAX is loaded, here and in every process that a test starts. The compiler takes most of
# the tests' time, for programs that run for a moment. test_demo.py compiles as users do.
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"

import jax
import pytest
import toy

from handrail.types import Spec

jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture
def spec() -> Spec:
    """Three observations, two actions, the unit box."""
    return Spec("test/Small", 3, 2, (-1.0, -1.0), (1.0, 1.0), horizon=10, cost_limit=5.0)


@pytest.fixture(scope="session", autouse=True)
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests train again and again: what was compiled once is read back, by all workers."""
    base = tmp_path_factory.getbasetemp()
    with toy.compiled_once(
        (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "compiled"
    ):
        yield
