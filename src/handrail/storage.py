"""Values on disk: JSON, arrays under a hash, pytrees as arrays, policies' directories.

A file is either whole or as it was (written beside, synced, renamed). Arrays lie under a name that
holds their hash, and a small JSON file points at them; replacing the JSON file is the one instant
at which the new ones take the place of the old ones.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from handrail.errors import Busy, HandrailError

FORMAT = 1
"""Of the run directory, the checkpoint and the policy; a reader refuses every other."""


# -- policies ------------------------------------------------------------------------------------


def write_policy(
    path: str | Path, arrays: Mapping[str, np.ndarray], card: Mapping[str, Any]
) -> None:
    """Write a policy's directory: its arrays, and ``card.json`` that says what they are.

    Args:
        path: the directory, made where absent; a policy in it is replaced in one instant.
        arrays: by name.
        card: JSON values.
    """
    publish(Path(path), "card.json", "policy", arrays, {"card": dict(card)})


def read_policy(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """What ``write_policy`` wrote: arrays (read-only) and card.

    Raises:
        HandrailError: there is no policy, it is damaged, or of another version's format.
    """
    if not (Path(path) / "card.json").is_file():
        raise HandrailError(f"{path} is not a policy: it has no card.json")
    arrays, record = recall(Path(path), "card.json", card=dict)
    return arrays, record["card"]


# -- files ---------------------------------------------------------------------------------------


def write_file(path: Path, data: bytes) -> None:
    """The file with this content, or the file as it was: never a part of it."""
    path = _real(path)
    temporary = path.with_name(path.name + ".tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
        sync(temporary)
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)  # on a full disk its space is wanted
        raise
    sync(path.parent)


@contextmanager
def draft_of(path: Path) -> Iterator[BinaryIO]:
    """The next content of a file, which takes its place as the block ends. Processes that would
    rewrite the same file wait for one another, so that each reads what the last one wrote: the
    draft is their lock."""
    import fcntl

    path = _real(path)
    name = path.with_name(path.name + ".tmp")
    while True:
        draft = name.open("ab")
        fcntl.flock(draft, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(draft.fileno()), name.stat()):
                break
        draft.close()  # what was waited for has become the file: there is to be another draft
    with draft:
        try:
            draft.truncate(0)
            yield draft
            draft.flush()
            os.fsync(draft.fileno())
            os.replace(name, path)
        except BaseException:
            name.unlink(missing_ok=True)
            raise
    sync(path.parent)


def _real(path: Path) -> Path:
    """Where a link leads: the file there takes the new content, the link stays one."""
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return path


def sync(path: Path) -> None:
    """Onto the disk with what was written of a file, or renamed in a directory."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """A block in which no other process may work in the directory, which is made where it is not
    there. The lock is the system's, on the directory: it leaves no file, and a kill releases it.

    Raises:
        Busy: another process is in such a block.
    """
    import fcntl

    path.mkdir(parents=True, exist_ok=True)
    directory = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy(
                f"another process is training {path}; wait for it, or stop it first"
            ) from None
        yield
    finally:
        os.close(directory)


def publish(
    directory: Path,
    index: str,
    stem: str,
    arrays: Mapping[str, np.ndarray],
    record: Mapping[str, Any],
) -> None:
    """Arrays, then the JSON file ``index`` that points at them, then away with older arrays."""
    from safetensors.numpy import save

    data = save({name: np.asarray(array, order="C") for name, array in arrays.items()})
    digest = hashlib.sha256(data).hexdigest()
    directory.mkdir(parents=True, exist_ok=True)
    # The hash in the name keeps a second save of the same step off the file that is in force.
    file = f"{stem}-{digest[:8]}.safetensors"
    write_file(directory / file, data)
    write_file(
        directory / index, json_bytes({"format": FORMAT, "file": file, "sha256": digest, **record})
    )
    for old in directory.glob("*.safetensors"):
        if old.name != file:
            old.unlink()


def recall(
    directory: Path, index: str, **kinds: type
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """What ``publish`` wrote, verified: the arrays by their hash, the values named in ``kinds`` by
    their type."""
    from safetensors.numpy import load

    record = read_json(directory / index)
    require_format(directory / index, record)
    require_kinds(directory / index, record, {"file": str, "sha256": str, **kinds})
    file = directory / record["file"]
    if not file.is_file():
        raise HandrailError(f"{file} is missing; {directory / index} points at it: restore it")
    data = file.read_bytes()
    if hashlib.sha256(data).hexdigest() != record["sha256"]:
        raise HandrailError(f"{file} is damaged: its sha256 is not the one noted; restore it")
    return load(data), record


def require_kinds(
    file: Path, record: Mapping[str, Any], kinds: Mapping[str, type | tuple[type, ...]]
) -> None:
    """Raise a HandrailError where a JSON object of the file has not these values, of these
    types."""
    for name, kind in kinds.items():
        if not isinstance(record.get(name), kind):
            fault = f"{name!r} is {record[name]!r}" if name in record else f"no {name!r}"
            raise HandrailError(
                f"{file} is damaged, or of another version: {fault}; restore it, or use the "
                "version that wrote it"
            )


def json_bytes(value: Mapping[str, Any]) -> bytes:
    """The content of a JSON file that a person may read."""
    return (json.dumps(value, indent=2) + "\n").encode()


def read_json(file: Path) -> dict[str, Any]:
    """The object of a JSON file.

    Raises:
        HandrailError: it holds no object.
    """
    try:
        value = json.loads(file.read_text("utf-8"))
    except ValueError as error:
        raise HandrailError(f"{file} is damaged: {error}; restore it") from error
    if not isinstance(value, dict):
        raise HandrailError(f"{file} is damaged: it holds no object; restore it")
    return value


def require_place(file: Path) -> None:
    """Raise a HandrailError where no file can be written beside ``file``, in whose place it is to
    come; its directory is made."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=file.parent):
            pass
    except OSError as error:
        reason = error.strerror or str(error)
        raise HandrailError(f"{file}: cannot be written ({reason}); write elsewhere") from error


def require_format(file: Path, record: Mapping[str, Any]) -> None:
    """Raise a HandrailError where ``file``, read as ``record``, has another version's format."""
    if record.get("format") != FORMAT:
        raise HandrailError(
            f"{file} has format {record.get('format')}, this handrail reads {FORMAT}; use the "
            "version of handrail that wrote it"
        )


# -- the state as arrays -------------------------------------------------------------------------


def _is_key(leaf: Any) -> bool:
    import jax

    return isinstance(leaf, jax.Array) and jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _kept(state: Any) -> tuple[dict[str, Any], list[Any], Any]:
    """The leaves to keep by their path, every leaf, and the tree's form."""
    import jax

    leaves, form = jax.tree_util.tree_flatten_with_path(state)
    # Python numbers too: a counter that silently began anew would be found by nobody.
    kinds = (jax.Array, np.ndarray, np.generic, bool, int, float)
    kept = {jax.tree_util.keystr(p): leaf for p, leaf in leaves if isinstance(leaf, kinds)}
    return kept, leaves, form


def _array(leaf: Any) -> np.ndarray:
    import jax

    return np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf)


def arrays_of(state: Any) -> dict[str, np.ndarray]:
    """The arrays, numbers and random keys of a pytree, by their path in it."""
    return {path: _array(leaf) for path, leaf in _kept(state)[0].items()}


def restore(like: Any, arrays: Mapping[str, np.ndarray], where: Path) -> Any:
    """``like`` with the arrays in it.

    Raises:
        HandrailError: a path, shape or dtype is another; the first is named.
    """
    import jax

    kept, leaves, form = _kept(like)
    for path in [*kept, *arrays]:
        have = (arrays[path].shape, arrays[path].dtype) if path in arrays else None
        want = ((array := _array(kept[path])).shape, array.dtype) if path in kept else None
        if have != want:
            raise HandrailError(
                f"{where} is a checkpoint of another version or other settings ({path} is "
                f"{_described(have)} there and {_described(want)} here); go on with the version "
                "that began it, or begin anew"
            )

    def restored(path: str, leaf: Any) -> Any:
        if path not in kept:
            return leaf
        # Copies: the arrays as read lie in memory that a donated buffer must not reuse.
        if _is_key(leaf):
            data = jax.numpy.array(arrays[path], copy=True)
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
        if isinstance(leaf, jax.Array):
            return jax.numpy.array(arrays[path], copy=True)
        if isinstance(leaf, np.ndarray):
            return arrays[path].copy()
        return type(leaf)(arrays[path].item())

    new = [restored(jax.tree_util.keystr(path), leaf) for path, leaf in leaves]
    return jax.tree_util.tree_unflatten(form, new)


def _described(array: tuple[tuple[int, ...], np.dtype] | None) -> str:
    return f"{array[1]}{list(array[0])}" if array else "absent"
