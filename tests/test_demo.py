"""``handrail demo`` as a user types it."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import toy

from handrail.cli import main

LAUNCH = "import sys; from handrail.cli import main; sys.exit(main())"


@pytest.fixture(autouse=True)
def compiled_as_users_do(monkeypatch):
    """The networks are of a user's sizes here, and slow where they are not optimised."""
    monkeypatch.delenv("JAX_DISABLE_MOST_OPTIMIZATIONS")


def test_small_demo_needs_no_pybullet(tmp_path):
    # A module that is None cannot be imported: so it is in every process that the demo starts.
    hidden = 'import sys\nsys.modules["pybullet"] = sys.modules["bullet_safety_gym"] = None\n'
    (tmp_path / "sitecustomize.py").write_text(hidden)
    out = tmp_path / "demo"
    command = [sys.executable, "-c", LAUNCH, "demo", "--out", str(out), "--steps", "3000"]
    command += ["--episodes", "2", "--updates", "5", "--judged", "4"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, done.stderr
    for row in ("guide (DT)", "from scratch", "GOLD student"):
        assert row in done.stdout
    again = subprocess.run(
        [*command, "--json"], env=environment, capture_output=True, text=True, check=True
    )
    found = json.loads(again.stdout)
    assert [one["method"] for one in found["policies"]] == [
        "guide (DT)", "from scratch", "GOLD student"
    ]  # fmt: skip
    assert all(one["episodes"] == 4 for one in found["policies"])
    assert found["policies"][2]["weights"] < found["policies"][0]["weights"]
    assert (out / "reward_cost_plane.png").stat().st_size > 10_000
    assert (out / "learning_curves.png").stat().st_size > 10_000
    assert (out / "gold" / "policy" / "card.json").is_file()
    assert (out / "scratch" / "summary.json").is_file()


def test_a_place_that_cannot_be_written_is_told_before_anything_is_played(tmp_path, capfd):
    (tmp_path / "file").touch()
    assert main(["demo", "--out", str(tmp_path / "file")]) == 2
    out, errors = capfd.readouterr()
    assert out == ""
    assert errors == (
        f"handrail: {tmp_path}/file/demonstrations.hdf5: cannot be written (File exists); write "
        "elsewhere\n"
    )


def test_ctrl_c_stops_both_runs_at_a_checkpoint_and_the_same_command_goes_on(tmp_path):
    out = tmp_path / "demo"
    command = ["demo", "--out", out, "--episodes", 2, "--updates", 5]
    kept: dict = {}
    for _ in range(2):
        process = toy.handrail(*command, group=0)
        while process.poll() is None and len(list(out.glob("scratch/episodes/*"))) <= len(kept):
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of the group
        errors = process.communicate(timeout=100)[1]

        assert process.returncode == 130, errors
        assert errors.endswith("handrail: stopped; the same command goes on where it was\n")
        assert "Traceback" not in errors + (out / "scratch.log").read_text()
        assert not (out / "scratch" / "summary.json").exists()
        assert (out / "scratch" / "checkpoint" / "latest.json").is_file()
        assert all(file.read_bytes() == content for file, content in kept.items())
        kept = {file: file.read_bytes() for file in out.glob("scratch/episodes/*")}
        assert kept
