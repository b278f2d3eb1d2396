"""CVPO in eager PyTorch, as published codes write it: the yardstick of ``cvpo.py``.

The same networks, batch, actions, M-steps and Adam as ``handrail.learners.cvpo``; the dual by
SciPy's SLSQP, CVPO's choice, from the last solution.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from _torch_iql import Twin, mlp
from scipy.optimize import minimize
from torch import Tensor
from torch.distributions import Normal
from torch.nn.functional import mse_loss

from handrail.learners.cvpo import MULTIPLIER_MOST, MULTIPLIER_STEP, CVPOSettings
from handrail.learners.cvpo_dual import RANGE
from handrail.training import discounted_limit
from handrail.types import Batch, Spec


class TorchCVPO:
    """The state and its update."""

    def __init__(self, settings: CVPOSettings, spec: Spec, cost_limit: float):
        o, a, hidden = spec.observation_size, spec.action_size, settings.hidden
        self.settings = settings
        self.limit = float(discounted_limit(cost_limit, settings.discount, spec.horizon))
        self.actor = mlp(o, hidden, 2 * a)
        self.critic, self.cost_critic = Twin(o + a, hidden), Twin(o + a, hidden)
        nets = (self.actor, self.critic, self.cost_critic)
        self.old, self.target, self.cost_target = (
            copy.deepcopy(net).requires_grad_(False) for net in nets
        )
        rates = (settings.actor_rate, settings.critic_rate, settings.critic_rate)
        self.adams = [torch.optim.Adam(n.parameters(), r) for n, r in zip(nets, rates, strict=True)]
        self.dual = np.array([0.1, 0.1])
        self.multipliers = torch.zeros(2)

    def _descend(self, which: int, loss: Tensor) -> None:
        self.adams[which].zero_grad(set_to_none=True)
        loss.backward()
        self.adams[which].step()

    @staticmethod
    def _normal(net: torch.nn.Module, s: Tensor) -> Normal:
        mean, log_std = net(s).chunk(2, -1)
        return Normal(mean, log_std.clamp(-5, 2).exp())

    def _solve(self, q: np.ndarray, qc: np.ndarray) -> None:
        def dual(x: np.ndarray) -> tuple[float, np.ndarray]:
            eta, lam = x
            z = (q - lam * qc) / eta
            top = z.max(1, keepdims=True)
            weight = np.exp(z - top)
            soft = top[:, 0] + np.log(weight.mean(1))
            p = weight / weight.sum(1, keepdims=True)
            slope_eta = self.settings.epsilon + soft.mean() - (p * z).sum(1).mean()
            slope_lam = self.limit - (p * qc).sum(1).mean()
            value = eta * (self.settings.epsilon + soft.mean()) + lam * self.limit
            return value, np.array([slope_eta, slope_lam])

        bounds = [RANGE, (RANGE[0], self.settings.largest_multiplier)]
        found = minimize(dual, self.dual, jac=True, method="SLSQP", bounds=bounds)
        self.dual = np.clip(found.x, *np.transpose(bounds))

    def update(
        self, s: Tensor, a: Tensor, r: Tensor, c: Tensor, s2: Tensor, terminated: Tensor
    ) -> None:
        k = self.settings
        with torch.no_grad():
            a2 = torch.tanh(self._normal(self.old, s2).sample())
            y = r + k.discount * (1 - terminated) * torch.minimum(*self.target(s2, a2))
            yc = c + k.discount * sum(self.cost_target(s2, a2)) / 2
        for which, net, goal in ((1, self.critic, y), (2, self.cost_critic, yc)):
            one, two = net(s, a)
            self._descend(which, mse_loss(one, goal) + mse_loss(two, goal))

        with torch.no_grad():  # E-step
            old = self._normal(self.old, s)
            u = old.sample((k.actions,))  # M x B x A
            among = s.expand(k.actions, *s.shape), torch.tanh(u)
            q = torch.minimum(*self.target(*among))
            qc = sum(self.cost_target(*among)) / 2
            self._solve(q.T.numpy().astype(float), qc.T.numpy().astype(float))
            eta, lam = self.dual
            p = torch.softmax((q - lam * qc) / eta, 0)

        for _ in range(k.m_steps):
            new = self._normal(self.actor, s)
            of_mean, of_std = Normal(new.loc, old.scale), Normal(old.loc, new.scale)
            fit = (p * (of_mean.log_prob(u) + of_std.log_prob(u)).sum(-1)).sum(0).mean()
            kl = torch.stack(
                [
                    torch.distributions.kl_divergence(old, n).sum(-1).mean()
                    for n in (of_mean, of_std)
                ]
            )
            bound = torch.tensor([k.epsilon_mean, k.epsilon_std])
            self._descend(0, -fit - k.actions * (self.multipliers * (bound - kl)).sum())
            moved = self.multipliers + torch.tensor(MULTIPLIER_STEP) * (kl.detach() - bound)
            self.multipliers = torch.minimum(moved.clamp(min=0), torch.tensor(MULTIPLIER_MOST))

        with torch.no_grad():
            for net, average in (
                (self.actor, self.old),
                (self.critic, self.target),
                (self.cost_critic, self.cost_target),
            ):
                for t, n in zip(average.parameters(), net.parameters(), strict=True):
                    t.lerp_(n, k.tau)


def tensors(batches: Batch) -> list[tuple[Tensor, ...]]:
    """N x B batches as one tuple of tensors an update."""
    return list(zip(*(torch.from_numpy(np.array(x)).unbind() for x in batches), strict=True))
