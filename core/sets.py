"""Sets of distributions by the words of --constraint: box:0,0.4, moment:f.npy,1.5, marginal:g.npy,m.npy."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import InconclusiveError, SettingError, counted, suggestion
from divmatch.files import open_place
from divmatch.places import locate
from divmatch.sources import Source
from divmatch.transport.cyclic import Box, Convex, Marginal, Moments, Simplex

WORDS = ("simplex", "box", "moment", "marginal")
ROUNDING = 1e-9


def sets_named(texts: Sequence[str], classes: int) -> tuple[Convex, ...]:
    """One set a text; each must leave some distribution over the classes."""
    return tuple(_named(text, classes) for text in texts)


def _named(text: str, classes: int) -> Convex:
    word, _, rest = text.partition(":")
    parts = [part.strip() for part in rest.split(",")] if rest else []
    if word == "simplex" and not parts:
        return Simplex()
    if word == "box" and len(parts) == 2:
        return _box(text, parts, classes)
    if word == "moment" and len(parts) > 1:
        return _moments(text, parts, classes)
    if word == "marginal" and len(parts) == 2:
        return _marginal(text, parts, classes)
    raise SettingError(
        f"--constraint {text}: expected simplex, box:LOW,HIGH, moment:FILE.npy,T or "
        f"marginal:GROUPS.npy,MASSES.npy{suggestion(word, WORDS)}"
    )


def _numbers(text: str, parts: Sequence[str]) -> list[float]:
    try:
        made = [float(part) for part in parts]
    except ValueError:
        made = [float("nan")]
    if not all(number == number for number in made):
        raise SettingError(f"--constraint {text}: expected numbers after the name")
    return made


def _box(text: str, parts: Sequence[str], classes: int) -> Convex:
    low, high = _numbers(text, parts)
    if not 0 <= low <= high:
        raise SettingError(f"--constraint {text}: expected 0 <= LOW <= HIGH")
    if not (low * classes <= 1 + ROUNDING and high * classes >= 1 - ROUNDING):
        raise InconclusiveError(
            f"--constraint {text}: the masses of {classes} classes cannot all be within it and sum to 1"
        )
    return Box(low, high)


def _moments(text: str, parts: Sequence[str], classes: int) -> Convex:
    features, targets = np.atleast_2d(_array(text, parts[0])), np.array(_numbers(text, parts[1:]))
    if features.shape != (len(targets), classes):
        raise SettingError(
            f"--constraint {text}: {parts[0]} has shape {features.shape}, expected "
            f"({len(targets)}, {classes}): a row for each target, a number for each class"
        )
    for row, target in zip(features, targets, strict=True):
        if not row.min() <= target <= row.max():
            raise InconclusiveError(
                f"--constraint {text}: no distribution has the mean {target:g} of numbers from "
                f"{row.min():g} to {row.max():g}"
            )
    return Moments(features, targets)


def _marginal(text: str, parts: Sequence[str], classes: int) -> Convex:
    groups, masses = (_array(text, part).ravel() for part in parts)
    if len(groups) != classes or not np.isin(groups, np.arange(len(masses))).all():
        raise SettingError(
            f"--constraint {text}: {parts[0]} holds {counted(len(groups), 'number')}, expected one of 0 to "
            f"{len(masses) - 1} for each of the {classes} classes"
        )
    if not (masses >= 0).all() or abs(masses.sum() - 1.0) > 1e-6:
        raise SettingError(
            f"--constraint {text}: {parts[1]} sums to {masses.sum():.9g}, expected masses of at least 0 "
            "with sum 1"
        )
    empty = np.setdiff1d(np.flatnonzero(masses > 0), groups)
    if len(empty):
        raise InconclusiveError(f"--constraint {text}: group {empty[0]} has mass and no class")
    return Marginal(groups.astype(np.intp), masses / masses.sum())


def _array(text: str, path: str) -> NDArray[np.float64]:
    opened = open_place(locate(path), None)
    if isinstance(opened, Source) or opened.dtype.kind not in "biuf":
        raise SettingError(f"--constraint {text}: {path} is no array of numbers; give .npy")
    made = np.asarray(opened, dtype=np.float64)
    if made.size == 0 or not np.isfinite(made).all():
        raise SettingError(f"--constraint {text}: {path} is empty, or holds NaN or infinity")
    return made
