"""Alignment by nearest neighbours: those in common, ways back, and kernels of the common pairs."""

import math
from typing import Any

from divmatch.errors import InconclusiveError
from divmatch.estimator import Estimate, Pooled
from divmatch.estimators.alignment_inputs import (
    ALIGN,
    Corrected,
    K,
    Metric,
    carrying_rows,
    plan_of,
    refuse_weights,
)
from divmatch.estimators.alignment_parts import Pair, chance_of_return, masked, pair_of, tied_notes
from divmatch.intervals import Subsampled
from divmatch.samples import Samples


def _scaled(
    estimate: Estimate, found: Subsampled | None, x: Samples, y: Samples | None
) -> float | None:
    """Subsampling, brought to the share of all rows: fewer rows have more neighbours in common.

    The variance of a share p is a multiple of p (1 − p)/n that hardly depends on n; two rows are
    taken to be in and two out, so that a share of 1 has an error.
    """
    if found is None:
        return None
    chance = estimate.params.get("chance", 0.0) if estimate.params.get("corrected") else 0.0
    size = x.effective_size()
    here, there = (
        _spread(chance + (1 - chance) * one, size) for one in (estimate.value, found.mean)
    )
    return found.se * math.sqrt(here / there)


def _spread(share: float, size: float) -> float:
    """P (1 − p) with two more rows in and two more out (Agresti & Coull 1998)."""
    p = (size * min(max(share, 0.0), 1.0) + 2) / (size + 4)
    return p * (1 - p)


@ALIGN.estimator(
    "mutual-knn",
    source="arXiv:2405.07987, section 2",
    interval="subsampling",
    standard_error=_scaled,
)
def mutual_knn(
    a: Samples,
    *,
    k: K = 10,
    metric: Metric = "cosine",
    corrected: Corrected = False,
) -> Estimate:
    """Alignment of two embeddings of the same rows: the share of nearest neighbours in common.

    Σᵢ wᵢ |N_A(i) ∩ N_B(i)|/k, N the k nearest other rows. Row i of A and of B stands for the same
    thing; the columns may differ. It is 1 for equal embeddings and, with the metric euclidean, for
    those that a rotation, a shift and a scale make equal; k/(n − 1) on average for independent ones,
    which the record has as `chance`, with the `corrected` value (v − chance)/(1 − chance).

    The p-value of --permutations is for independence: rows of B are put in a random order, and no
    neighbours are searched again. Small values of k see local likeness; for the overall one take cka.

    The interval comes from subsamples, whose spread is brought to the size of the value: a share p has
    a multiple of p (1 - p)/n for its variance. Ties are broken at random, in A and B independently, and a
    warning (W64) counts them. Weights count rows in the mean, and rows of weight 0 are no neighbours.

    Parameters
    ----------
    a : Samples
        Rows of A, shape (n, d), weighted or not; those of B stand beside them.
    k : int
        Neighbours of every row.
    metric : str
        cosine or euclidean.
    corrected : bool
        Whether the value is corrected for chance.

    Returns
    -------
    Estimate
        The share, without unit.

    Raises
    ------
    SampleError
        With the metric cosine, when a row is 0.
    InconclusiveError
        With k + 1 rows or fewer.

    Notes
    -----
    Cost: two neighbour searches, O(n² d) at most; memory O(n (d + k)). A permutation: O(n k²).

    Source: arXiv:2405.07987 (Platonic representation hypothesis), section 2, and the code beside it.

    Examples
    --------
    >>> import divmatch
    >>> line = [0.0, 1.0, 3.0, 7.0, 15.0]
    >>> divmatch.align(line, [-2 * x + 1 for x in line], k=2, metric="euclidean").value
    1.0
    """
    pair = _pair(a, metric, k)
    value = float(pair.w @ pair.lists.common.sum(axis=1)) / k
    return _estimate(pair, value, k / (pair.n - 1), corrected)


@ALIGN.estimator(
    "cycle-knn",
    source="arXiv:2405.07987, appendix A",
    interval="subsampling",
    standard_error=_scaled,
)
def cycle_knn(
    a: Samples,
    *,
    k: K = 10,
    metric: Metric = "cosine",
    corrected: Corrected = False,
) -> Estimate:
    """Share of the rows that are among the A-neighbours of one of their B-neighbours.

    A step to a neighbour in B and one to a neighbour in A can lead back. It is not symmetric, and for
    equal embeddings it is the share of the rows that are a neighbour of a neighbour: nearly 1. The
    `chance` is that of independent embeddings, exactly, for these lists of A.

    Parameters
    ----------
    a : Samples
        As for the method mutual-knn.
    k : int
        As for the method mutual-knn.
    metric : str
        As for the method mutual-knn.
    corrected : bool
        As for the method mutual-knn.

    Returns
    -------
    Estimate
        The share, without unit.

    Notes
    -----
    Cost: that of mutual-knn and O(n k²) more.

    Source: arXiv:2405.07987, appendix A.

    Examples
    --------
    >>> import divmatch
    >>> line = [0.0, 1.0, 3.0, 7.0, 15.0]
    >>> divmatch.align(line, line, k=1, metric="euclidean", method="cycle-knn").value
    0.4
    """
    pair = _pair(a, metric, k)
    value = float(pair.w @ pair.lists.returned)
    return _estimate(pair, value, chance_of_return(pair.lists, pair.w), corrected)


@ALIGN.estimator(
    "cknna", source="arXiv:2405.07987, appendix A", interval="subsampling", standard_error=_scaled
)
def cknna(a: Samples, *, k: K = 10, metric: Metric = "cosine") -> Estimate:
    """Kernel alignment of the nearest neighbours that both embeddings have in common.

    The unbiased CKA of K and L with every pair (i, j) set to zero where j is not among the k nearest
    of row i in both A and B; the norms are those of the pairs of A alone and of B alone. 1 for equal
    embeddings, near 0 for independent ones: --permutations says how near.

    Parameters
    ----------
    a : Samples
        As for the method mutual-knn, without weights.
    k : int
        As for the method mutual-knn, at least 2.
    metric : str
        As for the method mutual-knn.

    Returns
    -------
    Estimate
        The alignment, without unit.

    Raises
    ------
    SettingError
        For rows with weights.
    InconclusiveError
        When the pairs of an embedding have no variance.

    Notes
    -----
    Cost: that of mutual-knn.

    Source: arXiv:2405.07987, appendix A, and the code beside it.

    Examples
    --------
    >>> import divmatch
    >>> line = [0.0, 1.0, 3.0, 7.0, 15.0]
    >>> round(divmatch.align(line, line, k=3, metric="euclidean", method="cknna").value, 6)
    1.0
    """
    refuse_weights(a, "cknna")
    pair = _pair(a, metric, k)
    return _estimate(pair, masked(pair), None, False)


@mutual_knn.pooled
def mutual_knn_plan(a: Samples, *, k: int, metric: str, corrected: bool) -> Pooled:
    """Edges that both have, counted again for every order of the rows of B."""
    pair = _pair(a, metric, k)
    chance = k / (pair.n - 1) if corrected else 0.0
    edges = pair.n * k
    return plan_of(a, lambda order: len(pair.lists.edges(order)[0]) / edges, chance)


@cycle_knn.pooled
def cycle_knn_plan(a: Samples, *, k: int, metric: str, corrected: bool) -> Pooled:
    """Steps to a neighbour and back, for every order of the rows of B."""
    pair = _pair(a, metric, k)
    chance = chance_of_return(pair.lists, pair.w) if corrected else 0.0
    return plan_of(a, lambda order: float(pair.lists.returns(order).mean()), chance)


@cknna.pooled
def cknna_plan(a: Samples, *, k: int, metric: str) -> Pooled:
    """Kernels of the edges that both have; the norms are the same for every order."""
    pair = _pair(a, metric, k)
    return plan_of(a, lambda order: masked(pair, order), 0.0)


def _pair(a: Samples, metric: str, k: int) -> Pair:
    """Both embeddings with their neighbours, searched once for the estimate and its test."""
    return a.once((metric, k), lambda: pair_of(*carrying_rows(a, metric), k))


def _estimate(pair: Pair, value: float, chance: float | None, corrected: bool) -> Estimate:
    params: dict[str, Any] = {}
    if chance is not None:
        above = (value - chance) / (1.0 - chance) if chance < 1.0 else None
        if corrected and above is None:
            raise InconclusiveError(
                "align: with so few rows all are alike by chance; choose a smaller -k"
            )
        params = {"chance": chance, "above_chance": above}
        value = above if corrected and above is not None else value
    return Estimate(value, params=params, notes=tied_notes(pair))
