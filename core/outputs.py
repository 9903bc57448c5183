"""Outputs: a file is written whole or not at all."""

import os
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

from divmatch.errors import OutputError, SettingError

STREAMS = {"-": 1, "/dev/stdout": 1, "/dev/stderr": 2}


def write_whole(path: str, data: bytes | str, *, mkdir: bool = False) -> None:
    """Write a file so that readers see the old content or the new one, never a part.

    Parameters
    ----------
    path : str
        The file; ``-`` is standard output. Links are followed and kept, and so is the mode.
    data : bytes or str
        The content; text becomes UTF-8.
    mkdir : bool
        Make missing parent folders.

    Raises
    ------
    OutputError
        One line; nothing is left behind.
    """
    with whole_file(path, mkdir=mkdir) as file:
        file.write(data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data)


@contextmanager
def whole_file(path: str, *, mkdir: bool = False) -> Iterator[BinaryIO]:
    """Open a binary file that takes its name only when the block ends without an error.

    Parameters
    ----------
    path : str
        The file; pipes, devices and standard output are written directly.
    mkdir : bool
        Make missing parent folders.

    Raises
    ------
    OutputError
        Where the system refuses. A closed pipe stays a ``BrokenPipeError``.
    """
    try:
        if _direct(path):
            with _stream(path) as file:
                yield file
            return
        target = os.path.realpath(path)
        if mkdir:
            os.makedirs(os.path.dirname(target), exist_ok=True)
        with _replacing(target) as file:
            yield file
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({_reason(error)})") from None


def check_writable(paths: Iterable[str], mkdir: bool = False) -> None:
    """Before any work: refuse outputs that could not be written afterwards.

    Parameters
    ----------
    paths : iterable of str
        Every output of the command.
    mkdir : bool
        Missing parent folders will be made.

    Raises
    ------
    SettingError
        For a file that is named twice.
    OutputError
        Naming the file, what is wrong and what to do.
    """
    seen: set[str] = set()
    for path in paths:
        target = os.path.realpath(path)
        if _direct(path):
            if path not in STREAMS and not os.access(path, os.W_OK):
                raise OutputError(f"{path}: may not be written (permission denied)")
            continue
        if target in seen:
            raise SettingError(f"-o {path}: is named twice as an output; choose another name")
        seen.add(target)
        if not path or path.endswith("/") or os.path.isdir(target):
            raise OutputError(f"{path}: is a folder, expected a file name")
        _check_parent(path, os.path.dirname(target), mkdir)
        if os.path.exists(target) and not os.access(target, os.W_OK):
            raise OutputError(f"{path}: is write-protected; change its permissions")


def _check_parent(path: str, parent: str, mkdir: bool) -> None:
    """Find the folder, or one above it in which it can be made."""
    if not os.path.lexists(parent):
        if not mkdir:
            raise OutputError(f"{path}: no such folder '{parent}'; make it or add --mkdir")
        while not os.path.lexists(parent):
            parent = os.path.dirname(parent)
    if not os.path.isdir(parent):
        raise OutputError(f"{path}: '{parent}' is a file, expected a folder")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise OutputError(f"{path}: folder '{parent}' may not be written (permission denied)")


def _descriptor(path: str) -> int | None:
    """Find the open descriptor behind a name; reopening it would truncate what is there."""
    if path in STREAMS:
        return STREAMS[path]
    folder, _, number = path.rpartition("/")
    return int(number) if folder in ("/dev/fd", "/proc/self/fd") and number.isdecimal() else None


def _direct(path: str) -> bool:
    """Whether the path is a stream, a pipe or a device, which no rename may replace."""
    if _descriptor(path) is not None:
        return True
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


@contextmanager
def _stream(path: str) -> Iterator[BinaryIO]:
    number = _descriptor(path)
    if number in (1, 2):
        stream = sys.stdout if number == 1 else sys.stderr
        if stream is not None:
            stream.flush()  # what was printed before comes before
    # A descriptor is copied: closing the file must not close the stream itself.
    with open(path if number is None else os.dup(number), "wb") as file:
        yield file


@contextmanager
def _replacing(target: str) -> Iterator[BinaryIO]:
    """Write beside the target, then rename over it."""
    folder, name = os.path.split(target)
    # In the same folder, since a rename works only within one file system; hidden from globs.
    temporary = os.path.join(folder, f".{name[:40]}.{os.getpid()}.{os.urandom(4).hex()}.tmp")
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
    if os.path.isdir(target):
        raise IsADirectoryError(21, "is a folder, expected a file name")
    descriptor = os.open(temporary, flags, 0o666)
    try:
        with open(descriptor, "wb") as file:
            _keep_mode(target, descriptor)
            yield file
            file.flush()
            os.fsync(descriptor)
        os.replace(temporary, target)
        _sync_folder(folder)
    finally:
        with suppress(OSError):
            os.unlink(temporary)


def _keep_mode(target: str, descriptor: int) -> None:
    """Keep the mode of an existing file, and its owner where the system allows."""
    try:
        before = os.stat(target)
    except FileNotFoundError:
        return
    with suppress(OSError):
        os.fchown(descriptor, before.st_uid, before.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(before.st_mode))


def _sync_folder(folder: str) -> None:
    """Make the rename itself durable, where folders can be synced."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _reason(error: OSError) -> str:
    """Say what the system says, in lower case."""
    return (error.strerror or str(error) or type(error).__name__).lower()
