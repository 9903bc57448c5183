"""Density ratios by least squares (uLSIF): linear in Gaussian kernels, scored on rows not seen.

The ratio r minimises E_Q r² / 2 − E_P r, whose minimum over all functions is at p/q. In features φ it
is w = (H + λ I)⁻¹ h, with H the mean of φ φ' over Q and h that of φ over P. The rows are dealt into
folds as for the critics; the width of the kernels and λ of a fold are those with the least loss on the
held-out rows of the other folds. There is no constant among the kernels: where Q has no rows of P
near, the ratio is to be 0.
"""

from copy import deepcopy
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from divmatch.estimators.critics import Scores, accurate, gains, middled
from divmatch.estimators.folds import Deal, dealt, median_distance, placed_rows
from divmatch.estimators.invariance import represented
from divmatch.estimators.left_over import flat_ratio, outdone
from divmatch.kernels.bumps import CENTRES, RIDGES, WIDTHS, Bumps, ridges_of
from divmatch.kernels.least_squares import Pool
from divmatch.record import Note
from divmatch.samples import Samples

Array = NDArray[np.float64]

LEAST_RATIO = 0.05  # a linear ratio may be negative; logarithms take this one instead


@dataclass(frozen=True, eq=False)
class Ratios:
    """Held-out ratios of every row, of any sign and 0 for rows without weight; how they came about.

    ``widths`` and ``ridges`` are what was chosen for every fold; ``judged`` are the logarithms of the
    ratios, where too small ones were raised, with what says how well they tell the samples apart.
    ``flat`` warns where they do not carry Q over to P.
    """

    x: Array
    y: Array
    widths: tuple[float, ...]
    ridges: tuple[float, ...]
    judged: Scores
    flat: tuple[Note, ...] = ()

    def notes(self) -> tuple[Note, ...]:
        """Warnings about the ratios as such."""
        return (*self.judged.notes(), *self.flat)

    def params(self) -> dict[str, list[float]]:
        """What was chosen for every fold."""
        chosen = {"widths": self.widths, "ridges": self.ridges}
        return {key: [float(f"{value:.3g}") for value in values] for key, values in chosen.items()}


def raised(samples: Samples, ratio: Array) -> tuple[Note, ...]:
    """A warning where ratios are too small for a logarithm or a power, with their share."""
    share = float(samples.masses()[ratio < LEAST_RATIO].sum())
    if share <= 0:
        return ()
    return (
        Note(
            "W27",
            f"{samples.name}: {share:.2%} of the weight has fitted ratios below {LEAST_RATIO:g}, which "
            "were raised to it",
        ),
    )


def held_out_ratios(
    x: Samples, y: Samples, folds: int, rng: "np.random.Generator", invariant: str | None = None
) -> Ratios:
    """Held-out ratios of both samples, computed once for a pair of samples and a state of ``rng``."""
    x, y = represented(x, invariant), represented(y, invariant)
    key = ("ulsif", id(x), folds, repr(rng.bit_generator.state))
    _, found = y.once(key, lambda: (x, _cross_fitted(x, y, folds, deepcopy(rng))))
    return found


def _cross_fitted(x: Samples, y: Samples, folds: int, rng: "np.random.Generator") -> Ratios:
    deal = dealt(x, y, folds, rng)
    kernels = Kernels(deal, rng)
    pool = Pool(len(deal.mass), kernels.features, deal.p, deal.mass, deal.fold, folds)
    candidates = ridges(deal)
    every = pool.every_ratio([of.solved(candidates) for of in pool.moments()])
    best = _best(deal, every, folds)
    ratio = every[np.arange(len(every)), best[deal.fold]]
    scores = np.log(np.maximum(ratio, LEAST_RATIO))
    gain = gains(deal, scores)  # as on rows seen: λ was chosen on others, nothing is to be compared
    accuracy = accurate(deal, middled(deal, scores))
    of_x, of_y = placed_rows(x, y, deal, ratio)
    return Ratios(
        of_x,
        of_y,
        widths=tuple(kernels.scale * WIDTHS[i // len(RIDGES)] for i in best),
        ridges=tuple(candidates[i % len(RIDGES)] for i in best),
        judged=Scores(*placed_rows(x, y, deal, scores), gain, gain, accuracy, True),
        flat=flat_ratio(x, y, of_y) or outdone(x, y, placed_rows(x, y, deal, scores), rng),
    )


class Kernels:
    """Gaussian kernels around rows of P, of several widths at once."""

    def __init__(self, deal: Deal, rng: "np.random.Generator") -> None:
        self._points = deal.points
        self.scale = median_distance(deal, rng)
        rows = np.flatnonzero(deal.p)
        mass = deal.mass[rows]
        taken = rng.choice(rows, min(CENTRES, len(rows)), replace=False, p=mass / mass.sum())
        self.bumps = Bumps(deal.points[taken], self.scale)

    @property
    def centres(self) -> Array:
        """Where the kernels stand."""
        return self.bumps.centres

    @property
    def count(self) -> int:
        """Number of kernels of one width."""
        return self.bumps.count

    def features(self, at: slice) -> list[Array]:
        """Kernels (rows, count) of every width, the widest first."""
        return self.bumps.every(self._points[at])


def ridges(deal: Deal) -> list[float]:
    """Candidates of λ, in inverse proportion to what the rows of the smaller sample are worth."""
    return ridges_of(deal.mass[deal.p], deal.mass[~deal.p])


def _best(deal: Deal, every: Array, folds: int) -> NDArray[np.intp]:
    """For every fold the candidate with the least squared loss on the other folds' rows."""
    losses = np.where(deal.p[:, None], -every, 0.5 * every**2) * deal.mass[:, None]
    parts = np.stack([losses[deal.fold == k].sum(axis=0) for k in range(folds)])
    return (parts.sum(axis=0) - parts).argmin(axis=1)
