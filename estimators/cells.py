"""Plug-in estimates from the shares of cells: smoothing, bias correction, what makes them infinite."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import InconclusiveError, SettingError
from divmatch.estimator import Estimate
from divmatch.estimators.probabilities import Divergence
from divmatch.record import Note
from divmatch.samples import Samples
from divmatch.settings import Setting

Array = NDArray[np.float64]
Places = NDArray[np.intp]

Correction = Annotated[
    Literal["auto", "none", "first-order"],
    Setting("subtract the leading bias of the plug-in; auto: unless the counts are smoothed"),
]
Smooth = Annotated[
    float | Literal["laplace", "jeffreys", "perks"],
    Setting("pseudo-count added to every cell; laplace 1, jeffreys 0.5, perks 1/cells", least=0),
]

FEW = 5.0  # expected rows of a cell from which its share is nearly normal
FEW_SHARE = 0.2
NAMED = 3  # cells named in a message


@dataclass(frozen=True, eq=False)
class Cells:
    """Where the rows of two samples fall: the cell of every row, and each cell's name for people."""

    x: Samples
    y: Samples
    of_x: Places
    of_y: Places
    count: int
    name: Callable[[int], str]

    def shares(self) -> tuple[Array, Array]:
        """Masses of P and of Q in every cell, shape (count,)."""
        p = np.bincount(self.of_x, self.x.masses(), self.count)
        q = np.bincount(self.of_y, self.y.masses(), self.count)
        return p / p.sum(), q / q.sum()


def weighty(x: Samples, y: Samples) -> tuple[Samples, Samples]:
    """Both samples without their rows of weight 0."""
    x, y = (
        s if s.weights is None or (s.weights > 0).all() else s.take(s.weights > 0) for s in (x, y)
    )
    for samples in (x, y):
        if samples.n == 0:
            raise InconclusiveError(f"{samples.name}: no row carries weight")
    return x, y


def spread_over(found: Estimate, x: Samples, y: Samples) -> Estimate:
    """The influences of the rows that carry weight as those of all rows, 0 elsewhere."""
    return replace(found, terms_x=_spread(found.terms_x, x), terms_y=_spread(found.terms_y, y))


def _spread(terms: Array | None, samples: Samples) -> Array | None:
    if terms is None or samples.weights is None or len(terms) == samples.n:
        return terms
    made = np.zeros(samples.n)
    made[samples.weights > 0] = terms
    return made


def plug_in(
    of: Divergence, cells: Cells, correction: str, smooth: float | str, *, most: bool = False
) -> Estimate:
    """The divergence of the cells' shares, with its influences, leading bias and warnings.

    ``most`` says that the value is a maximum over cells.
    """
    n, m = cells.x.effective_size(), cells.y.effective_size()
    seen_p, seen_q = cells.shares()
    p, q = smoothed(seen_p, n, smooth), smoothed(seen_q, m, smooth)
    correction = _resolved(correction, smooth)
    value, bias = _value_and_bias(of, p, q, n, m, correction, smooth)
    by_p, by_q = of.influences(p, q)
    added = pseudo_count(smooth, cells.count) * cells.count
    notes = _few(cells, seen_p, seen_q, n, m)
    if most:
        message = (
            "order inf is the maximum of ln(p/q) over the cells seen: no bound of the true one, "
            "biased upward where cells are small; compare --alpha 16"
        )
        notes = (*notes, Note("W15", message))
    if not np.isfinite(value):
        notes = (_infinite(of, cells, p, q), *notes)
    return Estimate(
        value,
        terms_x=by_p[cells.of_x] * (n / (n + added)),
        terms_y=by_q[cells.of_y] * (m / (m + added)),
        bias=bias,
        params={"correction": correction, "cells": cells.count},
        notes=notes,
    )


def corrected_value(
    of: Divergence, p: Array, q: Array, n: float, m: float, correction: str, smooth: float | str
) -> float:
    """The divergence of shares that are worth n and m equal rows, smoothed or corrected."""
    p, q = smoothed(p, n, smooth), smoothed(q, m, smooth)
    return _value_and_bias(of, p, q, n, m, _resolved(correction, smooth), smooth)[0]


def _value_and_bias(
    of: Divergence, p: Array, q: Array, n: float, m: float, correction: str, smooth: float | str
) -> tuple[float, float]:
    """The value, and the bias that is left in it and known."""
    value = float(of.value(p, q))
    bias = float(of.bias(p, q, n, m)) if smooth == 0 and np.isfinite(value) else 0.0
    return (value - bias, 0.0) if correction == "first-order" else (value, bias)


def _resolved(correction: str, smooth: float | str) -> str:
    if correction == "auto":
        return "first-order" if smooth == 0 else "none"
    if correction == "first-order" and smooth != 0:
        raise SettingError(
            f"--correction first-order --smooth {smooth}: both mend the same bias; choose one"
        )
    return correction


def pseudo_count(smooth: float | str, cells: int) -> float:
    """The number that a smoothing adds to every count."""
    presets = {"laplace": 1.0, "jeffreys": 0.5, "perks": 1.0 / cells}
    return presets[smooth] if isinstance(smooth, str) else smooth


def smoothed(share: Array, size: float, smooth: float | str) -> Array:
    """(c + λ) / (n + λ K) for counts c = n p."""
    pseudo = pseudo_count(smooth, len(share))
    return (size * share + pseudo) / (size + pseudo * len(share))


# ---------------------------------------------------------------------------------- warnings


def _few(cells: Cells, p: Array, q: Array, n: float, m: float) -> tuple[Note, ...]:
    expected = (n * p + m * q) / (n + m) * min(n, m)
    few = int(np.count_nonzero(expected < FEW))
    if few <= FEW_SHARE * cells.count:
        return ()
    message = (
        f"{few} of {cells.count} cells expect fewer than {FEW:g} rows: the plug-in and its "
        "correction are unreliable; merge categories or give more rows"
    )
    return (Note("W25", message),)


def _infinite(of: Divergence, cells: Cells, p: Array, q: Array) -> Note:
    """Which cells make the value infinite, those of the largest mass first."""
    p_alone, q_alone = (p > 0) & (q == 0), (q > 0) & (p == 0)
    guilty = (p_alone & of.dear[0]) | (q_alone & of.dear[1])
    if not guilty.any():  # orders below 1 are infinite where nothing is shared
        return Note("W02", f"{cells.x.name} and {cells.y.name} share no cell")
    parts = []
    for alone, mass, has, lacks in (
        (p_alone & of.dear[0], p, cells.x.name, cells.y.name),
        (q_alone & of.dear[1], q, cells.y.name, cells.x.name),
    ):
        places = np.flatnonzero(alone)
        if len(places):
            largest = places[np.argsort(-mass[places], kind="stable")][:NAMED]
            names = ", ".join(cells.name(int(place)) for place in largest)
            more = ", ..." if len(places) > NAMED else ""
            parts.append(
                f"{lacks} has no mass on {len(places)} of {cells.count} cells holding "
                f"{mass[places].sum():.2g} of {has}: {names}{more}"
            )
    advice = "add --smooth jeffreys, or take a bounded divergence (fdiv --kind js)"
    return Note("W02", f"{'; '.join(parts)}; {advice}")
