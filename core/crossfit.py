"""Cross-fitting: one figure of two halves, each measured on rows that its fit has not seen."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from divmatch.record import UNDECIDED, Interval, Note, Result

NEAR_ZERO = ("W01", "W04")  # what success looks like: nothing left that these rows could show


def combined(
    parts: Sequence[Result], level: float, n: tuple[int, ...], *, shared: bool, name: str
) -> Result:
    """The mean of the figures of two halves. They are independent, unless they ``share`` the rows of P.

    Standard errors add up as squares, or as they are where the halves may err the same way.
    """
    first = parts[0]
    value = sum(part.value for part in parts) / len(parts)
    errors = [part.se for part in parts]
    se = None if None in errors else _together([e for e in errors if e is not None], shared)
    ci = None
    intervals = [part.ci for part in parts]
    if se is not None and all(intervals):
        bounds = [(one.low, one.high) for one in intervals if one is not None]
        centre = sum(low + high for low, high in bounds) / (2 * len(bounds))
        half = _together([(high - low) / 2 for low, high in bounds], shared)
        ci = Interval(level, centre - half, centre + half, "cross-fitted")
    notes = {note.code: note for part in parts for note in part.warnings}
    near = any(code in notes for code in NEAR_ZERO) and (se is None or value < 2 * se)
    notes = {code: note for code, note in notes.items() if code not in NEAR_ZERO}
    if name == "before" and near:
        message = "these rows do not tell P from Q before: its interval is not valid there, see divmatch test"
        notes["W04"] = Note("W04", message)
    params = {**first.params} if name == "before" else {**first.params, "told_from_zero": not near}
    kept = tuple(notes.values())
    status = "inconclusive" if any(note.code in UNDECIDED for note in kept) else "ok"
    return replace(
        first, value=value, se=se, ci=ci, warnings=kept, id=name, n=n, params=params,
        status="warn" if kept and status == "ok" else status, error=None, bias=None,
    )  # fmt: skip


def _together(errors: list[float], shared: bool) -> float:
    """The error of a mean."""
    if shared:
        return sum(errors) / len(errors)
    return float(np.hypot.reduce(errors)) / len(errors)
