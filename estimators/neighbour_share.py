"""Nearest-neighbour two-sample statistic."""

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import InconclusiveError
from divmatch.estimator import Estimate, Labels, Pooled, Quantity
from divmatch.estimators.invariance import Invariant, represented
from divmatch.kernels.execution import in_order
from divmatch.kernels.neighbours import Neighbours
from divmatch.samples import Samples
from divmatch.settings import Setting

Array = NDArray[np.float64]
NeighbourCount = Annotated[int, Setting("number of nearest neighbours", least=1)]
SPLITS = 32  # splits counted at once: their labels stay in cache

KNN = Quantity(
    "knn",
    title="excess share of own neighbours",
    unit="1",
    direction="symmetric",
    default="share",
    examples=("divmatch test real.npy gen.npy --statistic knn",),
)


@KNN.estimator(
    "share",
    source="Henze 1988, Ann. Stat. 16; Schilling 1986, JASA 81",
    interval="subsampling",
)
def knn_share(
    x: Samples, y: Samples, *, k: NeighbourCount = 5, invariant: Invariant = None
) -> Estimate:
    """Excess share of nearest neighbours from the own sample.

    T − E₀T, where T is the share of rows of the same sample among the k nearest neighbours of every
    row in the pooled sample, and E₀T = (n (n − 1) + m (m − 1)) / (N (N − 1)) its mean when the
    distributions agree. Near 0 then, and at most 1 − E₀T, for samples that do not mix. Weights
    count pairs of rows by their product.

    Use it to test for local differences in many columns: only ranks of distances matter. It has
    less power against plain shifts than the energy distance.

    Parameters
    ----------
    x, y : Samples
        Rows of shape (n, d) and (m, d), weighted or not.
    k : int
        Number of neighbours, at least 1.
    invariant : str
        Group under which both distributions are unchanged; every row is replaced by one row of its
        orbit: perm:COLS sorts the columns, flip:COLS takes absolute values, cyclic:COLS takes the
        largest shift, rot90:I,J turns the row into one quadrant.

    Returns
    -------
    Estimate
        The excess share, in (−1, 1), without unit.

    Raises
    ------
    InconclusiveError
        When the pooled sample has no more than k rows.

    Notes
    -----
    Cost: one neighbour search in the pool, then O(N k) a split.

    Source: Henze 1988, Ann. Stat. 16; Schilling 1986, JASA 81.

    Examples
    --------
    >>> from divmatch.inference import function_of
    >>> function_of("knn")([0.0, 1.0], [10.0, 11.0], k=1).value
    0.6666666666666667
    """
    x, y = (s if s.weights is None or s.weights.all() else s.take(s.weights > 0) for s in (x, y))
    weights = None
    if x.weights is not None or y.weights is not None:
        weights = np.concatenate([x.masses() * x.n, y.masses() * y.n])
        weights = weights / weights.sum()
    pool = Samples(np.concatenate([x.points, y.points]), weights, "pool", x.columns)
    labels = np.arange(pool.n)[:, None] < x.n
    return Estimate(float(_plan(pool, k, invariant).statistic(labels)[0]))


@knn_share.pooled
def _plan(pool: Samples, k: int, invariant: str | None = None) -> Pooled:
    """The neighbour graph once; each split only looks up labels."""
    pool = represented(pool, invariant)
    if pool.n <= k:
        raise InconclusiveError(f"{pool.n} rows in both samples, more than k = {k} are needed")
    if (pool.points == pool.points[0]).all():  # the mean over all ways to break the ties
        return Pooled(lambda labels: np.zeros(labels.shape[1]))
    near = Neighbours(pool.points).nearest(pool.points, k, exclude_self=True)[1]
    weights = np.full(pool.n, 1.0 / pool.n) if pool.weights is None else pool.weights
    edges = np.ascontiguousarray(weights[:, None] * weights[near])
    total = float(edges.sum())

    def statistic(labels: Labels) -> Array:
        starts = range(0, labels.shape[1], SPLITS)
        parts = in_order(lambda s: _shares(labels[:, s : s + SPLITS], near, edges), starts)
        mass = weights @ labels
        own = (weights**2) @ labels
        rest, rest_own = 1.0 - mass, float(weights @ weights) - own
        pairs = 1.0 - float(weights @ weights)
        expected = (mass**2 - own + rest**2 - rest_own) / pairs
        return np.concatenate(list(parts)) / total - expected

    return Pooled(statistic, lambda: 64 * float(np.finfo(float).eps))


def _shares(labels: Labels, near: NDArray[np.int64], edges: Array) -> Array:
    """Mass of the edges that join rows of one sample, for each split."""
    mass = np.zeros(labels.shape[1])
    for j in range(near.shape[1]):
        mass += edges[:, j] @ (labels[near[:, j]] == labels)
    return mass
