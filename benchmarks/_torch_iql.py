"""IQL in eager PyTorch, as published codes write it: the yardstick of ``learner.py``.

The same networks, batch, order (V, actor, Q, target) and Adam as ``handrail.learners.iql``.
"""

from __future__ import annotations

import copy
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from handrail.learners.iql import IQLSettings
from handrail.types import Batch, Spec


def mlp(inputs: int, hidden: tuple[int, ...], outputs: int) -> nn.Sequential:
    sizes = (inputs, *hidden)
    layers = [m for i, o in pairwise(sizes) for m in (nn.Linear(i, o), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], outputs))


class Twin(nn.Module):
    def __init__(self, inputs: int, hidden: tuple[int, ...]):
        super().__init__()
        self.members = nn.ModuleList(mlp(inputs, hidden, 1) for _ in range(2))

    def forward(self, observation: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        x = torch.cat([observation, action], -1)
        one, two = self.members
        return one(x).squeeze(-1), two(x).squeeze(-1)


class Actor(nn.Module):
    def __init__(self, observation: int, hidden: tuple[int, ...], action: int):
        super().__init__()
        self.trunk = mlp(observation, hidden, action)
        self.log_std = nn.Parameter(torch.zeros(action))

    def log_prob(self, observation: Tensor, action: Tensor) -> Tensor:
        mean = torch.tanh(self.trunk(observation))
        std = self.log_std.clamp(-5, 2).exp()
        return torch.distributions.Normal(mean, std).log_prob(action).sum(-1)


class TorchIQL:
    """The state and its update; ``update`` waits for nothing and reads no value back."""

    def __init__(self, settings: IQLSettings, spec: Spec):
        o, a, hidden = spec.observation_size, spec.action_size, settings.hidden
        self.settings = settings
        self.value, self.actor = mlp(o, hidden, 1), Actor(o, hidden, a)
        self.critic = Twin(o + a, hidden)
        self.target = copy.deepcopy(self.critic).requires_grad_(False)
        nets = (self.value, self.actor, self.critic)
        self.adams = [torch.optim.Adam(net.parameters(), settings.learning_rate) for net in nets]

    def _descend(self, which: int, loss: Tensor) -> None:
        self.adams[which].zero_grad(set_to_none=True)
        loss.backward()
        self.adams[which].step()

    def update(self, s: Tensor, a: Tensor, r: Tensor, s2: Tensor, terminated: Tensor) -> None:
        c = self.settings
        with torch.no_grad():
            q = torch.minimum(*self.target(s, a))
        u = q - self.value(s).squeeze(-1)
        self._descend(0, (torch.abs(c.expectile - (u < 0).float()) * u**2).mean())

        with torch.no_grad():
            advantage = q - self.value(s).squeeze(-1)
            y = r + c.discount * (1 - terminated) * self.value(s2).squeeze(-1)
            weight = (c.temperature * advantage).exp().clamp(max=c.max_weight)
        self._descend(1, -(weight * self.actor.log_prob(s, a)).mean())

        one, two = self.critic(s, a)
        self._descend(2, mse_loss(one, y) + mse_loss(two, y))
        with torch.no_grad():
            for t, p in zip(self.target.parameters(), self.critic.parameters(), strict=True):
                t.lerp_(p, c.tau)


def tensors(batches: Batch, cost_weight: float) -> list[tuple[Tensor, ...]]:
    """N x B batches as one tuple of tensors an update, shaped beforehand."""
    b = batches.shaped(cost_weight)
    arrays = (b.observation, b.action, b.reward, b.next_observation, b.terminated)
    return list(zip(*(torch.from_numpy(np.array(x)).unbind() for x in arrays), strict=True))
