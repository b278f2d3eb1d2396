"""DSRL: its names and normalised figures, and its files from a hub that runs here."""

from __future__ import annotations

import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import toy

from handrail import envs
from handrail.cli import main
from handrail.data import dsrl, sources

BALL = "bullet/BallCircle"


def test_names_are_dsrls():
    names = {task: known.file for task, known in dsrl.sets().items()}
    assert names[BALL] == "SafetyBallCircle-v0-80-886.hdf5"
    assert names["native/PointGoal1"] == "SafetyPointGoal1Gymnasium-v0-100-2022.hdf5"
    assert names["gym/AntVelocity"] == "SafetyAntVelocityGymnasium-v1-250-2249.hdf5"
    known = {task.name: task for task in envs.tasks()}
    for task, data in dsrl.sets().items():
        if not task.startswith("gym/"):
            assert known[task].horizon == data.horizon


def test_normalised_figures():
    ball = dsrl.sets()[BALL]
    assert [ball.normalised_return(r) for r in (0.3831, 881.4634)] == [0.0, 1.0]
    assert ball.normalised_return(441.0) == pytest.approx((441 - 0.3831) / 881.0803)
    assert [dsrl.normalised_cost(30.0, limit) for limit in (20.0, 0.0)] == [1.5, 31.0]


class _Hub(http.server.BaseHTTPRequestHandler):
    """Redirects as the real one does, and announces the sum where it is told to."""

    files: dict[str, bytes] = {}  # noqa: RUF012
    announce: str | None = None
    short = False

    def do_GET(self):
        name = self.path.rpartition("/")[2]
        if name not in self.files:
            self.send_error(404)
        elif self.path.startswith("/main/"):
            self.send_response(302)
            if self.announce:
                self.send_header("X-Linked-ETag", f'"{self.announce}"')
            self.send_header("Location", f"/store/{name}")
            self.end_headers()
        else:
            content = self.files[name]
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if self.short else content)

    def log_message(self, format, *args):
        pass


@pytest.fixture
def hub(tmp_path) -> Iterator[tuple[type[_Hub], str]]:
    class Hub(_Hub):
        files = {  # noqa: RUF012
            "SafetyBallCircle-v0-80-886.hdf5": toy.demonstration_file(
                tmp_path / "served.hdf5"
            ).read_bytes()
        }

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield Hub, f"http://127.0.0.1:{server.server_port}/main"
    server.shutdown()
    thread.join()
    server.server_close()


def _download(url: str, out: Path, *more: str) -> int:
    return main(["data", "download", BALL, "--url", url, "--out", str(out), *more])


@pytest.mark.parametrize("announced", [True, False])
def test_a_set_is_fetched_and_its_sum_compared(hub, announced, tmp_path, capsys):
    serving, url = hub
    content = serving.files[dsrl.sets()[BALL].file]
    sum_ = hashlib.sha256(content).hexdigest()
    serving.announce = sum_ if announced else None
    assert _download(url, tmp_path / "new") == 0
    file = tmp_path / "new" / dsrl.sets()[BALL].file
    assert file.read_bytes() == content
    assert len(sources.read(file)) == 8
    said = capsys.readouterr().out
    assert sum_ in said
    assert ("as it should be" in said) == announced
    assert _download(url, tmp_path / "new") == 2  # it is there
    assert "exists already" in capsys.readouterr().err


def test_a_wrong_sum_leaves_nothing(hub, tmp_path, capsys):
    serving, url = hub
    for announced, more in ((64 * "0", ()), (None, ("--sha256", 64 * "f"))):
        serving.announce = announced
        assert _download(url, tmp_path / "new", *more) == 2
        assert "nothing was written" in capsys.readouterr().err
        assert list((tmp_path / "new").iterdir()) == []


def test_what_goes_wrong_is_a_line(hub, tmp_path, capsys):
    serving, url = hub
    serving.short = True
    assert _download(url, tmp_path / "new") == 2
    assert "broke off after" in capsys.readouterr().err
    serving.short, serving.files = False, {}
    assert _download(url, tmp_path / "new") == 2
    assert "Not Found; give another --url" in capsys.readouterr().err
    assert _download("http://127.0.0.1:9", tmp_path / "new") == 2
    assert "cannot fetch" in capsys.readouterr().err
    assert list((tmp_path / "new").iterdir()) == []
    assert main(["data", "download", "bullet/None"]) == 2
    assert "DSRL has no set of bullet/None" in capsys.readouterr().err
