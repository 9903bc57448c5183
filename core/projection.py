"""Projection: rows of probabilities replaced by the nearest ones that meet a condition.

`project` takes an array; the command line streams the same function over blocks of a file.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from divmatch.errors import InconclusiveError, SampleError, SettingError
from divmatch.kernels.execution import one_blas_thread
from divmatch.kernels.rows import Rows, distributions
from divmatch.transport.bregman import Generator, generator_named, price
from divmatch.transport.cyclic import Convex, Geometry, Simplex, projected
from divmatch.transport.tempering import limits, tempered
from divmatch.transport.truncation import Kept, penalised, price_of_all, priced, sums, top_places

Array = NDArray[np.float64]
KL = Generator("kl", 1.0)
TOLERANCES = {2: 1e-2, 4: 1e-4, 8: 1e-6}  # what rounding may do to a sum of 1


@dataclass(frozen=True, eq=False)
class Projection:
    """What rows are to become: exactly one of the first four is given."""

    top_k: int | None = None
    penalty: float | None = None
    entropy: float | None = None
    sets: tuple[Convex, ...] = ()
    generator: Generator = KL
    rows: Rows = field(default_factory=Rows)
    free: bool = False  # the numbers are no distributions yet

    @property
    def geometry(self) -> Geometry:
        """Of the sets."""
        return "kl" if self.generator.power == 1.0 else "euclidean"


@dataclass(frozen=True, eq=False)
class Projected:
    """New rows and, of each: D, classes with mass, the mass that they had, β of tempering."""

    q: Array
    divergence: Array
    counts: Array
    kept: Array
    beta: Array
    tied: int
    converged: NDArray[np.bool_]


def project(
    values: ArrayLike,
    *,
    top_k: int | None = None,
    penalty: float | None = None,
    entropy: float | None = None,
    constraints: Sequence[Convex] = (),
    generator: str = "kl",
    dual: bool = False,
    source: str = "probabilities",
    temperature: float = 1.0,
    tolerance: float | None = None,
) -> Projected:
    """Rows of probabilities replaced by the nearest ones that meet a condition.

    Exactly one of ``top_k``, ``penalty``, ``entropy`` and ``constraints`` says which.

    Parameters
    ----------
    values : array
        Rows of classes, shape (n, V), or one row.
    top_k : int
        Keep the k largest classes: min D(q, p) over distributions q with at most k of them.
    penalty : float
        Price λ of a class: min D(q, p) + λ k over k too.
    entropy : float
        Nats: q ∝ p^β with this entropy.
    constraints : sequence
        Sets of `divmatch.transport.cyclic`: Box, Moments, Marginal; q stays a distribution.
    generator : str
        kl, reverse-kl, itakura-saito or alpha:A.
    dual : bool
        D(p, q) in the place of D(q, p), for alpha:A with A above 1.
    source : str
        What the values are: probabilities, logits, counts or, with constraints, numbers.
    temperature : float
        Logits are divided by it.
    tolerance : float
        How far from 1 rows of probabilities may sum.

    Returns
    -------
    Projected
        New rows with their divergence from the old ones.

    Examples
    --------
    >>> from divmatch.projection import project
    >>> project([[0.4, 0.3, 0.2, 0.1]], top_k=2, generator="alpha:2").q.round(12).tolist()
    [[0.55, 0.45, 0.0, 0.0]]
    """
    block = np.atleast_2d(np.asarray(values))
    if block.ndim != 2 or block.dtype.kind not in "biuf" or block.size == 0:
        raise SampleError(
            f"rows: have shape {block.shape} and type {block.dtype}, expected numbers"
        )
    allowed = tolerance_of(block.dtype.itemsize) if tolerance is None else tolerance
    wanted = checked(
        top_k=top_k,
        penalty=penalty,
        entropy=entropy,
        sets=tuple(constraints),
        generator=generator_named(generator, dual=dual),
        source=source,
        rows=Rows(source, 1.0 / temperature, allowed),  # type: ignore[arg-type]
    )
    with one_blas_thread(), np.errstate(all="ignore"):  # what is undefined is refused
        return applied(block, wanted, "rows", 0, lambda row, rows: "is no distribution")


def tolerance_of(width: int) -> float:
    """How far a sum of numbers of so many bytes may be from 1."""
    return TOLERANCES.get(width, 1e-6)


def checked(*, source: str, **given: Any) -> Projection:
    """One condition, and a generator that it knows."""
    flags = ("top_k", "penalty", "entropy", "sets")
    having = [name for name in flags if given[name] not in (None, ())]
    if len(having) != 1:
        raise SettingError(
            "project: give one of --top-k, --penalty, --entropy and --constraint"
            + (", not several" if having else "")
        )
    of: Generator = given["generator"]
    if given["penalty"] is not None and not of.drops:
        raise SettingError(
            f"--penalty: {of.name} is infinite where a class is dropped; give --top-k, or another "
            "--generator"
        )
    if given["sets"] and (of.dual or of.power not in (1.0, 2.0)):
        raise SettingError(f"--constraint: knows --generator kl and alpha:2, not {of.name}")
    if source == "numbers" and not (given["sets"] and of.power == 2.0):
        raise SettingError(
            "--from numbers: has a meaning only with --constraint and --generator alpha:2"
        )
    return Projection(free=source == "numbers", **given)


def applied(
    block: NDArray[Any],
    wanted: Projection,
    name: str,
    start: int,
    fault: Callable[[NDArray[Any], Rows], str],
) -> Projected:
    """The rows of one block; errors name the row of the file."""

    def refuse(sound: NDArray[np.bool_]) -> None:
        if not sound.all():
            row = int(np.flatnonzero(~sound)[0])
            raise SampleError(f"{name}: row {start + row} {fault(block[row], wanted.rows)}")

    if block.dtype.kind != "f" or block.dtype.itemsize < 4:
        block = block.astype(np.float64 if block.dtype.kind != "f" else np.float32)
    if wanted.free:
        refuse(np.isfinite(block).all(axis=1))
        return _constrained(block.astype(np.float64), wanted, name, start)
    if wanted.top_k is not None:
        return _topped(block, wanted, refuse)
    masses, sound = distributions(block, wanted.rows)
    refuse(sound)
    if wanted.penalty is not None:
        return _priced(masses, wanted)
    if wanted.entropy is not None:
        return _tempered(masses, wanted.entropy, name, start)
    return _constrained(masses, wanted, name, start)


def _topped(
    block: NDArray[Any], wanted: Projection, refuse: Callable[[NDArray[np.bool_]], None]
) -> Projected:
    """The largest are found among the numbers as they are; masses are made of those alone if that will do."""
    of, k = wanted.generator, min(wanted.top_k or 1, block.shape[1])
    numbers, totals = block, np.ones(len(block))
    if wanted.rows.source == "logits":
        numbers, sound = distributions(block, wanted.rows)
        powers = sums(numbers, of)[1]
    else:
        totals, powers = sums(block, of)
        sound = block.min(axis=1) >= 0
        if wanted.rows.source == "counts":
            sound &= (totals > 0) & np.isfinite(totals)
        else:
            sound &= np.abs(totals - 1.0) <= wanted.rows.tolerance
    refuse(sound)
    places, tied = top_places(block, k)
    top = np.take_along_axis(numbers, places, axis=1) / totals[:, None]
    every = price_of_all(numbers, of, totals, powers)
    return _spread(priced(places, top, tied, of, every), top.sum(axis=1), block.shape)


def _priced(masses: Array, wanted: Projection) -> Projected:
    if wanted.penalty == 0:
        counts = (masses > 0).sum(axis=1).astype(np.float64)
        zeros, ones = np.zeros(len(masses)), np.ones(len(masses))
        return Projected(masses, zeros, counts, ones, ones, 0, ones > 0)
    found = penalised(masses, wanted.generator, wanted.penalty or 0.0)
    inside = np.arange(found.classes.shape[1]) < found.counts[:, None]
    had = np.where(inside, np.take_along_axis(masses, found.classes, axis=1), 0.0).sum(axis=1)
    return _spread(found, had, masses.shape)


def _spread(found: Kept, had: Array, shape: tuple[int, ...]) -> Projected:
    """All classes again; those beyond what a row keeps add nothing where they point."""
    q = np.zeros(shape)
    kept = np.nonzero(found.masses > 0)
    q[kept[0], found.classes[kept]] = found.masses[kept]
    ones = np.ones(len(q))
    counts = found.counts.astype(np.float64)
    return Projected(q, found.divergence, counts, had, ones, found.tied, ones > 0)


def _tempered(masses: Array, wanted: float, name: str, start: int) -> Projected:
    q, beta, possible = tempered(masses, wanted)
    if not possible.all():
        row = int(np.flatnonzero(~possible)[0])
        low, high = (float(edge[row]) for edge in limits(masses[row : row + 1]))
        raise InconclusiveError(
            f"{name}: row {start + row} can have an entropy of {low:.6g} to {high:.6g} nats by its powers, "
            f"not --entropy {wanted:g}"
        )
    cost = np.maximum(price(masses, q, KL), 0.0)
    counts = (q > 0).sum(axis=1).astype(np.float64)
    had = np.where(q > 0, masses, 0.0).sum(axis=1)
    return Projected(q, cost, counts, had, beta, 0, possible)


def _constrained(masses: Array, wanted: Projection, name: str, start: int) -> Projected:
    sets = (*wanted.sets, Simplex())
    q, found = projected(masses, sets, wanted.geometry)
    if not np.isfinite(q).all():
        row = int(np.flatnonzero(~np.isfinite(q).all(axis=1))[0])
        raise InconclusiveError(
            f"{name}: row {start + row} has no mass where the constraints want some; give --generator alpha:2"
        )
    kept = q > 0
    ones = np.ones(len(q))
    if wanted.geometry == "kl":
        cost = np.maximum(price(masses, q, KL), 0.0)
    else:
        cost = 0.5 * ((q - masses) ** 2).sum(axis=1)
    had = np.where(kept, masses, 0.0).sum(axis=1)
    return Projected(q, cost, kept.sum(axis=1).astype(np.float64), had, ones, 0, found)
