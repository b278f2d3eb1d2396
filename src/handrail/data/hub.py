"""A file from a data hub: whole and with the right sum, or not at all."""

from __future__ import annotations

import hashlib
import http.client
import re
import urllib.error
import urllib.request
from pathlib import Path

from handrail.errors import HandrailError, Stopped
from handrail.progress import Watcher

URL = "https://huggingface.co/datasets/YYY-45/DSRL/resolve/main"
"""Where DSRL's own package fetches its sets from."""

_PART = 1 << 20
_SUM = re.compile(r"[0-9a-f]{64}")


class _Announced(urllib.request.HTTPRedirectHandler):
    """Follows redirections and keeps the sum that the first answer announces."""

    sum: str | None = None

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        self.note(headers)
        return super().redirect_request(req, fp, code, msg, headers, newurl)

    def note(self, headers) -> None:
        tag = (headers.get("X-Linked-ETag") or "").strip('"')
        if _SUM.fullmatch(tag):
            self.sum = tag


def download(url: str, file: Path, sha256: str | None, watcher: Watcher) -> tuple[str, bool]:
    """Fetch ``url`` to ``file``.

    Args:
        sha256: what its sum must be; None: what the hub announces, where it does.

    Returns:
        The file's sum, and whether it was compared with one.

    Raises:
        HandrailError: the file exists, the hub cannot be reached or has none, the transfer broke
            off, or the sum is another.
        Stopped: the watcher asked for it.
    """
    if file.exists():
        raise HandrailError(f"{file}: exists already; remove it or write elsewhere")
    file.parent.mkdir(parents=True, exist_ok=True)
    announced, summed = _Announced(), hashlib.sha256()
    draft = file.with_name(file.name + ".part")
    try:
        with urllib.request.build_opener(announced).open(url, timeout=60) as answer:
            announced.note(answer.headers)
            size, done = int(answer.headers.get("Content-Length") or 0), 0
            watcher.begin("download", size >> 20, "MiB")
            with draft.open("wb") as out:
                while part := answer.read(_PART):
                    out.write(part)
                    summed.update(part)
                    done += len(part)
                    watcher.advance(done >> 20, {})
                    if watcher.stopping:
                        raise Stopped("the download was stopped; nothing was written")
        if size and done != size:
            raise HandrailError(f"{url} broke off after {done:,} of {size:,} bytes; try again")
        wanted = sha256.lower() if sha256 else announced.sum
        if wanted and summed.hexdigest() != wanted:
            raise HandrailError(
                f"{url}: its sha256 is {summed.hexdigest()}, not {wanted}; nothing was written"
            )
        draft.rename(file)
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise HandrailError(
            f"cannot fetch {url}: {reason}; give another --url, fetch the file by hand, or play a "
            "set of the same kind with `handrail dataset`"
        ) from error
    finally:
        draft.unlink(missing_ok=True)
    return summed.hexdigest(), wanted is not None
