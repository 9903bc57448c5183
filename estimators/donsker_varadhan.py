"""Critics trained on the Donsker-Varadhan bound itself, side by side like logistic regressions.

The loss −E_P T + ln E_Q exp T is convex in the weights of T = φ' w and knows T but for a constant, which
is chosen afterwards: exp T has mean 1 over the rows of Q that the critic was fitted to.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from divmatch.kernels.execution import in_order
from divmatch.kernels.logistic import CURVATURE_ROWS, Problems, inverse_factor

Array = NDArray[np.float64]

LEAST = -1e308  # below any score: where a tile has no row of Q


@dataclass(frozen=True, eq=False)
class Bounds(Problems):
    """The problems of `Problems` with the negative Donsker-Varadhan bound in place of the logistic loss."""

    def loss(self, v: Array) -> tuple[Array, Array]:
        """Loss (K, R) and its gradient (p, K, R) at ``v``."""
        value, _, gradient = self._bound(v)
        value += 0.5 * self.ridge * np.einsum("pkr,pkr->kr", v, v)
        return value, gradient * self.scales.T[:, None, :] + self.ridge * v

    def unpenalised(self, v: Array) -> tuple[Array, Array]:
        """Loss (K, R) without the ridge, and ln E_Q exp T over the rows that were fitted."""
        value, log_mean, _ = self._bound(v)
        return value, log_mean

    def _bound(self, v: Array) -> tuple[Array, Array, Array]:
        """−E_P T + ln E_Q exp T, that logarithm, and the gradient by the features' weights."""
        coefficients = self.weights(v)
        folds, candidates = self.shape

        def tile(at: slice) -> tuple[Array, Array, Array, Array, Array]:
            features = self.rows.make(at)
            scores = (features @ coefficients).reshape(len(features), folds, candidates)
            p, mass = self.sign[at] > 0, 2.0 * self.mass[at]
            of_p = np.einsum("ik,ikr->kr", mass[p], scores[p])
            of_q = np.where(mass[~p][:, :, None] > 0, scores[~p], -np.inf)
            largest = of_q.max(axis=0, initial=LEAST)
            powers = mass[~p][:, :, None] * np.exp(of_q - largest)
            pull = features[~p].T @ powers.reshape(len(powers), folds * candidates)
            return of_p, features[p].T @ mass[p], largest, powers.sum(axis=0), pull

        mean = np.zeros((folds, candidates))
        slope = np.zeros((len(v), folds))
        peak, total = np.full(mean.shape, LEAST), np.zeros(mean.shape)
        pulls = np.zeros(v.shape)
        work = 2.0 * self.rows.count * coefficients.size
        for of_p, features, largest, powers, pull in in_order(tile, self.rows.tiles(), work=work):
            mean += of_p
            slope += features
            before, peak = peak, np.maximum(peak, largest)
            kept, added = np.exp(before - peak), np.exp(largest - peak)
            total = total * kept + powers * added
            pulls = pulls * kept + pull.reshape(v.shape) * added
        log_mean = np.log(total) + peak
        return log_mean - mean, log_mean, pulls / total - slope[:, :, None]

    def curvatures(self, v: Array) -> list[Array]:
        """Inverse Cholesky factors of the candidates' Hessians, averaged over the folds.

        One for each candidate, of the features that it does not leave out.
        """
        step = -(-self.rows.count // CURVATURE_ROWS)
        of_q = [np.flatnonzero(self.sign[at] < 0)[::step] for at in self.rows.tiles()]
        taken = list(zip(self.rows.tiles(), of_q, strict=True))
        features = np.concatenate([self.rows.make(at)[rows] for at, rows in taken])
        mass = np.concatenate([self.mass[at][rows] for at, rows in taken])
        scores = (features @ self.weights(v)).reshape(len(features), *self.shape)
        scores = np.where(mass[:, :, None] > 0, scores, -np.inf)
        powers = mass[:, :, None] * np.exp(scores - scores.max(axis=0))
        powers /= powers.sum(axis=0)
        made = []
        for r, scale in enumerate(self.scales):
            columns = np.flatnonzero(scale)
            part, share = features[:, columns], powers[:, :, r]
            means = share.T @ part
            second = (part * share.mean(axis=1)[:, None]).T @ part
            hessian = second - means.T @ means / len(means)
            made.append(inverse_factor(hessian, scale[columns], self.ridge))
        return made
