"""A critic with two hidden layers of tanh units, trained by Adam with early stopping.

In NumPy, or on a GPU in CuPy, whose arrays NumPy's functions hand on to it.
"""

import math
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divmatch.estimators.folds import Deal
from divmatch.kernels.backend import to_device, to_host
from divmatch.kernels.execution import in_order

Array = NDArray[np.float64]

HIDDEN = (64, 64)
BATCH = 256  # rows of either sample in a step
RATE, DECAY = 2e-3, 1e-4
MOST_EPOCHS, PATIENCE = 60, 8
VALIDATION = 5  # every fifth row decides when to stop
CHUNK = 8192  # rows scored at once


def held_out(deal: Deal, mass: Array, rng: "np.random.Generator") -> tuple[Array, float, bool]:
    """Held-out scores, the gain on the rows seen, and whether every training was done in time."""
    folds = list(enumerate(rng.spawn(mass.shape[1])))
    made = list(in_order(lambda fold: trained(deal, mass[:, fold[0]], fold[1]), folds))
    every = np.stack([scores for scores, _ in made])
    seen = np.mean([_loss(every[k], deal.sign, mass[:, k]) for k in range(len(made))])
    scores = every[deal.fold, np.arange(len(deal.fold))]
    return scores, math.log(2.0) - float(seen), all(stopped for _, stopped in made)


def _loss(scores: Array, sign: Array, mass: Array) -> float:
    return float(mass @ np.logaddexp(0.0, -sign * scores))


def trained(deal: Deal, mass: Array, rng: "np.random.Generator") -> tuple[Array, bool]:
    """Scores of all rows by the network that did best on its validation rows."""
    rows = [rng.permutation(np.flatnonzero((mass > 0) & side)) for side in (deal.p, ~deal.p)]
    kept = [part[: len(part) // VALIDATION] for part in rows]
    rows = [part[len(part) // VALIDATION :] for part in rows]
    checked = np.concatenate(kept)
    watch = checked if all(map(len, kept)) else np.concatenate(rows)  # a handful of rows
    work = 6.0 * MOST_EPOCHS * sum(map(len, rows)) * HIDDEN[0] * sum(HIDDEN, deal.points.shape[1])
    move = partial(to_device, work=work)
    points = move(deal.points)
    network = Network(deal.points.shape[1], rng, move)
    best, kept_parameters, waited = math.inf, network.copied(), 0
    for _ in range(MOST_EPOCHS):
        for batch in _batches(rows, rng):
            shares = move(_shares(deal, mass, batch))
            network.step(points[move(batch)], move(deal.sign[batch]), shares)
        scores = to_host(network.scores(points[move(watch)]))
        loss = _loss(scores, deal.sign[watch], _shares(deal, mass, watch))
        if loss < best:
            best, kept_parameters, waited = loss, network.copied(), 0
        else:
            waited += 1
        if waited == PATIENCE:
            break
    network.parameters = kept_parameters
    return to_host(network.scores(points)), waited == PATIENCE


def _batches(rows: list[NDArray[np.intp]], rng: "np.random.Generator") -> list[NDArray[np.intp]]:
    """Batches of up to 256 rows of either sample; the smaller sample is gone through again."""
    count = -(-max(map(len, rows)) // BATCH)
    parts = []
    for part in rows:
        size = min(BATCH, len(part))
        rounds = -(-count * size // len(part))
        order = np.concatenate([rng.permutation(part) for _ in range(rounds)])
        parts.append(order[: count * size].reshape(count, size))
    return [np.concatenate(batch) for batch in zip(*parts, strict=True)]


def _shares(deal: Deal, mass: Array, batch: NDArray[np.intp]) -> Array:
    """Masses in a batch: one half for either sample."""
    shares = mass[batch]
    for side in (deal.p[batch], ~deal.p[batch]):
        total = shares[side].sum()
        if total > 0:
            shares[side] *= 0.5 / total
    return shares


class Network:
    """Tanh layers and one linear output; ``parameters`` are matrices and offsets in turn."""

    def __init__(
        self, columns: int, rng: "np.random.Generator", move: Callable[[Array], Any]
    ) -> None:
        sizes = (columns, *HIDDEN, 1)
        self.parameters: list[Any] = []
        for inputs, outputs in pairwise(sizes):
            spread = math.sqrt(2.0 / (inputs + outputs))  # Glorot's normal start
            start = spread * rng.standard_normal((inputs, outputs))
            self.parameters += [move(start), move(np.zeros(outputs))]
        self._mean = [np.zeros_like(p) for p in self.parameters]
        self._square = [np.zeros_like(p) for p in self.parameters]
        self._steps = 0

    def copied(self) -> list[Any]:
        """The parameters as they are now."""
        return [p.copy() for p in self.parameters]

    def scores(self, points: Any) -> Any:
        """Output for every row."""
        parts = range(0, len(points), CHUNK)
        return np.concatenate([self._forward(points[i : i + CHUNK])[-1][:, 0] for i in parts])

    def _forward(self, points: Any) -> list[Any]:
        layers = [points]
        last = len(self.parameters) - 2
        for i in range(0, len(self.parameters), 2):
            made = layers[-1] @ self.parameters[i] + self.parameters[i + 1]
            layers.append(made if i == last else np.tanh(made))
        return layers

    def step(self, points: Any, sign: Any, mass: Any) -> None:
        """One step of Adam down the logistic loss of a batch."""
        layers = self._forward(points)
        margin = sign * layers[-1][:, 0]
        pull = (-sign * mass * (0.5 - 0.5 * np.tanh(0.5 * margin)))[:, None]
        slopes: list[Any] = []
        for i in range(len(self.parameters) - 2, -1, -2):
            inputs = layers[i // 2]
            slopes[:0] = [inputs.T @ pull + DECAY * self.parameters[i], pull.sum(axis=0)]
            if i:
                pull = (pull @ self.parameters[i].T) * (1.0 - inputs**2)
        self._steps += 1
        for p, slope, mean, square in zip(
            self.parameters, slopes, self._mean, self._square, strict=True
        ):
            mean += 0.1 * (slope - mean)
            square += 0.001 * (slope**2 - square)
            size = np.sqrt(square / (1.0 - 0.999**self._steps)) + 1e-8
            p -= RATE * mean / (1.0 - 0.9**self._steps) / size
