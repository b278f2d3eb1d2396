"""What is written at once, and what of another form is refused."""

from __future__ import annotations

import errno
import json
import os
import threading
from pathlib import Path

import numpy as np
import pytest
import toy

from handrail import demonstrations, envs
from handrail.cli import main
from handrail.errors import Busy, HandrailError
from handrail.evaluate import report
from handrail.multipliers import within_limit
from handrail.policies import MLPPolicy
from handrail.policy_files import load_guide, load_policy, save_policy
from handrail.progress import Watcher
from handrail.storage import alone, draft_of, read_policy, write_file, write_policy


def test_commands_that_rewrite_a_file_at_once_lose_nothing(tmp_path):
    file = tmp_path / "rows"
    file.write_text("")

    def enter(name: str) -> None:
        for i in range(40):
            with draft_of(file) as draft:
                draft.write(file.read_bytes() + f"{name}{i}\n".encode())

    threads = [threading.Thread(target=enter, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    expected = {f"{name}{i}" for name in "abc" for i in range(40)}
    assert sorted(file.read_text().split()) == sorted(expected)
    assert list(tmp_path.iterdir()) == [file]


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    file = tmp_path / "rows"
    file.write_text("kept")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"), draft_of(file) as draft:
        draft.write(b"new")
    with pytest.raises(OSError, match="No space"):
        write_file(file, b"new")
    assert (file.read_text(), list(tmp_path.iterdir())) == ("kept", [file])


def test_who_is_busy_is_told_by_type(tmp_path):
    with alone(tmp_path), pytest.raises(Busy, match="another process is training"), alone(tmp_path):
        pass


# -- policy files ---------------------------------------------------------------------------------


@pytest.fixture
def policy(tmp_path) -> Path:
    layers = [(3, 4), (4, 2)]
    made = MLPPolicy(
        tuple(np.zeros(shape, np.float32) for shape in layers),
        tuple(np.zeros(shape[1], np.float32) for shape in layers),
        log_std=None,
        squashed=True,
    )
    save_policy(made, tmp_path / "policy", envs.make(toy.TOY).spec_)
    return tmp_path / "policy"


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "recipe"},
        {"layers": 1},
        {"spec": {}},
        {"spec": {"task": 3}},
        {"spec": None},
        {"kind": "decision-transformer"},
        {"kind": "expansion"},
    ],
)
def test_a_card_of_another_form_is_refused(change, policy, capsys):
    load_policy(policy)
    file = policy / "card.json"
    record = json.loads(file.read_text())
    if change.get("spec"):
        change = {"spec": record["card"]["spec"] | change["spec"]}
    file.write_text(json.dumps(record | {"card": record["card"] | change}))
    with pytest.raises(HandrailError, match=r"is damaged|of unknown kind"):
        load_policy(policy)
    assert main(["evaluate", str(policy), "--episodes", "1"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda arrays: arrays | {"weight0": arrays["weight0"].T},  # as PyTorch lays it out
        lambda arrays: arrays | {"bias1": arrays["bias1"][:1]},
        lambda arrays: arrays | {"weight1": arrays["weight1"][:, :1], "bias1": arrays["bias1"][:1]},
        lambda arrays: arrays | {"log_std": np.zeros(1, np.float32)},
    ],
)
def test_layers_that_do_not_fit_are_refused(change, policy, tmp_path):
    arrays, card = read_policy(policy)
    write_policy(tmp_path / "other", change(arrays), card)
    with pytest.raises(HandrailError, match=r"other is damaged \(.*; restore it"):
        load_policy(tmp_path / "other")


def test_a_policy_of_a_simulator_that_has_changed_is_refused(policy, capsys):
    """Of other sizes it cannot act there; in another box its actions mean something else."""
    file = policy / "card.json"
    record = json.loads(file.read_text())
    record["card"]["spec"]["action_high"] = [3.0]
    file.write_text(json.dumps(record))
    assert main(["evaluate", str(policy), "--episodes", "1"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "as it was when actions lay in [-2.0] to [3.0]; now they lie in [-2.0] to [2.0]" in line
    with pytest.raises(HandrailError, match="restore the simulator, or train anew"):
        load_guide(policy, toy.TOY)


def test_what_a_link_leads_to_is_written_and_the_link_stays(tmp_path):
    (tmp_path / "there").mkdir()
    real, link = tmp_path / "there" / "file", tmp_path / "link"
    link.symlink_to(real)
    write_file(link, b"one")
    with draft_of(link) as draft:
        draft.write(b"two")
    assert link.is_symlink()
    assert real.read_bytes() == b"two"
    with pytest.raises(OSError, match="it is no regular file"):
        write_file(Path("/dev/null"), b"three")
    with pytest.raises(OSError, match="it is no regular file"), draft_of(tmp_path / "there"):
        pass


def test_a_complete_run_whose_policy_is_gone_is_not_to_be_resumed(tmp_path):
    (tmp_path / "settings.toml").write_text("")
    with pytest.raises(HandrailError, match="has no policy yet; finish it with"):
        load_policy(tmp_path)
    (tmp_path / "summary.json").write_text("{}")
    with pytest.raises(HandrailError, match="is missing, though the run is complete; restore it"):
        load_policy(tmp_path)


# -- a limit, and processes that play -------------------------------------------------------------


def test_rounding_in_storage_is_no_violation_to_anyone():
    """250 steps of 0.1 in float32 are 25.0000004."""
    (episode,) = toy.demonstrations(episodes=1)
    costs = np.full(250, 0.1, np.float32)
    cost = float(costs.astype(np.float64).sum())
    assert cost > 25
    long = type(episode)(
        np.zeros((251, 3), np.float32), np.zeros((250, 1), np.float32), costs, costs, False
    )
    found = report([long], task="x", method="y", seed=0, cost_limit=25.0)
    assert found["violation_rate"] == 0
    assert within_limit(1.0, cost, 25.0) == (1.0, 1.0)
    assert within_limit(1.0, 25.001, 25.0) == (0.0, -25.001)


def _dies(*_):
    os._exit(9)


def test_a_process_that_is_killed_as_it_plays_is_told(monkeypatch, policy):
    monkeypatch.setattr(demonstrations, "_play", _dies)
    with pytest.raises(HandrailError, match=r"a process that played .* was killed"):
        list(
            demonstrations._parallel(
                toy.TOY, [(policy, range(2)), (policy, range(2, 4))], True, "toys", Watcher()
            )
        )
