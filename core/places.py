"""Places: the files behind an input, and what their first bytes say they hold."""

import os
import re
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch

from divmatch.errors import DivmatchError, FileError, nearest

SUFFIXES = {
    ".npy": "npy",
    ".npz": "npz",
    ".parquet": "parquet",
    ".csv": "csv",
    ".tsv": "tsv",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
}
MAGIC = {"npy": (b"\x93NUMPY",), "npz": (b"PK\x03\x04", b"PK\x05\x06"), "parquet": (b"PAR1",)}
BINARY = ("npy", "npz")  # whose first bytes no text starts with
STANDARD_INPUT = ("-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0")
DESCRIPTOR = re.compile(r"/dev/fd/\d+|/proc/(self|\d+)/fd/\d+")


@dataclass(frozen=True)
class Place:
    """Where rows come from: the name the user gave, what it holds, its files, what to pick."""

    name: str
    kind: str
    paths: tuple[str, ...]
    selector: str | None = None


def check_readable(paths: Iterable[str]) -> None:
    """Refuse, in milliseconds, what can be seen to fail: missing, empty, forbidden, mislabelled.

    Parameters
    ----------
    paths : iterable of str
        Inputs as given on the command line, with ``::selector`` or ``-`` (at most once).

    Raises
    ------
    FileError
        Naming the file, what is wrong and what to do.
    """
    places = [locate(path) for path in paths]
    if sum(place.paths == ("-",) for place in places) > 1:
        raise FileError("-: standard input can be read only once; save one of the inputs to a file")


def files_from(path: str, nul: bool = False) -> list[str]:
    """Names listed in a file (``-``: standard input), one a line or NUL-separated."""
    try:
        if path == "-":
            data = standard_input()
        else:
            with open(path, "rb") as file:
                data = file.read()
    except OSError as error:
        raise FileError(f"{path}: {reason(error)}; expected a list of files") from None
    parts = data.split(b"\0") if nul else [line.rstrip(b"\r") for line in data.split(b"\n")]
    names = [os.fsdecode(part) for part in parts if part]
    if not names:
        raise FileError(f"{path}: lists no file")
    if not nul and "\0" in "".join(names):
        raise FileError(f"{path}: holds NUL bytes; add -0 if names are separated by them")
    return names


def locate(text: str) -> Place:
    """Find the files behind an input and look at their first bytes."""
    path, selector = _split(text)
    if path in STANDARD_INPUT:
        return Place(text, "stdin", ("-",), selector)
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError) as error:
        parts = _globbed(path)
        if not parts:
            raise FileError(f"{text or repr(text)}: {_why_not(path, error)}") from None
        return _parts(text, parts, selector)
    if stat.S_ISDIR(mode):
        return _parts(text, _folder(path), selector)
    # A pipe such as <(zcat a.csv.gz); a file opened by the shell has no suffix there either.
    if not stat.S_ISREG(mode) or DESCRIPTOR.fullmatch(path):
        return Place(text, "stdin", (path,), selector)
    kind = SUFFIXES.get(os.path.splitext(path)[1].lower())
    if kind is None:
        raise FileError(f"{text}: unknown kind of file, expected {', '.join(SUFFIXES)}; rename it")
    _check_start(text, path, kind)
    if selector is not None and kind == "npy":
        raise FileError(f"{text}: an .npy file holds one array, '::' picks nothing; drop the '::'")
    return Place(text, kind, (path,), selector)


def names_file(text: str) -> bool:
    """Whether a name that may also be a column's is a file's: it exists, or its suffix says so."""
    path = _split(text)[0]
    return os.path.splitext(path)[1].lower() in SUFFIXES or os.path.exists(path)


def is_part(text: str, written: str) -> bool:
    """Whether a file is the input ``text`` or one of its parts, or would be once it is written."""
    path = text if os.path.exists(text) else _split(text)[0]
    if os.path.isfile(written) and os.path.isfile(path):
        return os.path.samefile(path, written)
    target = os.path.realpath(written)
    if not _is_part_name(os.path.basename(target)):
        return False
    if os.path.isdir(path):
        return target.startswith(os.path.join(os.path.realpath(path), ""))
    parts = _globbed(path)
    known = any(os.path.realpath(part) == target for part in parts)
    return known or (bool(parts) and fnmatch(os.path.abspath(written), os.path.abspath(path)))


def _split(text: str) -> tuple[str, str | None]:
    """Part ``path::selector``; names may hold '::' themselves, so what exists wins."""
    if "::" not in text or os.path.lexists(text):
        return text, None
    cuts = [k for k in range(len(text)) if text.startswith("::", k)]
    for cut in reversed(cuts):
        if text[:cut] == "-" or os.path.lexists(text[:cut]):
            return text[:cut], text[cut + 2 :]
    return text[: cuts[0]], text[cuts[0] + 2 :]


def _globbed(path: str) -> list[str]:
    if not any(letter in path for letter in "*?["):
        return []
    from glob import glob

    return sorted(glob(path, recursive=True))


def _folder(path: str) -> list[str]:
    """List the Parquet files below a folder, without hidden ones and a writer's own."""
    return sorted(
        os.path.join(folder, name)
        for folder, _, names in os.walk(path)
        for name in names
        if _is_part_name(name)
    )


def _is_part_name(name: str) -> bool:
    return name.endswith(".parquet") and name[0] not in "._"


def _parts(text: str, paths: Sequence[str], selector: str | None) -> Place:
    """Several Parquet files read as one."""
    if not paths:
        raise FileError(f"{text}: is a folder without .parquet files; name a file")
    for path in paths:
        if not path.endswith(".parquet") or not os.path.isfile(path):
            raise FileError(f"{text}: matches {path}; only .parquet files are read as one")
        _check_start(path, path, "parquet")
    return Place(text, "parquet", tuple(paths), selector)


def _why_not(path: str, error: Exception) -> str:
    """No such file, with the nearest name of a readable one beside it."""
    if not isinstance(error, FileNotFoundError):
        return reason(error)
    try:
        names = sorted(os.listdir(os.path.dirname(path) or "."))
    except OSError:
        names = []
    parts = [os.path.splitext(name) for name in names]
    readable = [(stem, suffix) for stem, suffix in parts if suffix.lower() in SUFFIXES]
    # Suffixes make all names alike, so the stems decide.
    stem, suffix = os.path.splitext(os.path.basename(path))
    near = nearest(stem, (own for own, _ in readable), similar=0.75)
    if near is None:
        return "no such file"
    kind = nearest(suffix, (kind for own, kind in readable if own == near), similar=0.0)
    return f"no such file; did you mean '{near}{kind}'?"


def reason(error: Exception) -> str:
    """Say what the system says, in lower case."""
    if isinstance(error, PermissionError):
        return "may not be read (permission denied); change its permissions"
    if isinstance(error, FileNotFoundError):
        return "no such file"
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return (text.splitlines() or [type(error).__name__])[0][:200].lower()


def _check_start(name: str, path: str, kind: str) -> None:
    """Compare the first bytes with the kind that the name promises."""
    try:
        with open(path, "rb") as file:
            start = file.read(8)
    except OSError as error:
        raise FileError(f"{name}: {reason(error)}") from None
    if not start:
        raise FileError(f"{name}: is empty (0 bytes); write it anew")
    what = _contradiction(start, kind)
    if what:
        raise FileError(f"{name}: is no .{kind} file, it {what}; rename or convert it")


def _contradiction(start: bytes, kind: str) -> str:
    """What the first bytes say against this kind; empty if nothing."""
    if kind in MAGIC and start.startswith(MAGIC[kind]):
        return ""
    others = MAGIC if kind in MAGIC else BINARY
    other = next((k for k in others if start.startswith(MAGIC[k])), None)
    if other is None and kind not in MAGIC:
        return ""
    return f"looks like .{other}" if other else f"starts with {start[:8]!r}"


def check_stream(name: str, data: bytes, kind: str) -> None:
    """Compare what came through a pipe with the kind that the user says it has."""
    what = _contradiction(data, kind)
    if what:
        raise FileError(
            f"{name}: is no .{kind} stream, it {what}; correct --stdin-format, or leave it out"
        )


def sniffed(data: bytes) -> str:
    """Tell the kind from the first bytes."""
    for kind, marks in MAGIC.items():
        if data.startswith(marks):
            return kind
    return "ndjson" if data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") else "csv"


def standard_input() -> bytes:
    """Everything that is piped in."""
    if sys.stdin is None or sys.stdin.closed:
        raise FileError("-: standard input is closed; name a file")
    return sys.stdin.buffer.read()


def whole(path: str) -> bytes:
    """Everything that a pipe or a device gives."""
    with open(path, "rb") as file:
        return file.read()


@contextmanager
def damage(name: str, kind: str) -> Iterator[None]:
    """Whatever a decoder throws at a damaged file becomes one line."""
    try:
        yield
    except DivmatchError:
        raise
    except MemoryError:
        raise FileError(f"{name}: is damaged, or larger than the memory; write it anew") from None
    except PermissionError as error:
        raise FileError(f"{name}: {reason(error)}") from None
    except Exception as error:  # decoders raise nearly every type there is
        text = re.sub(r"<[\w.]+ object at \w+>", "...", " ".join(str(error).split()))
        text = text[:160].rstrip(".;: ")
        detail = f" ({text})" if text else ""
        raise FileError(
            f"{name}: cannot be read as {kind}{detail}; it is damaged or something else, "
            "write it anew"
        ) from None
