"""``handrail demo`` as a user types it, in small, where pybullet is not installed."""

import os
import subprocess
import sys

LAUNCH = "import sys; from handrail.cli import main; sys.exit(main())"


def test_demo_needs_no_pybullet(tmp_path):
    # A module that is None cannot be imported: so it is in every process that the demo starts.
    hidden = 'import sys\nsys.modules["pybullet"] = sys.modules["bullet_safety_gym"] = None\n'
    (tmp_path / "sitecustomize.py").write_text(hidden)
    out = tmp_path / "demo"
    command = [sys.executable, "-c", LAUNCH, "demo", "--out", str(out), "--steps", "3000"]
    command += ["--episodes", "2", "--updates", "5"]

    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, done.stderr
    for row in ("guide (DT)", "from scratch", "GOLD student"):
        assert row in done.stdout
    assert (out / "reward_cost_plane.png").stat().st_size > 10_000
    assert (out / "learning_curves.png").stat().st_size > 10_000
    assert (out / "gold" / "policy" / "card.json").is_file()
    assert (out / "scratch" / "summary.json").is_file()
