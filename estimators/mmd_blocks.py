"""Maximum mean discrepancy from blocks of rows: cheap, with normal intervals that hold at P = Q."""

import math
from copy import deepcopy
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import InconclusiveError
from divmatch.estimator import Blocks, Estimate
from divmatch.estimators import quadratic
from divmatch.estimators.mmd import MMD, Bandwidth, Chosen, chosen_form
from divmatch.estimators.row_order import both_shuffled
from divmatch.kernel_names import Kernel
from divmatch.kernels.blocks import Edges, block_sums, pair_sums
from divmatch.samples import Samples
from divmatch.settings import Setting

Array = NDArray[np.float64]

Subsets = Annotated[int, Setting("number of random subsets of rows", least=2)]
SubsetSize = Annotated[int, Setting("rows of a subset, or all of the smaller sample", least=2)]


@MMD.estimator("linear", source="Gretton et al. 2012, JMLR 13, lemma 14", interval="blocks")
def mmd_linear(
    x: Samples,
    y: Samples,
    *,
    kernel: Kernel = "gaussian",
    bandwidth: Bandwidth = "median",
    rng: "np.random.Generator",
) -> Estimate:
    """Squared maximum mean discrepancy from pairs of rows, in linear time, unbiased.

    The mean of h = k(x, x') + k(y, y') − k(x, y') − k(x', y) over pairs of pairs of rows, dealt at
    random, min(n, m)/2 of them: the further rows of the larger sample are not looked at. Its interval
    is normal, and valid also where the distributions agree, because the pairs are independent.

    Use it for millions of rows, or for an interval that holds at P = Q. Its error is far larger
    than that of u on the same rows.

    Parameters
    ----------
    x, y : Samples
        Rows of shape (n, d) and (m, d), weighted or not; at least four each for an interval.
    kernel : str
        As for the method u.
    bandwidth : float or str
        As for the method u; the methods u and v alone take agg and fuse.
    rng : numpy.random.Generator
        Its state decides the pairs, whatever the order of the rows; it is left as it was.

    Returns
    -------
    Estimate
        MMD² (not its root, not halved), with the standard error from the pairs.

    Raises
    ------
    InconclusiveError
        With fewer than two rows that carry weight in a sample.

    Notes
    -----
    Cost: O((n + m)(d + log(n + m))) time, O((n + m) d) memory.

    Source: Gretton et al. 2012, JMLR 13, lemma 14; with weights, each expectation is the weighted
    mean over its pairs.

    Examples
    --------
    >>> import divmatch
    >>> divmatch.mmd([0.0, 0.0], [9e9, 9e9], method="linear", bandwidth=1).value
    2.0
    """
    chosen = chosen_form(kernel, bandwidth, x, y)
    rows = _dealt(x, y, rng)
    pairs = min(len(own) for own in rows) // 2
    rows = rows[0][: 2 * pairs], rows[1][: 2 * pairs]
    sums = pair_sums(chosen.form.profile, *_picked(x, y, rows))
    return _of_blocks(*sums, rows[0], chosen)


@MMD.estimator("block", source="Zaremba, Gretton & Blaschko 2013, NeurIPS 26", interval="blocks")
def mmd_block(
    x: Samples,
    y: Samples,
    *,
    kernel: Kernel = "gaussian",
    bandwidth: Bandwidth = "median",
    rng: "np.random.Generator",
) -> Estimate:
    """Squared maximum mean discrepancy as the mean over blocks of rows (B-statistic), unbiased.

    The rows are dealt at random into blocks, of about min(n, m)^(1/2) rows in the smaller sample;
    the value is the mean of the U-statistics of the blocks. Its interval is normal and comes from
    their spread: it is valid also where the distributions agree.

    Use it for many rows, and where the interval must hold at P = Q: between linear and u in cost
    and in error.

    Parameters
    ----------
    x, y : Samples
        Rows of shape (n, d) and (m, d), weighted or not; at least four each for an interval.
    kernel : str
        As for the method u.
    bandwidth : float or str
        As for the method u; the methods u and v alone take agg and fuse.
    rng : numpy.random.Generator
        Its state decides the blocks, whatever the order of the rows; it is left as it was.

    Returns
    -------
    Estimate
        MMD² (not its root, not halved), with the standard error from the blocks.

    Raises
    ------
    InconclusiveError
        With fewer than two rows that carry weight in a sample.

    Notes
    -----
    Cost: O((n + m)^(3/2) d) time for n near m, O((n + m) d) memory.

    Source: Zaremba, Gretton & Blaschko 2013 (NeurIPS 26, arXiv 1307.1954); with weights, each
    expectation is the weighted mean over the pairs of all blocks.

    Examples
    --------
    >>> import divmatch
    >>> divmatch.mmd([0.0] * 4, [9e9] * 4, method="block", bandwidth=1).value
    2.0
    """
    chosen = chosen_form(kernel, bandwidth, x, y)
    rows = _dealt(x, y, rng)
    fewer = min(len(own) for own in rows)
    blocks = fewer // max(2, math.isqrt(fewer))
    edges = _edges(len(rows[0]), blocks), _edges(len(rows[1]), blocks)
    parts = _picked(x, y, rows)
    sums = block_sums(chosen.form.profile, *parts, edges)
    return _of_blocks(sums, _pair_masses(*parts[2:], edges), rows[0], chosen)


@MMD.estimator("subsets", source="Bińkowski et al. 2018, ICLR (arXiv 1801.01401)")
def mmd_subsets(
    x: Samples,
    y: Samples,
    *,
    kernel: Kernel = "gaussian",
    bandwidth: Bandwidth = "median",
    subsets: Subsets = 50,
    subset_size: SubsetSize = 1000,
    rng: "np.random.Generator",
) -> Estimate:
    """Squared maximum mean discrepancy as the mean over random subsets of rows, unbiased.

    The mean of the U-statistics of random subsets of min(subset_size, n, m) rows of each sample,
    drawn without replacement within a subset. The standard deviation over subsets, sd, and the
    Monte Carlo error of the mean, sd over the root of their number, stand in the record; the standard
    error of the value adds the error of the rows.

    Use it with --kernel poly to reproduce the published form of the kernel inception distance
    (KID, 50 subsets of 1000 rows); the method u on all rows has less error.

    Parameters
    ----------
    x, y : Samples
        Rows of shape (n, d) and (m, d), weighted or not.
    kernel : str
        As for the method u; poly for the KID.
    bandwidth : float or str
        As for the method u; the methods u and v alone take agg and fuse.
    subsets : int
        Number of subsets, at least 2.
    subset_size : int
        Rows of a subset of either sample, at least 2; all rows of a smaller sample that carry weight.
    rng : numpy.random.Generator
        Its state decides the subsets, whatever the order of the rows; it is left as it was.

    Returns
    -------
    Estimate
        MMD² (not its root, not halved), with the influence of every row.

    Raises
    ------
    InconclusiveError
        With fewer than two rows that carry weight in a sample.

    Notes
    -----
    Cost: O(subsets · subset_size² d) time, O((n + m) d) memory.

    Source: Bińkowski, Sutherland, Arbel & Gretton 2018 (arXiv 1801.01401), section 4.

    Examples
    --------
    >>> import divmatch
    >>> divmatch.mmd([0.0, 0.0], [1.0, 1.0], method="subsets", kernel="poly").value
    7.0
    """
    chosen = chosen_form(kernel, bandwidth, x, y)
    rows, draws = _dealt(x, y, rng), (deepcopy(rng), deepcopy(rng))
    size = min(subset_size, *(len(own) for own in rows))
    values, terms = np.empty(subsets), (np.zeros(x.n), np.zeros(y.n))
    for s in range(subsets):
        picked = [
            draw.choice(own, size, replace=False) for own, draw in zip(rows, draws, strict=True)
        ]
        parts = x.take(picked[0]), y.take(picked[1])
        form = chosen.form
        found = quadratic.estimate(form.profile, *parts, sign=form.sign, unbiased=True)
        values[s] = found.value
        for total, own, part, term in zip(
            terms, picked, parts, (found.terms_x, found.terms_y), strict=True
        ):
            centred = np.asarray(term) - part.masses() @ np.asarray(term)
            total[own] += part.masses() * centred / subsets
    value, spread = float(values.mean()), float(values.std(ddof=1))
    shown = {"rows": size, "sd": spread}
    return Estimate(
        value,
        terms_x=_per_mass(terms[0], x),
        terms_y=_per_mass(terms[1], y),
        error=spread / math.sqrt(subsets),
        params={**chosen.params, **shown},
        notes=(*chosen.notes, *quadratic.negative(value)),
        exact=False,
    )


def _per_mass(terms: Array, samples: Samples) -> Array:
    masses = samples.masses()
    return np.divide(terms, masses, out=np.zeros(samples.n), where=masses > 0)


def _dealt(x: Samples, y: Samples, rng: "np.random.Generator") -> tuple[Any, Any]:
    rows = both_shuffled(x, y, deepcopy(rng))
    for samples, own in zip((x, y), rows, strict=True):
        if len(own) < 2:
            raise InconclusiveError(
                f"{samples.name}: one row with all the weight has no pairs; choose --method v"
            )
    return rows


def _picked(x: Samples, y: Samples, rows: tuple[Any, Any]) -> tuple[Array, Array, Array, Array]:
    first, second = rows
    return x.points[first], y.points[second], x.masses()[first], y.masses()[second]


def _edges(rows: int, blocks: int) -> Edges:
    """Blocks of equal sizes, or sizes that differ by one."""
    return np.arange(blocks + 1) * rows // blocks


def _pair_masses(a: Array, b: Array, edges: tuple[Edges, Edges]) -> Array:
    """What `block_sums` is for k = 1."""
    of_a, of_b = (np.add.reduceat(w, e[:-1]) for w, e in zip((a, b), edges, strict=True))
    squares = [np.add.reduceat(w * w, e[:-1]) for w, e in zip((a, b), edges, strict=True)]
    return np.column_stack([of_a**2 - squares[0], of_b**2 - squares[1], of_a * of_b])


def _of_blocks(sums: Array, masses: Array, rows: Any, chosen: Chosen) -> Estimate:
    """The contrast of the weighted means over all blocks, with what each block adds to it."""
    count, totals = len(sums), masses.sum(axis=0)
    means = sums.sum(axis=0) / totals
    signs = chosen.form.sign * np.array([-1.0, -1.0, 2.0])
    value = float(means @ signs)
    return Estimate(
        value,
        blocks=Blocks(count * ((sums - means * masses) / totals) @ signs, rows),
        params={**chosen.params, "blocks": count},
        notes=(*chosen.notes, *quadratic.negative(value)),
        exact=False,
    )
