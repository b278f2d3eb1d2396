"""The dual problem of CVPO's E-step (Liu et al. 2022, Sec. 4.2): two scalars, found to convergence.

``q`` and ``qc`` are the values of M actions of the old policy at each of B states.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

RANGE = (1e-6, 1e5)
"""Of eta and, below its own largest, of lambda (CVPO's code)."""
LOW, HIGH = math.log(RANGE[0]), math.log(RANGE[1])


class Dual(NamedTuple):
    """What the E-step solves for."""

    eta: Float[Array, ""]
    """Temperature: of the KL bound."""
    lam: Float[Array, ""]
    """Multiplier of the cost limit."""


def dual_objective(
    dual: Dual,
    q: Float[Array, "B M"],
    qc: Float[Array, "B M"],
    limit: Float[Array, ""] | float,
    epsilon: float,
) -> Float[Array, ""]:
    """g(eta, lambda) = eta eps + lambda limit + eta E[log mean_a exp((Q - lambda Qc) / eta)], which
    is convex. Eq. 9."""
    z = (q - dual.lam * qc) / dual.eta
    soft = jax.nn.logsumexp(z, axis=1) - jnp.log(q.shape[1])
    return dual.eta * epsilon + dual.lam * limit + dual.eta * soft.mean()


def weights(dual: Dual, q: Float[Array, "B M"], qc: Float[Array, "B M"]) -> Float[Array, "B M"]:
    """The E-step's q(a|s): a softmax of (Q - lambda Qc) / eta over the actions. Eq. 8."""
    return jax.nn.softmax((q - dual.lam * qc) / dual.eta, axis=1)


def solve_dual(
    start: Dual,
    q: Float[Array, "B M"],
    qc: Float[Array, "B M"],
    limit: Float[Array, ""] | float,
    epsilon: float,
    most: float = RANGE[1],
) -> tuple[Dual, Int[Array, ""]]:
    """The minimum of the dual in ``RANGE``, lambda at most ``most``, to convergence, and the
    iterations it took.

    Newton's method in x = (log eta, log lambda) within a trust region. In the logarithms a convex g
    keeps its one minimum but may bend downwards on the way; the gradient's size on the Hessian's
    diagonal makes every direction one of descent, so a step that is short enough is accepted.
    """
    high = jnp.array([HIGH, math.log(most)])
    limit = limit - qc.mean()
    q = q - q.mean(1, keepdims=True)  # shifts g by a constant
    qc = qc - qc.mean(1, keepdims=True)

    def improved(carry):
        at, radius, _, n = carry
        step = at.newton * jnp.minimum(1.0, radius / jnp.abs(at.newton).max())
        new = _Point.at(jnp.clip(at.x + step, LOW, high), q, qc, limit, epsilon, high)
        # Up to rounding: far out g is large and nearly flat, and the way goes on.
        better = new.value <= at.value + 1e-6 * jnp.abs(at.value)
        moved = jnp.abs(new.x - at.x).max()
        at = jax.tree.map(lambda a, b: jnp.where(better, b, a), at, new)
        radius = jnp.where(better, jnp.minimum(2 * radius, 2.0), moved / 4)
        return at, radius, moved, n + 1

    begin = jnp.clip(jnp.log(jnp.stack(start)), LOW, high)
    first = _Point.at(begin, q, qc, limit, epsilon, high)
    at, _, _, n = jax.lax.while_loop(
        lambda carry: (carry[2] > 1e-4) & (carry[3] < 100),
        improved,
        (first, jnp.float32(2.0), jnp.float32(jnp.inf), jnp.int32(0)),
    )
    return Dual(jnp.exp(at.x[0]), jnp.exp(at.x[1])), n


class _Point(NamedTuple):
    """Where the search for the dual's minimum stands."""

    x: Float[Array, " 2"]
    value: Float[Array, ""]
    newton: Float[Array, " 2"]

    @classmethod
    def at(cls, x, q, qc, limit, epsilon, high) -> _Point:
        """``q`` and ``qc`` have mean 0 over the actions; ``limit`` is what the mean of Qc leaves.

        With p the weights and z = Q - lambda Qc: dg/d eta = eps - E[KL(p || uniform)], dg/d lambda
        = limit - E_p[Qc]; second derivatives are variances and the covariance of z and Qc under p.
        By the chain rule a derivative by log eta has a factor eta, one by log lambda one of lambda.
        """
        eta, lam = jnp.exp(x[0]), jnp.exp(x[1])
        z = q - lam * qc
        log_p = jax.nn.log_softmax(z / eta, axis=1)
        p = jnp.exp(log_p)
        qc_p = (p * qc).sum(1, keepdims=True)
        z_off, qc_off = z - (p * z).sum(1, keepdims=True), qc - qc_p
        kl = (p * log_p).sum(1).mean() + jnp.log(q.shape[1])
        g = jnp.stack([eta * (epsilon - kl), lam * (limit - qc_p.mean())])
        # One at its bound that would leave it stays, and the other moves alone.
        stuck = ((x < LOW + 1e-5) & (g > 0)) | ((x > high - 1e-5) & (g < 0))
        g = jnp.where(stuck, 0.0, g)
        of_eta = (p * z_off**2).sum(1).mean() / eta + jnp.abs(g[0]) + 1e-12
        of_lam = (p * qc_off**2).sum(1).mean() * lam**2 / eta + jnp.abs(g[1]) + 1e-12
        # d^2 g / (d eta d lambda) = Cov_p(z, Qc) / eta^2
        both = (p * z_off * qc_off).sum(1).mean() * lam / eta
        both = jnp.where(stuck.any(), 0.0, both)
        newton = jnp.stack([both * g[1] - of_lam * g[0], both * g[0] - of_eta * g[1]])
        value = dual_objective(Dual(eta, lam), q, qc, limit, epsilon)
        return cls(x, value, newton / (of_eta * of_lam - both**2))
