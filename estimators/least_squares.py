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
from divmatch.kernels.execution import in_order, steps_of
from divmatch.record import Note
from divmatch.samples import Samples

Array = NDArray[np.float64]

CENTRES = 100  # kernels; more did not lower the error of any oracle, and cost
WIDTHS = (2.0, 1.0, 0.5, 0.25)  # in median distances; halving is raising to the fourth power
RIDGES = (1000.0, 100.0, 10.0, 1.0)  # over the rows; less gives lone rows in the tails any ratio
LEAST_RATIO = 0.05  # a linear ratio may be negative; logarithms take this one instead
BLOCK = 2048  # rows a tile


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
    weights = _weights(deal, kernels, folds)
    every = _every_ratio(deal, kernels, weights)
    best = _best(deal, every, folds)
    ratio = every[np.arange(len(every)), best[deal.fold]]
    candidates = ridges(deal)
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
        self.centres = deal.points[taken]
        self._squares = np.einsum("ij,ij->i", self.centres, self.centres)

    @property
    def count(self) -> int:
        """Number of kernels of one width."""
        return len(self.centres)

    def features(self, at: slice) -> list[Array]:
        """Kernels (rows, count) of every width, the widest first."""
        z = self._points[at]
        gaps = np.einsum("ij,ij->i", z, z)[:, None] + self._squares - 2.0 * (z @ self.centres.T)
        kernel = np.exp(np.maximum(gaps, 0.0) * (-0.5 / (WIDTHS[0] * self.scale) ** 2))
        made = []
        for _ in WIDTHS:
            made.append(kernel)
            kernel = (kernel**2) ** 2
        return made


def ridges(deal: Deal) -> list[float]:
    """Candidates of λ, in inverse proportion to what the rows of the smaller sample are worth."""
    rows = [1.0 / float(mass @ mass) for mass in (deal.mass[deal.p], deal.mass[~deal.p])]
    return [ridge / min(rows) for ridge in RIDGES]


def _weights(deal: Deal, kernels: Kernels, folds: int) -> list[Array]:
    """Coefficients (count, folds, ridges) for every width."""
    products, means, masses = _moments(deal, kernels, folds)
    made = []
    for of_q, of_p in zip(products, means, strict=True):
        solved = np.empty((kernels.count, folds, len(RIDGES)))
        for k in range(folds):
            seen = np.arange(folds) != k
            h = of_p[seen].sum(axis=0) / masses[0][seen].sum()
            product = of_q[seen].sum(axis=0) / masses[1][seen].sum()
            for i, ridge in enumerate(ridges(deal)):
                solved[:, k, i] = np.linalg.solve(product + ridge * np.eye(len(h)), h)
        made.append(solved)
    return made


def _moments(
    deal: Deal, kernels: Kernels, folds: int
) -> tuple[list[Array], list[Array], tuple[Array, Array]]:
    """Sums of φ φ' over Q (folds, c, c) and of φ over P (folds, c) by width; masses by fold."""
    shares = np.where(deal.fold[:, None] == np.arange(folds), deal.mass[:, None], 0.0)
    masses = shares[deal.p].sum(axis=0), shares[~deal.p].sum(axis=0)
    count = kernels.count
    products = [np.zeros((folds, count, count)) for _ in WIDTHS]
    means = [np.zeros((folds, count)) for _ in WIDTHS]

    def tile(at: slice) -> tuple[list[Array], list[Array]]:
        p, share = deal.p[at], shares[at]
        made: tuple[list[Array], list[Array]] = [], []
        for features in kernels.features(at):
            of_q = features[~p]
            parts = [of_q[some] for some in (share[~p] > 0).T]
            masses = [mass[mass > 0][:, None] for mass in share[~p].T]
            pairs = zip(parts, masses, strict=True)
            made[0].append(np.stack([(part * mass).T @ part for part, mass in pairs]))
            made[1].append(share[p].T @ features[p])
        return made

    work = 2.0 * len(deal.mass) * len(WIDTHS) * count**2
    for of_q, of_p in in_order(tile, steps_of(len(deal.mass), BLOCK), work=work):
        for i, (product, mean) in enumerate(zip(of_q, of_p, strict=True)):
            products[i] += product
            means[i] += mean
    return products, means, masses


def _every_ratio(deal: Deal, kernels: Kernels, weights: list[Array]) -> Array:
    """Ratios (N, widths × ridges) of every row by the weights that were fitted without its fold."""

    def tile(at: slice) -> Array:
        made = []
        for features, of_width in zip(kernels.features(at), weights, strict=True):
            all_folds = (features @ of_width.reshape(kernels.count, -1)).reshape(
                len(features), -1, len(RIDGES)
            )
            made.append(all_folds[np.arange(len(features)), deal.fold[at]])
        return np.concatenate(made, axis=1)

    work = 2.0 * len(deal.mass) * sum(of_width.size for of_width in weights)
    return np.concatenate(list(in_order(tile, steps_of(len(deal.mass), BLOCK), work=work)))


def _best(deal: Deal, every: Array, folds: int) -> NDArray[np.intp]:
    """For every fold the candidate with the least squared loss on the other folds' rows."""
    losses = np.where(deal.p[:, None], -every, 0.5 * every**2) * deal.mass[:, None]
    parts = np.stack([losses[deal.fold == k].sum(axis=0) for k in range(folds)])
    return (parts.sum(axis=0) - parts).argmin(axis=1)
