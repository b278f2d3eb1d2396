"""handrail: offline-to-online safe reinforcement learning.

GOLD (Guided Online Distillation, ICRA 2024) lives in ``handrail.gold``.
"""

__version__ = "0.1.0"
