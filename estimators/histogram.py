"""Divergences from histograms with adaptive cells of equal mass."""

import math
from dataclasses import replace
from typing import Annotated

import numpy as np

from divmatch.errors import InconclusiveError
from divmatch.estimator import Array, Estimate
from divmatch.estimators.cells import Cells, Correction, Smooth, plug_in, spread_over, weighty
from divmatch.estimators.divergences import FDIV, KIND, KL, ORDER, RENYI, Kind, Order, Tsallis
from divmatch.estimators.left_over import flat_ratio
from divmatch.estimators.partition import cells_of_equal_mass
from divmatch.estimators.probabilities import Divergence, of_kind, of_order
from divmatch.record import Note
from divmatch.samples import Samples
from divmatch.settings import Setting

Bins = Annotated[
    int | None,
    Setting("number of cells; automatic: one for 15 rows of the smaller sample", least=2),
]

SOURCE = "Wang, Kulkarni & Verdú 2005, IEEE Trans. Inf. Theory 51"
ROWS_A_CELL = 15.0


def fine_cells(
    x: Samples, y: Samples, *, bins: int | None = None, kind: str = "kl", **_: object
) -> tuple[Note, ...]:
    """A warning where the samples still differ inside the cells, found once for a pair."""
    of = of_kind(kind)
    by_p, by_q = of.dear[1] and not of.dear[0], of.dear[0] and not of.dear[1]

    def made() -> tuple[Samples, tuple[Note, ...]]:
        cells = _kept(x, y, bins, by_p, by_q)
        p, q = cells.shares()
        ratio = p / np.where(q > 0, q, 1.0)
        return x, flat_ratio(cells.x, cells.y, ratio[cells.of_y])

    notes: tuple[Note, ...] = y.once(("fine cells", id(x), bins, by_p, by_q), made)[1]
    return notes


@KL.estimator("hist", source=SOURCE, assumption=fine_cells)
def kl_hist(
    x: Samples,
    y: Samples,
    *,
    bins: Bins = None,
    correction: Correction = "auto",
    smooth: Smooth = 0.0,
) -> Estimate:
    """KL(P || Q) of the shares of adaptive cells.

    D = Σ p̂ ln(p̂ / q̂) over cells of equal mass, less its leading bias unless --correction none.

    The cells hold equal mass of Q where a cell without Q would cost inf, of P where a cell without
    P alone would, of both samples together elsewhere. One column is cut at quantiles, several by
    recursive splits near the median of the column that spreads furthest. Equal rows stay in one
    cell, so ties and atoms are harmless.

    Use it for a few columns, with atoms or not. It sees no difference inside a cell, so it is too
    small for distributions that differ at a finer scale than their cells, in many columns above all; a
    warning says when means or covariances still differ inside the cells.

    Parameters
    ----------
    x, y : Samples
        Rows of P, shape (n, d), and of Q, shape (m, d), weighted or not.
    bins : int or None
        Number of cells; automatic: one for every 15 rows of the smaller sample, at least 2.
    correction : str
        first-order subtracts the leading bias; none leaves it in the value, and moves the interval;
        auto is first-order unless the counts are smoothed.
    smooth : float or str
        Pseudo-count of every cell, or a preset: laplace 1, jeffreys 0.5, perks 1/cells.

    Returns
    -------
    Estimate
        KL in nats.

    Raises
    ------
    InconclusiveError
        When no row differs from another.
    SettingError
        With a correction and a smoothing at once.

    Notes
    -----
    Cost: O((n + m) d log(n + m)).

    Source: Wang, Kulkarni & Verdú 2005, IEEE Trans. Inf. Theory 51; equal-mass cells of one sample.

    Examples
    --------
    >>> import divmatch
    >>> kl = divmatch.kl([0, 1, 1, 1], [0, 0, 1, 1], method="hist", bins=2, correction="none")
    >>> round(kl.value, 6)
    0.130812
    """
    return _estimate(x, y, of_kind("kl"), bins, correction, smooth)


@RENYI.estimator("hist", source=SOURCE, assumption=fine_cells)
def renyi_hist(
    x: Samples,
    y: Samples,
    *,
    alpha: Order = ORDER,
    tsallis: Tsallis = False,
    bins: Bins = None,
    correction: Correction = "auto",
    smooth: Smooth = 0.0,
) -> Estimate:
    """Rényi divergence of the shares of adaptive cells.

    R = ln(I) / (a − 1), I = Σ p̂^a q̂^(1 − a) over cells of equal mass, less its leading bias unless
    --correction none; KL at a = 1, the largest ln(p̂ / q̂) at a = inf.

    The cells hold equal mass of Q where a cell without Q would cost inf, of P where a cell without
    P alone would, of both samples together elsewhere. One column is cut at quantiles, several by
    recursive splits near the median of the column that spreads furthest. Equal rows stay in one
    cell, so ties and atoms are harmless.

    Use it for a few columns, with atoms or not. It sees no difference inside a cell, so it is too
    small for distributions that differ at a finer scale than their cells, in many columns above all; a
    warning says when means or covariances still differ inside the cells.

    Parameters
    ----------
    x, y : Samples
        Rows of P, shape (n, d), and of Q, shape (m, d), weighted or not.
    alpha : float
        Order; 1 is KL, inf the logarithm of the largest ratio.
    tsallis : bool
        Report (I − 1) / (a − 1), the Tsallis divergence, instead of ln(I) / (a − 1).
    bins : int or None
        Number of cells; automatic: one for every 15 rows of the smaller sample, at least 2.
    correction : str
        first-order subtracts the leading bias; none leaves it in the value, and moves the interval;
        auto is first-order unless the counts are smoothed.
    smooth : float or str
        Pseudo-count of every cell, or a preset: laplace 1, jeffreys 0.5, perks 1/cells.

    Returns
    -------
    Estimate
        Rényi divergence in nats, or the Tsallis divergence.

    Raises
    ------
    InconclusiveError
        When no row differs from another.
    SettingError
        With a correction and a smoothing at once.

    Notes
    -----
    Cost: O((n + m) d log(n + m)).

    Source: Wang, Kulkarni & Verdú 2005, IEEE Trans. Inf. Theory 51; equal-mass cells of one sample.

    Examples
    --------
    >>> import divmatch
    >>> x, y = [0, 1, 1, 1], [0, 0, 1, 1]
    >>> found = divmatch.renyi(x, y, alpha=2, method="hist", bins=2, correction="none")
    >>> round(found.value, 6)
    0.223144
    """
    return _estimate(
        x,
        y,
        of_order(alpha, tsallis_form=tsallis),
        bins,
        correction,
        smooth,
        most=math.isinf(alpha),
    )


@FDIV.estimator("hist", source=SOURCE, assumption=fine_cells)
def fdiv_hist(
    x: Samples,
    y: Samples,
    *,
    kind: Kind = KIND,
    bins: Bins = None,
    correction: Correction = "auto",
    smooth: Smooth = 0.0,
) -> Estimate:
    """An f-divergence of the shares of adaptive cells.

    D = Σ q̂ f(p̂ / q̂) over cells of equal mass, less its leading bias unless --correction none.

    The cells hold equal mass of Q where a cell without Q would cost inf, of P where a cell without
    P alone would, of both samples together elsewhere. One column is cut at quantiles, several by
    recursive splits near the median of the column that spreads furthest. Equal rows stay in one
    cell, so ties and atoms are harmless.

    Use it for a few columns, with atoms or not. It sees no difference inside a cell, so it is too
    small for distributions that differ at a finer scale than their cells, in many columns above all; a
    warning says when means or covariances still differ inside the cells.

    Parameters
    ----------
    x, y : Samples
        Rows of P, shape (n, d), and of Q, shape (m, d), weighted or not.
    kind : str
        Name of the f-divergence, as in the table of `divmatch help divergences`.
    bins : int or None
        Number of cells; automatic: one for every 15 rows of the smaller sample, at least 2.
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
    InconclusiveError
        When no row differs from another.
    SettingError
        With a correction and a smoothing at once.

    Notes
    -----
    Cost: O((n + m) d log(n + m)).

    Source: Wang, Kulkarni & Verdú 2005, IEEE Trans. Inf. Theory 51; equal-mass cells of one sample.

    Examples
    --------
    >>> import divmatch
    >>> x, y = [0, 1, 1, 1], [0, 0, 1, 1]
    >>> divmatch.fdiv(x, y, kind="tv", method="hist", bins=2, correction="none").value
    0.25
    """
    return _estimate(x, y, of_kind(kind), bins, correction, smooth)


def _estimate(
    x: Samples,
    y: Samples,
    of: Divergence,
    bins: int | None,
    correction: str,
    smooth: float | str,
    *,
    most: bool = False,
) -> Estimate:
    by_p, by_q = of.dear[1] and not of.dear[0], of.dear[0] and not of.dear[1]
    cells = _kept(x, y, bins, by_p, by_q)
    found = plug_in(of, cells, correction, smooth, most=most)
    # the number asked for: fewer may be found, and another sample may find more
    wanted = bins or automatic_bins(cells.x, cells.y)
    return spread_over(replace(found, params={**found.params, "bins": wanted}), x, y)


def _kept(x: Samples, y: Samples, bins: int | None, by_p: bool, by_q: bool) -> Cells:
    """The cells, found once for a pair."""
    key = ("histogram", id(x), bins, by_p, by_q)
    kept: tuple[Samples, Cells] = y.once(key, lambda: (x, _cells(x, y, bins, by_p, by_q)))
    return kept[1]


def automatic_bins(x: Samples, y: Samples) -> int:
    """One cell for ROWS_A_CELL rows of the smaller sample."""
    return max(2, int(min(x.effective_size(), y.effective_size()) / ROWS_A_CELL))


def _cells(x: Samples, y: Samples, bins: int | None, by_p: bool, by_q: bool) -> Cells:
    """Cells of equal mass of P, of Q, or of both: what has no weight is sorted into them."""
    x, y = weighty(x, y)
    points = np.concatenate([x.points, y.points])
    if (points == points[0]).all():
        raise InconclusiveError(
            f"{x.name} and {y.name}: all rows are equal, no cells can be made; use --method discrete"
        )
    if not by_p and not by_q:
        n, m = x.effective_size(), y.effective_size()
        shares = n / (n + m), m / (n + m)
    else:
        shares = float(by_p), float(by_q)
    weights = np.concatenate([shares[0] * x.masses(), shares[1] * y.masses()])
    cell, count = cells_of_equal_mass(points, weights, bins or automatic_bins(x, y))
    if count == 1:
        raise InconclusiveError(
            f"{x.name} and {y.name}: all rows fall into one cell, which tells nothing apart; use --method "
            "discrete for few values, or give more rows"
        )

    def name(place: int) -> str:
        return _box(points[cell == place])

    return Cells(x, y, cell[: x.n], cell[x.n :], count, name)


def _box(points: Array) -> str:
    """The range of a cell's rows."""
    low, high = points.min(axis=0), points.max(axis=0)
    parts = [f"{a:.3g} .. {b:.3g}" for a, b in zip(low[:3], high[:3], strict=True)]
    return f"[{', '.join(parts)}{', ...' if len(low) > 3 else ''}]"
