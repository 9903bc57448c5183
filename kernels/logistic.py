"""Ridge logistic regressions, many at once: one pass over the rows serves all folds and penalties."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from divmatch.kernels.execution import execution, in_order, steps_of

Array = NDArray[np.float64]

BLOCK = 512  # rows a tile, small enough for the cache; sums are per tile, then added in order
CURVATURE_ROWS = 3072  # rows whose curvature preconditions the iterations; more change nothing
MEMORY = 6  # pairs of the limited-memory update
REFRESHES = (3, 10, 25)  # iterations after which the curvature is taken anew
MOST_ITERATIONS = 80
DECREMENT = 1e-10  # squared distance to the optimum, in units of the loss, at which to stop


@dataclass(frozen=True, eq=False)
class Rows:
    """Features of N rows, made tile by tile; kept when they fit into half of the memory."""

    count: int
    width: int
    make: Callable[[slice], Array]

    def tiles(self) -> list[slice]:
        """The rows of every tile."""
        return list(steps_of(self.count, BLOCK))

    def kept(self) -> "Rows":
        """The same rows with their features in memory, where there is room."""
        if 16 * self.count * self.width > execution().memory:
            return self
        values = np.empty((self.count, self.width))

        def fill(tile: slice) -> None:
            values[tile] = self.make(tile)

        for _ in in_order(fill, self.tiles(), work=40 * self.count * self.width):
            pass
        return Rows(self.count, self.width, lambda tile: values[tile])


@dataclass(frozen=True, eq=False)
class Problems:
    """Logistic regressions that share rows: one for each column of ``mass`` and each scale.

    ``sign`` (N,) is +1 for rows of P and −1 for rows of Q; ``mass`` (N, K) holds each row's share
    in the k-th loss, 0 where it is held out; ``scales`` (R, p) multiplies the features of the r-th
    candidate, 0 leaves one out: the smaller, the harder a feature is penalised.
    """

    rows: Rows
    sign: Array
    mass: Array
    scales: Array
    ridge: float

    @property
    def shape(self) -> tuple[int, int]:
        """Folds and candidates."""
        return self.mass.shape[1], len(self.scales)

    def weights(self, v: Array) -> Array:
        """Coefficients of the features, shape (p, K R), from scaled ones of shape (p, K, R)."""
        return (v * self.scales.T[:, None, :]).reshape(len(v), -1)

    def loss(self, v: Array) -> tuple[Array, Array]:
        """Loss (K, R) and its gradient (p, K, R) at ``v``."""
        coefficients = self.weights(v)
        folds, candidates = self.shape

        def tile(at: slice) -> tuple[Array, Array]:
            features = self.rows.make(at)
            sign = self.sign[at, None]
            margin = sign * (features @ coefficients)
            losses = np.maximum(-margin, 0.0) + np.log1p(np.exp(-np.abs(margin)))
            slope = 0.5 - 0.5 * np.tanh(0.5 * margin)
            mass = self.mass[at]
            shape = (len(margin), folds, candidates)
            value = np.einsum("ik,ikr->kr", mass, losses.reshape(shape))
            pull = (slope * -sign).reshape(shape) * mass[:, :, None]
            return value, features.T @ pull.reshape(len(margin), -1)

        value = 0.5 * self.ridge * np.einsum("pkr,pkr->kr", v, v)
        gradient = np.zeros_like(coefficients)
        work = 2.0 * self.rows.count * self.rows.width * folds * candidates
        for part, slopes in in_order(tile, self.rows.tiles(), work=work):
            value += part
            gradient += slopes
        return value, gradient.reshape(v.shape) * self.scales.T[:, None, :] + self.ridge * v

    def scores(self, v: Array, fold: NDArray[np.intp]) -> Array:
        """Scores (N, R) of every row under the regressions of its own column ``fold`` of mass."""
        coefficients = self.weights(v)
        folds, candidates = self.shape

        def tile(at: slice) -> Array:
            scores = (self.rows.make(at) @ coefficients).reshape(-1, folds, candidates)
            return scores[np.arange(len(scores)), fold[at]]

        work = 2.0 * self.rows.count * coefficients.size
        return np.concatenate(list(in_order(tile, self.rows.tiles(), work=work)))

    def curvatures(self, v: Array) -> list[Array]:
        """Inverse Cholesky factors of the candidates' Hessians, averaged over the folds.

        One for each candidate, of the features that it does not leave out.
        """
        step = -(-self.rows.count // CURVATURE_ROWS)
        coefficients = self.weights(v)
        folds, candidates = self.shape
        active = [np.flatnonzero(scale) for scale in self.scales]

        def tile(at: slice) -> list[Array]:
            features = self.rows.make(at)[::step]
            mass = self.mass[at][::step] * (0.25 * step / folds)
            half = np.tanh(0.5 * (features @ coefficients)).reshape(len(features), -1, candidates)
            curved = np.einsum("ik,ikr->ri", mass, 1.0 - half**2)
            made = []
            for columns, weights in zip(active, curved, strict=True):
                part = features[:, columns]
                made.append((part * weights[:, None]).T @ part)
            return made

        total = [np.zeros((len(columns), len(columns))) for columns in active]
        work = candidates * self.rows.width**2 * self.rows.count / step
        for parts in in_order(tile, self.rows.tiles(), work=work):
            for sum_, part in zip(total, parts, strict=True):
                sum_ += part
        return [
            inverse_factor(hessian, scale[columns], self.ridge)
            for hessian, scale, columns in zip(total, self.scales, active, strict=True)
        ]


def inverse_factor(hessian: Array, scale: Array, ridge: float) -> Array:
    """Inverse Cholesky factor of a scaled Hessian with its ridge."""
    scaled = hessian * np.outer(scale, scale)
    scaled[np.diag_indices_from(scaled)] += ridge
    return np.linalg.inv(np.linalg.cholesky(scaled))


def fit(problems: Problems) -> tuple[Array, bool]:
    """Coefficients (p, K, R) of all regressions, and whether all of them converged.

    Limited-memory quasi-Newton steps of all problems side by side, preconditioned by the Hessian
    that the folds of a candidate share: about ten passes over the rows.
    """
    shape = (problems.rows.width, *problems.shape)
    v = np.zeros(shape)
    value, gradient = problems.loss(v)
    factors = problems.curvatures(v)
    history: list[tuple[Array, Array, Array]] = []
    for iteration in range(MOST_ITERATIONS):
        if iteration in REFRESHES:
            factors, history = problems.curvatures(v), []
        step = _direction(gradient, problems.scales > 0, factors, history)
        decrement = -np.einsum("pkr,pkr->kr", step, gradient)
        if (decrement <= DECREMENT).all():
            return v, True
        moved, found, slopes = _searched(problems, v, value, step, decrement)
        change, bend = moved - v, slopes - gradient
        curved = np.einsum("pkr,pkr->kr", change, bend)
        history = [*history[1 - MEMORY :], (change, bend, curved)]
        settled = (value - found <= 1e-16 * np.abs(value)) & (decrement < 1e-10)
        v, value, gradient = moved, found, slopes
        if settled.all() and iteration > REFRESHES[0]:
            return v, True
    return v, bool((decrement < 1e-8).all())


def _searched(
    problems: Problems, v: Array, value: Array, step: Array, decrement: Array
) -> tuple[Array, Array, Array]:
    """The full step, halved for the problems whose loss it would raise."""
    length = np.ones_like(value)
    for _ in range(30):
        moved = v + length * step
        found, gradient = problems.loss(moved)
        # near the optimum losses differ by less than their rounding
        worse = ~(found <= value - 1e-4 * length * decrement + 1e-14 * (1.0 + np.abs(value)))
        if not worse.any():
            break
        length = np.where(worse, 0.5 * length, length)
    return moved, found, gradient


def _direction(
    gradient: Array,
    active: NDArray[np.bool_],
    factors: Sequence[Array],
    history: Sequence[tuple[Array, Array, Array]],
) -> Array:
    """Two-loop recursion, every problem by itself; Nocedal & Wright 2006, algorithm 7.4."""
    q = gradient.copy()
    kept = []
    for change, bend, curved in reversed(history):
        usable = curved > 0
        share = np.where(usable, np.einsum("pkr,pkr->kr", change, q), 0.0)
        share /= np.where(usable, curved, 1.0)
        q -= share * bend
        kept.append(share)
    for r, factor in enumerate(factors):
        q[active[r], :, r] = factor.T @ (factor @ q[active[r], :, r])
    for (change, bend, curved), share in zip(history, reversed(kept), strict=True):
        usable = curved > 0
        other = np.where(usable, np.einsum("pkr,pkr->kr", bend, q), 0.0)
        other /= np.where(usable, curved, 1.0)
        q += (share - other) * change
    return -q
