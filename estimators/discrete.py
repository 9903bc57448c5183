"""Divergences of discrete data: distinct rows are the cells, their shares the probabilities."""

import numpy as np
from numpy.typing import NDArray

from divmatch.estimator import Array, Estimate, Labels, Pooled
from divmatch.estimators.cells import (
    Cells,
    Correction,
    Smooth,
    corrected_value,
    plug_in,
    spread_over,
    weighty,
)
from divmatch.estimators.divergences import FDIV, KIND, KL, ORDER, RENYI, Kind, Order, Tsallis
from divmatch.estimators.probabilities import Divergence, of_kind, of_order
from divmatch.samples import Samples

SOURCE = "Miller 1955, Information Theory in Psychology; Paninski 2003, Neural Computation 15"
ROUNDING = 1e-12  # of sums of a few thousand cells


@KL.estimator("discrete", source=SOURCE)
def kl_discrete(
    x: Samples,
    y: Samples,
    *,
    correction: Correction = "auto",
    smooth: Smooth = 0.0,
) -> Estimate:
    """KL(P || Q) of discrete data, from the shares of the distinct rows.

    D = Σ p̂ ln(p̂ / q̂) over the distinct rows, less its leading bias (K − 1) / 2n +
    Σ p (1 − q) / q / 2m unless --correction none. Zero if and only if the shares agree; the corrected
    number can be negative.

    Use it for categories and counts. A cell that holds rows of P and none of Q makes it inf, and a
    warning names the largest such cells; smoothing gives a finite number. Data without repeated
    rows have one row a cell: use another method.

    Parameters
    ----------
    x, y : Samples
        Rows of P, shape (n, d), and of Q, shape (m, d), weighted or not.
    correction : str
        first-order subtracts the leading bias; none leaves it in the value, and moves the interval;
        auto is first-order unless the counts are smoothed.
    smooth : float or str
        Pseudo-count of every cell, or a preset: laplace 1, jeffreys 0.5, perks 1/cells.

    Returns
    -------
    Estimate
        KL in nats; inf where Q lacks a cell of P.

    Raises
    ------
    SettingError
        With a correction and a smoothing at once.

    Notes
    -----
    Cost: O((n + m) d log(n + m)), to sort the rows.

    Source: Miller 1955, Information Theory in Psychology; Paninski 2003, Neural Computation 15.

    Examples
    --------
    >>> import divmatch
    >>> kl = divmatch.kl([0, 0, 1, 1], [0, 1, 1, 1], method="discrete", correction="none")
    >>> round(kl.value, 6)
    0.143841
    """
    return _estimate(x, y, of_kind("kl"), correction, smooth)


@kl_discrete.pooled
def _kl_discrete_plan(pool: Samples, correction: str, smooth: float | str) -> Pooled:
    """The shares of every split, from cells found once."""
    return _plan(pool, of_kind("kl"), correction, smooth)


@RENYI.estimator("discrete", source=SOURCE)
def renyi_discrete(
    x: Samples,
    y: Samples,
    *,
    alpha: Order = ORDER,
    tsallis: Tsallis = False,
    correction: Correction = "auto",
    smooth: Smooth = 0.0,
) -> Estimate:
    """Rényi divergence of discrete data, from the shares of the distinct rows.

    R = ln(I) / (a − 1), I = Σ p̂^a q̂^(1 − a), less its leading bias unless --correction none; KL at
    a = 1; max ln(p̂ / q̂) at a = inf, which is exact for probabilities and depends on few rows of a
    sample: it is not corrected. Never decreasing in a.

    Use it for categories and counts. A cell that holds rows of P and none of Q makes it inf for a >= 1, and a
    warning names the largest such cells; smoothing gives a finite number. Data without repeated
    rows have one row a cell: use another method.

    Parameters
    ----------
    x, y : Samples
        Rows of P, shape (n, d), and of Q, shape (m, d), weighted or not.
    alpha : float
        Order; 1 is KL, inf the logarithm of the largest ratio.
    tsallis : bool
        Report (I − 1) / (a − 1), the Tsallis divergence, instead of ln(I) / (a − 1).
    correction : str
        first-order subtracts the leading bias; none leaves it in the value, and moves the interval;
        auto is first-order unless the counts are smoothed.
    smooth : float or str
        Pseudo-count of every cell, or a preset: laplace 1, jeffreys 0.5, perks 1/cells.

    Returns
    -------
    Estimate
        Rényi divergence in nats, or the Tsallis divergence; inf where Q lacks a cell of P and a >= 1.

    Raises
    ------
    SettingError
        With a correction and a smoothing at once.

    Notes
    -----
    Cost: O((n + m) d log(n + m)), to sort the rows.

    Source: Miller 1955, Information Theory in Psychology; Paninski 2003, Neural Computation 15.

    Examples
    --------
    >>> import divmatch
    >>> found = divmatch.renyi([0, 0, 1, 1], [0, 1, 1, 1], alpha=2, method="discrete", correction="none")
    >>> round(found.value, 6)
    0.287682
    """
    return _estimate(
        x, y, of_order(alpha, tsallis_form=tsallis), correction, smooth, most=alpha == np.inf
    )


@renyi_discrete.pooled
def _renyi_discrete_plan(
    pool: Samples, alpha: float, tsallis: bool, correction: str, smooth: float | str
) -> Pooled:
    """The shares of every split, from cells found once."""
    return _plan(pool, of_order(alpha, tsallis_form=tsallis), correction, smooth)


@FDIV.estimator("discrete", source=SOURCE)
def fdiv_discrete(
    x: Samples,
    y: Samples,
    *,
    kind: Kind = KIND,
    correction: Correction = "auto",
    smooth: Smooth = 0.0,
) -> Estimate:
    """An f-divergence of discrete data, from the shares of the distinct rows.

    D = Σ q̂ f(p̂ / q̂) over the distinct rows, with f(0+) for a cell without P and lim f(t)/t for one
    without Q, less its leading bias ½ Σ f''(r) [(1 − p) r / n + r² (1 − q) / m] unless
    --correction none. tv has a kink where the shares agree: its correction removes about 40 % of
    the bias there.

    Use it for categories and counts. A cell that holds rows of one sample alone makes some of
    them inf, and a warning names the largest such cells; smoothing gives a finite number. Data
    without repeated rows have one row a cell: use another method.

    Parameters
    ----------
    x, y : Samples
        Rows of P, shape (n, d), and of Q, shape (m, d), weighted or not.
    kind : str
        Name of the f-divergence, as in the table of `divmatch help divergences`.
    correction : str
        first-order subtracts the leading bias; none leaves it in the value, and moves the interval;
        auto is first-order unless the counts are smoothed.
    smooth : float or str
        Pseudo-count of every cell, or a preset: laplace 1, jeffreys 0.5, perks 1/cells.

    Returns
    -------
    Estimate
        The f-divergence; inf where it punishes an empty cell so.

    Raises
    ------
    SettingError
        With a correction and a smoothing at once.

    Notes
    -----
    Cost: O((n + m) d log(n + m)), to sort the rows.

    Source: Miller 1955, Information Theory in Psychology; Paninski 2003, Neural Computation 15.

    Examples
    --------
    >>> import divmatch
    >>> tv = divmatch.fdiv([0, 0, 1, 1], [0, 1, 1, 1], kind="tv", method="discrete", correction="none")
    >>> tv.value
    0.25
    """
    return _estimate(x, y, of_kind(kind), correction, smooth)


@fdiv_discrete.pooled
def _fdiv_discrete_plan(pool: Samples, kind: str, correction: str, smooth: float | str) -> Pooled:
    """The shares of every split, from cells found once."""
    return _plan(pool, of_kind(kind), correction, smooth)


# ------------------------------------------------------------------------------------- cells


def _estimate(
    x: Samples,
    y: Samples,
    of: Divergence,
    correction: str,
    smooth: float | str,
    *,
    most: bool = False,
) -> Estimate:
    found = plug_in(of, cells_of(x, y), correction, smooth, most=most)
    return spread_over(found, x, y)


def cells_of(x: Samples, y: Samples) -> Cells:
    """The distinct rows of both samples, found once for a pair."""
    kept: tuple[Samples, Cells] = y.once(("cells", id(x)), lambda: (x, _distinct(x, y)))
    return kept[1]


def _distinct(x: Samples, y: Samples) -> Cells:
    x, y = weighty(x, y)
    code, first = distinct_rows(np.concatenate([x.points, y.points]))

    def name(cell: int) -> str:
        row = int(first[cell])
        return row_name(x, row) if row < x.n else row_name(y, row - x.n)

    return Cells(x, y, code[: x.n], code[x.n :], len(first), name)


def distinct_rows(points: Array) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The number of every row's cell, in the order of the rows' values, and each cell's first row."""
    code = np.zeros(len(points), dtype=np.intp)
    first = np.zeros(1, dtype=np.intp)
    for column in points.T:  # sorting numbers is far cheaper than sorting rows
        place = np.unique(column, return_inverse=True)[1].reshape(-1)
        both = code * (int(place.max()) + 1) + place
        _, first, code = np.unique(both, return_index=True, return_inverse=True)
        code = code.reshape(-1)
    return code, first


def row_name(samples: Samples, row: int) -> str:
    """A row for people: its numbers, and of a block of categories the one that it holds."""
    values, parts = samples.points[row], []
    for i, value in enumerate(values):
        label = samples.columns[i] if i < len(samples.columns) else ""
        if "=" not in label:
            parts.append(f"{value:g}")
        elif value > 0:
            parts.append(label.partition("=")[2])
    return parts[0] if len(parts) == 1 else f"({', '.join(parts)})"


# -------------------------------------------------------------------------------------- plan


def _plan(pool: Samples, of: Divergence, correction: str, smooth: float | str) -> Pooled:
    """Every split's value; the cells are those of the pool."""
    code, first = distinct_rows(pool.points)
    weights = np.ones(pool.n) if pool.weights is None else pool.weights
    live = np.bincount(code, weights, len(first)) > 0

    def value(split: NDArray[np.bool_]) -> float:
        sides = []
        for own in (split, ~split):
            mass = np.bincount(code[own], weights[own], len(first))[live]
            total = mass.sum()
            sides.append((mass / total, total * total / np.sum(weights[own] ** 2)))
        (p, n), (q, m) = sides
        return corrected_value(of, p, q, n, m, correction, smooth)

    def each(labels: Labels) -> Array:
        return np.array([value(labels[:, b]) for b in range(labels.shape[1])])

    return Pooled(each, lambda: ROUNDING)
