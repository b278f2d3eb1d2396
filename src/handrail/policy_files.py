"""Policies on disk: a directory of safetensors and a JSON card, of any kind that can act."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from handrail.errors import HandrailError, typed
from handrail.policies import MLPPolicy, Storable
from handrail.storage import read_policy, write_policy
from handrail.types import Policy, Spec


def save_policy(policy: Storable, path: Path, spec: Spec) -> None:
    """Write the policy's directory, ready to load; one that is there is replaced at once."""
    arrays, card = policy.to_arrays()
    write_policy(path, arrays, {**card, "spec": asdict(spec)})


def load_policy(path: str | Path, spec: Spec | None = None) -> tuple[Storable, Spec]:
    """A policy, acting deterministically, and the sizes of its task.

    Args:
        path: the policy's directory, or that of a run that has one.
        spec: of the task that it is to act in, where that may be another.

    Raises:
        HandrailError: there is none (yet), it is damaged, of another version or unknown kind, or
            its sizes are not those of ``spec``.
    """
    path = Path(path)
    if (path / "settings.toml").is_file():
        card = path / "policy" / "card.json"
        if not card.is_file() and (path / "summary.json").is_file():
            raise HandrailError(f"{card} is missing, though the run is complete; restore it")
        if not card.is_file():
            raise HandrailError(
                f"{path} has no policy yet; finish it with `handrail resume {typed(path)}`"
            )
        path = path / "policy"
    try:
        arrays, card = read_policy(path)
        kind = card.get("kind")
        if kind == "mlp":
            policy: Storable = MLPPolicy.from_arrays(arrays, card)
        elif kind == "decision-transformer":
            from handrail.transformer_policy import DTPolicy

            policy = DTPolicy.from_arrays(arrays, card)
        elif kind == "expansion":
            from handrail.expansion import ExpandedPolicy

            policy = ExpandedPolicy.from_arrays(arrays, card)
        else:
            raise HandrailError(f"{path} holds a policy of unknown kind {kind!r}")
        theirs = Spec.of(card["spec"])
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise HandrailError(f"{path} is damaged ({error!r}); restore it") from error
    if isinstance(policy, MLPPolicy):
        _require_sizes(path, policy, theirs)
    if spec is not None:
        require_fit(path, theirs, spec)
    return policy, theirs


def _require_sizes(path: Path, policy: MLPPolicy, spec: Spec) -> None:
    """Layers and card are of one policy."""
    outputs = spec.action_size * (2 if policy.squashed else 1)
    sizes = policy.weights[0].shape[0], policy.weights[-1].shape[1]
    std = None if policy.log_std is None else policy.log_std.shape
    if sizes != (spec.observation_size, outputs) or (
        std != (None if policy.squashed else (spec.action_size,))
    ):
        raise HandrailError(
            f"{path} is damaged (layers of other sizes than its card's); restore it"
        )


def require_fit(path: Path, theirs: Spec, spec: Spec) -> None:
    """Raise a HandrailError where a policy of ``theirs`` cannot act in ``spec``, or would act
    otherwise there than where it was trained: another task of the same sizes may have another
    box, the same one has changed since."""
    for name in ("observation_size", "action_size"):
        have, want = getattr(theirs, name), getattr(spec, name)
        if have != want:
            raise HandrailError(
                f"{path} is a policy of {theirs.task}, whose {name.replace('_', ' ')} is {have}; "
                f"that of {spec.task} is {want}"
            )
    boxes = [(of.action_low, of.action_high) for of in (theirs, spec)]
    if theirs.task == spec.task and boxes[0] != boxes[1]:
        (was, now) = (f"{list(low)} to {list(high)}" for low, high in boxes)
        raise HandrailError(
            f"{path} is a policy of {theirs.task} as it was when actions lay in {was}; now they "
            f"lie in {now}: restore the simulator, or train anew"
        )


def load_guide(path: Path, task: str) -> Policy:
    """The policy there, acting deterministically.

    Raises:
        HandrailError: as ``load_policy``, or it is of another task.
    """
    if not path.is_dir():
        raise HandrailError(f"the guide {path} is no directory; name a run's or a policy's")
    from handrail import envs

    policy, spec = load_policy(path)
    if spec.task != task:
        raise HandrailError(f"the guide {path} is of {spec.task}, not of {task}")
    require_fit(path, spec, envs.spec(task))
    return policy
