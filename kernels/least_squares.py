"""Density ratios by least squares in features of several widths, for all folds and ridges at once.

w = (H + λ I)⁻¹ h with H the mean of φ φ' over the rows below the ratio and h that of φ over those above.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from divmatch.kernels.execution import in_order, steps_of

Array = NDArray[np.float64]

BLOCK = 2048  # rows a tile


@dataclass(frozen=True, eq=False)
class Moments:
    """Sums by fold in features of one width: products (folds, c, c) below, means (folds, c) above.

    ``masses`` are those of every fold, above and below.
    """

    products: Array
    means: Array
    masses: tuple[Array, Array]

    def solved(self, ridges: Sequence[float]) -> Array:
        """Coefficients (c, folds, ridges), each from the rows outside its fold."""
        folds, count = self.means.shape
        made = np.empty((count, folds, len(ridges)))
        for k in range(folds):
            seen = np.arange(folds) != k
            for i, ridge in enumerate(ridges):
                made[:, k, i] = self._of(seen, ridge)
        return made

    def whole(self, ridge: float) -> Array:
        """Coefficients (c,) from all rows."""
        return self._of(np.ones(len(self.means), dtype=bool), ridge)

    def _of(self, seen: NDArray[np.bool_], ridge: float) -> Array:
        h = self.means[seen].sum(axis=0) / self.masses[0][seen].sum()
        product = self.products[seen].sum(axis=0) / self.masses[1][seen].sum()
        made: Array = np.linalg.solve(product + ridge * np.eye(len(h)), h)
        return made


@dataclass(frozen=True, eq=False)
class Pool:
    """Rows of both samples with their features by width, masses and folds.

    ``above`` marks the rows of the sample that is above the line of the ratio; masses sum to 1 in each.
    """

    count: int
    features: Callable[[slice], list[Array]]
    above: NDArray[np.bool_]
    mass: Array
    fold: NDArray[np.intp]
    folds: int

    def moments(self) -> list[Moments]:
        """One for each width."""
        shares = np.where(self.fold[:, None] == np.arange(self.folds), self.mass[:, None], 0.0)
        masses = shares[self.above].sum(axis=0), shares[~self.above].sum(axis=0)

        def tile(at: slice) -> list[tuple[Array, Array]]:
            above, share = self.above[at], shares[at]
            made = []
            for features in self.features(at):
                below = features[~above]
                parts = [below[some] for some in (share[~above] > 0).T]
                lots = [mass[mass > 0][:, None] for mass in share[~above].T]
                pairs = zip(parts, lots, strict=True)
                products = np.stack([(part * mass).T @ part for part, mass in pairs])
                made.append((products, share[above].T @ features[above]))
            return made

        sums: list[tuple[Array, Array]] = []
        for found in in_order(tile, steps_of(self.count, BLOCK), work=self._work()):
            for i, (product, mean) in enumerate(found):
                if i == len(sums):
                    sums.append((np.zeros_like(product), np.zeros_like(mean)))
                sums[i][0][...] += product
                sums[i][1][...] += mean
        return [Moments(*pair, masses) for pair in sums]

    def every_ratio(self, weights: Sequence[Array]) -> Array:
        """Ratios (N, widths × ridges) of every row by the coefficients found without its fold."""

        def tile(at: slice) -> Array:
            made = []
            for features, of_width in zip(self.features(at), weights, strict=True):
                shape = (len(features), *of_width.shape[1:])
                all_folds = (features @ of_width.reshape(len(of_width), -1)).reshape(shape)
                made.append(all_folds[np.arange(len(features)), self.fold[at]])
            return np.concatenate(made, axis=1)

        work = 2.0 * self.count * sum(of_width.size for of_width in weights)
        return np.concatenate(list(in_order(tile, steps_of(self.count, BLOCK), work=work)))

    def _work(self) -> float:
        widths = [features.shape[1] for features in self.features(slice(0, 1))]
        return 2.0 * self.count * sum(width**2 for width in widths)
