"""How alike two embeddings of the same rows are: common neighbours, and kernels of their columns."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from divmatch.errors import InconclusiveError, SampleError, SettingError, counted
from divmatch.estimator import Array, Estimate, Pooled, Quantity
from divmatch.estimators.alignment_parts import (
    Pair,
    chance_of_return,
    masked,
    pair_of,
    tied_notes,
)
from divmatch.estimators.feature_kernels import Features, features, hsic, hsic_unbiased
from divmatch.estimators.neighbour_lists import Integers
from divmatch.estimators.quadratic import rounding
from divmatch.intervals import Subsampled
from divmatch.samples import Samples, as_samples, check_squares
from divmatch.settings import Setting

PARTNER = "partner"  # the rows of the other embedding, beside those of the first

K = Annotated[int, Setting("nearest neighbours of every row", least=1)]
Metric = Annotated[
    Literal["cosine", "euclidean"],
    Setting("rows divided by their length, or as they are (kernels: about their mean)"),
]
Corrected = Annotated[
    bool, Setting("(value - chance) / (1 - chance): 0 for independent embeddings")
]


def with_partner(a: Samples, b: Samples) -> Samples:
    """The rows of a with those of b beside them; the columns may differ."""
    if a.n != b.n:
        raise SampleError(
            f"{a.name} has {counted(a.n, 'row')}, {b.name} has {b.n}; rows stand for the same things in "
            "both, so that both need as many"
        )
    check_squares(b)
    return replace(a, beside={**a.beside, PARTNER: b.points}, _derived={})


def packed(a: Any, b: Any, *, weights: ArrayLike | None = None) -> tuple[Samples, None]:
    """Two arrays with matched rows as one sample."""
    return with_partner(as_samples(a, "a", weights), as_samples(b, "b")), None


ALIGN = Quantity(
    "align",
    title="alignment",
    unit="1",
    direction="symmetric",
    default="mutual-knn",
    better="higher",
    packed=packed,
    paired=True,
    scales=("none", "auto", "ref-sd", "ref-iqr"),
    examples=(
        "divmatch align text.npy image.npy",
        "divmatch align text.npy image.npy --method cka-unbiased --permutations 99 -f json",
        "divmatch align text.npy image.npy -k 5 --metric euclidean --corrected --min 0.1",
    ),
)


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
    warning (W48) counts them. Weights count rows in the mean, and rows of weight 0 are no neighbours.

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
    _unweighted(a, "cknna")
    pair = _pair(a, metric, k)
    return _estimate(pair, masked(pair), None, False)


@ALIGN.estimator("cka", source="Kornblith et al. 2019, arXiv:1905.00414, section 3")
def cka(a: Samples, *, metric: Metric = "cosine", corrected: Corrected = False) -> Estimate:
    """Centred kernel alignment of two embeddings, linear kernels (biased HSIC).

    HSIC(K, L)/√(HSIC(K, K) HSIC(L, L)) with K and L the inner products of the rows. Between 0 and 1;
    1 for embeddings that a rotation, a shift and a scale make equal. Biased towards 1 where columns
    outnumber rows: `chance` is its mean over all permutations of the rows of B, exactly.

    Parameters
    ----------
    a : Samples
        As for the method mutual-knn.
    metric : str
        cosine divides the rows by their length first.
    corrected : bool
        As for the method mutual-knn.

    Returns
    -------
    Estimate
        The alignment, without unit, with the influence of every row.

    Raises
    ------
    InconclusiveError
        When an embedding is constant.

    Notes
    -----
    Cost: O(n d_A d_B) time, O(d_A d_B) memory; a permutation as much.

    Source: Kornblith et al. 2019, arXiv:1905.00414, section 3.

    Examples
    --------
    >>> import divmatch
    >>> rows = [[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]]
    >>> round(divmatch.align(rows, [[3 * x, 3 * y + 5] for x, y in rows], method="cka",
    ...                      metric="euclidean").value, 6)
    1.0
    """
    left, right, w = _features(a, metric)
    both, own, other = hsic(left, right, w), hsic(left, left, w), hsic(right, right, w)
    size = _size(own[0], other[0])
    value = both[0] / size
    influence = both[1] / size - 0.5 * value * (own[1] / own[0] + other[1] / other[0])
    w_squares = (float(w @ part.squares) for part in (left, right))
    chance = float(np.prod([*w_squares])) / ((len(w) - 1) * size)
    return _shifted(value, influence, min(chance, 1.0), corrected, a)


@ALIGN.estimator("cka-unbiased", source="Song et al. 2012, JMLR 13, eq. (4)")
def cka_unbiased(
    a: Samples, *, metric: Metric = "cosine", corrected: Corrected = False
) -> Estimate:
    """Centred kernel alignment of two embeddings with the unbiased HSIC.

    As cka, with HSIC = [tr(K̃L̃) + 1'K̃1 1'L̃1/((n − 1)(n − 2)) − 2/(n − 2) 1'K̃L̃1]/(n (n − 3)), K̃ and
    L̃ without their diagonals: 0 on average for independent embeddings of any width, so that it can be
    negative, and chance is 0.

    Parameters
    ----------
    a : Samples
        As for the method mutual-knn, without weights.
    metric : str
        As for the method cka.
    corrected : bool
        Changes nothing: chance is 0.

    Returns
    -------
    Estimate
        The alignment, without unit, with the influence of every row.

    Raises
    ------
    SettingError
        For rows with weights.
    InconclusiveError
        With fewer than 4 rows, or when an embedding's own HSIC is not above 0.

    Notes
    -----
    Cost: that of cka.

    Source: Song et al. 2012, JMLR 13, eq. (4).

    Examples
    --------
    >>> import divmatch
    >>> rows = [[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0], [0.0, 0.0]]
    >>> round(divmatch.align(rows, rows, method="cka-unbiased", metric="euclidean").value, 6)
    1.0
    """
    _unweighted(a, "cka-unbiased")
    left, right, w = _features(a, metric)
    if len(w) < 4:
        raise InconclusiveError("align: the unbiased HSIC needs 4 rows; choose --method cka")
    own, other = (hsic_unbiased(one, one) for one in (left, right))
    size = _size(own, other)
    value = hsic_unbiased(left, right) / size
    influence = hsic(left, right, w)[1] / size
    for one, norm in ((left, own), (right, other)):
        influence = influence - 0.5 * value * hsic(one, one, w)[1] / norm
    return _shifted(value, influence, 0.0, corrected, a)


# --------------------------------------------------------------------------------- permutations


@mutual_knn.pooled
def mutual_knn_plan(a: Samples, *, k: int, metric: str, corrected: bool) -> Pooled:
    """Edges that both have, counted again for every order of the rows of B."""
    pair = _pair(a, metric, k)
    chance = k / (pair.n - 1) if corrected else 0.0
    edges = pair.n * k
    return _plan(a, lambda order: len(pair.lists.edges(order)[0]) / edges, chance)


@cycle_knn.pooled
def cycle_knn_plan(a: Samples, *, k: int, metric: str, corrected: bool) -> Pooled:
    """Steps to a neighbour and back, for every order of the rows of B."""
    pair = _pair(a, metric, k)
    chance = chance_of_return(pair.lists, pair.w) if corrected else 0.0
    return _plan(a, lambda order: float(pair.lists.returns(order).mean()), chance)


@cknna.pooled
def cknna_plan(a: Samples, *, k: int, metric: str) -> Pooled:
    """Kernels of the edges that both have; the norms are the same for every order."""
    pair = _pair(a, metric, k)
    return _plan(a, lambda order: masked(pair, order), 0.0)


@cka.pooled
def cka_plan(a: Samples, *, metric: str, corrected: bool) -> Pooled:
    """The covariance of the columns, for every order of the rows of B."""
    left, right, w = _features(a, metric)
    size = _size(hsic(left, left, w)[0], hsic(right, right, w)[0])
    chance = float((w @ left.squares) * (w @ right.squares)) / ((len(w) - 1) * size)

    def value(order: Integers) -> float:
        both = left.rows.T @ right.rows[order] / len(w)
        return float(np.sum(both * both)) / size

    return _plan(a, value, min(chance, 1.0) if corrected else 0.0)


@cka_unbiased.pooled
def cka_unbiased_plan(a: Samples, *, metric: str, corrected: bool) -> Pooled:
    """The sums that an order of the rows of B changes."""
    left, right, _ = _features(a, metric)
    size = _size(hsic_unbiased(left, left), hsic_unbiased(right, right))
    return _plan(a, lambda order: hsic_unbiased(left, right, order) / size, 0.0)


def _plan(a: Samples, value: Callable[[Integers], float], chance: float) -> Pooled:
    if a.weights is not None:
        raise SettingError(
            "align: rows with weights have no permutations, which would give a row the weight of "
            "another; leave out --permutations"
        )

    def statistic(orders: Integers) -> Array:
        return np.array([(value(order) - chance) / (1.0 - chance) for order in orders.T])

    return Pooled(statistic, lambda: rounding(a.n, 4.0 / (1.0 - chance)), draws="orders")


# --------------------------------------------------------------------------------------- shared


def _pair(a: Samples, metric: str, k: int) -> Pair:
    """Both embeddings with their neighbours, searched once for the estimate and its test."""
    return a.once((metric, k), lambda: pair_of(*_rows(a, metric), k))


def _rows(a: Samples, metric: str) -> tuple[Array, Array, Array]:
    """Rows that carry weight, of both, and their weights."""
    used, w = np.flatnonzero(a.masses() > 0), a.masses()
    made = []
    for points, name in ((a.points, a.name), (a.beside[PARTNER], "the other embedding")):
        rows = points[used]
        if metric == "cosine":
            lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))
            if not lengths.min() > 0:
                row = int(used[np.argmin(lengths)])
                raise SampleError(
                    f"{name}: row {row} (from 0) is 0 in all columns and has no direction; choose "
                    "--metric euclidean"
                )
            rows = rows / lengths[:, None]
        else:
            rows = rows - w[used] @ rows / w[used].sum()
        made.append(np.ascontiguousarray(rows))
    return made[0], made[1], w[used] / w[used].sum()


def _features(a: Samples, metric: str) -> tuple[Features, Features, Array]:
    left, right, w = _rows(a, metric)
    if len(w) < 2:
        raise InconclusiveError(f"align: {a.name} has one row, expected at least 2")
    return features(left, w), features(right, w), w


def _size(own: float, other: float) -> float:
    """√(HSIC(K, K) HSIC(L, L))."""
    if not min(own, other) > 0:
        raise InconclusiveError(
            "align: an embedding has no variance, so that nothing can be aligned"
        )
    return float(np.sqrt(own) * np.sqrt(other))


def _unweighted(a: Samples, method: str) -> None:
    if a.weights is not None:
        raise SettingError(
            f"align: --method {method} is not defined for rows with weights; choose mutual-knn or cka"
        )


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


def _shifted(
    value: float, influence: Array, chance: float, corrected: bool, a: Samples
) -> Estimate:
    """The value with its influences in the places of all rows."""
    if chance >= 1.0:
        raise InconclusiveError("align: two rows are always aligned; give more")
    above = (value - chance) / (1.0 - chance)
    every = np.zeros(a.n)
    every[a.masses() > 0] = influence / (1.0 - chance) if corrected else influence
    params = {"chance": chance, "above_chance": above}
    return Estimate(above if corrected else value, terms_x=every, params=params)
