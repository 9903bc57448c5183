"""Columns: which ones `--columns` chooses, and how messages name them."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from divmatch.errors import FileError, counted, suggestion


def chosen(
    pattern: str | None, kinds: Mapping[str, str], where: str
) -> tuple[list[str], tuple[str, ...]]:
    """List the names that ``--columns`` keeps, in order, and exclusions that met nothing."""
    if pattern is None:
        return list(kinds), ()
    kept: set[str] = set()
    excluded: set[str] = set()
    unmatched = []
    only_exclusions = True
    for piece in _pieces(pattern):
        bare = piece[1:] if piece.startswith("!") and piece not in kinds else piece
        found = _matches(bare, kinds)
        if bare != piece:
            excluded |= found
            unmatched += [] if found or bare[:4] in ("num:", "cat:") else [bare]
            continue
        only_exclusions = False
        if not found and piece[:4] not in ("num:", "cat:"):
            raise FileError(f"{where}: {not_found(piece, kinds)}")
        kept |= found
    names = [name for name in kinds if (only_exclusions or name in kept) and name not in excluded]
    if not names:
        raise FileError(
            f"{where}: --columns '{pattern}' leaves no column; it has {shortlist(kinds)}"
        )
    return names, tuple(unmatched)


def called_categories(pattern: str | None, names: Sequence[str]) -> set[str]:
    """Which of these ``--columns`` says to hold categories: ``cat:zip``, ``cat:*_code``."""
    pieces = _pieces(pattern or "")
    globs = [piece[4:] for piece in pieces if piece.startswith("cat:") and piece not in names]
    return {name for name in names if any(_fits(name, glob) for glob in globs)}


def not_found(name: str, known: Mapping[str, Any] | Sequence[str]) -> str:
    """`column 'amout' not found; did you mean 'amount'?`, or what there is instead."""
    near = suggestion(name, known)
    return f"column '{name}' not found{near or f'; it has {shortlist(known)}'}"


def shortlist(names: Mapping[str, Any] | Sequence[str]) -> str:
    """Quote the first few names, for an error message."""
    first = [f"'{name}'" for name in list(names)[:6]]
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""
    return ", ".join(first) + more if first else "none"


def no_value(where: str, name: str, rows: int) -> str:
    """`p.csv: column 'c' has no value at all (5 rows); leave it out ...`."""
    return (
        f"{where}: column '{name}' has no value at all ({counted(rows, 'row')}); "
        f"leave it out with --columns '!{name}'"
    )


def _pieces(pattern: str) -> list[str]:
    """Split at commas that no backslash guards."""
    joined = pattern.replace("\\,", "\0").split(",")
    return [piece.strip().replace("\0", ",") for piece in joined if piece.strip()]


def _matches(piece: str, kinds: Mapping[str, str]) -> set[str]:
    """Find the columns meant by a name, a range of positions or a glob, in this order."""
    if piece in kinds:
        return {piece}
    first, dash, last = piece.partition("-")
    if dash and first.isdecimal() and last in kinds and last.isdecimal():
        span = [str(k) for k in range(int(first), int(last) + 1)]
        if all(name in kinds for name in span):
            return set(span)
    kind, glob = (piece[:3], piece[4:]) if piece[:4] in ("num:", "cat:") else ("", piece)
    return {name for name, own in kinds.items() if kind in ("", own) and _fits(name, glob)}


def _fits(name: str, glob: str) -> bool:
    return name == glob or fnmatchcase(name, glob)
