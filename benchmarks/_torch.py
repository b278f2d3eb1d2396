"""The yardsticks in eager PyTorch, where it is installed."""

from __future__ import annotations

import importlib
from typing import Any


def yardstick(module: str) -> Any:
    """The module beside this one, or None where PyTorch is missing."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        print("PyTorch is not installed here: no comparison (pip install torch)")
        return None
