"""Alignment by kernels of the columns: CKA."""

import numpy as np

from divmatch.errors import InconclusiveError
from divmatch.estimator import Array, Estimate, Pooled
from divmatch.estimators.alignment_inputs import (
    ALIGN,
    Corrected,
    Metric,
    carrying_rows,
    plan_of,
    refuse_weights,
)
from divmatch.estimators.feature_kernels import Features, features, hsic, hsic_unbiased
from divmatch.estimators.neighbour_lists import Integers
from divmatch.samples import Samples

CONSTANT = "align: an embedding has no variance, so that nothing can be aligned"
ROUNDING = 1e-28  # of the squares: rows nearer to their mean than this are all the same


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
    refuse_weights(a, "cka-unbiased")
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


@cka.pooled
def cka_plan(a: Samples, *, metric: str, corrected: bool) -> Pooled:
    """The covariance of the columns, for every order of the rows of B."""
    left, right, w = _features(a, metric)
    size = _size(hsic(left, left, w)[0], hsic(right, right, w)[0])
    chance = float((w @ left.squares) * (w @ right.squares)) / ((len(w) - 1) * size)

    def value(order: Integers) -> float:
        both = left.rows.T @ right.rows[order] / len(w)
        return float(np.sum(both * both)) / size

    return plan_of(a, value, min(chance, 1.0) if corrected else 0.0)


@cka_unbiased.pooled
def cka_unbiased_plan(a: Samples, *, metric: str, corrected: bool) -> Pooled:
    """The sums that an order of the rows of B changes."""
    left, right, _ = _features(a, metric)
    size = _size(hsic_unbiased(left, left), hsic_unbiased(right, right))
    return plan_of(a, lambda order: hsic_unbiased(left, right, order) / size, 0.0)


def _features(a: Samples, metric: str) -> tuple[Features, Features, Array]:
    left, right, w = carrying_rows(a, metric)
    if len(w) < 2:
        raise InconclusiveError(f"align: {a.name} has one row, expected at least 2")
    made = features(left, w), features(right, w)
    for one, rows in zip(made, (left, right), strict=True):
        if not w @ one.squares > ROUNDING * float(w @ np.einsum("ij,ij->i", rows, rows)):
            raise InconclusiveError(CONSTANT)
    return *made, w


def _size(own: float, other: float) -> float:
    """√(HSIC(K, K) HSIC(L, L))."""
    if not min(own, other) > 0:
        raise InconclusiveError(CONSTANT)
    return float(np.sqrt(own) * np.sqrt(other))


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
