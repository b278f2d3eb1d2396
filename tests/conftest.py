"""What every test shares: strict shapes, and one small task."""

import jax
import pytest

from handrail.types import Spec

jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture
def spec() -> Spec:
    """Three observations, two actions, the unit box."""
    return Spec("test/Small", 3, 2, (-1.0, -1.0), (1.0, 1.0), horizon=10, cost_limit=5.0)
