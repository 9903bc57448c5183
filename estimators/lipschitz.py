"""f-divergences regularised by a Lipschitz bound: finite for samples that do not overlap."""

import math
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import InconclusiveError, SettingError, counted
from divmatch.estimator import Estimate
from divmatch.estimators.divergences import FDIV, KIND, Kind
from divmatch.estimators.generators import generator
from divmatch.estimators.semi_relaxed import solve
from divmatch.kernels.execution import execution
from divmatch.record import Note
from divmatch.samples import Samples
from divmatch.settings import Setting

Array = NDArray[np.float64]

Slope = Annotated[float, Setting("largest slope L of the critic", above=0, unit="1 per data unit")]
Gap = Annotated[
    float, Setting("duality gap to reach, as a share of the larger of 1 and the value", above=0)
]


MOST_ROWS = 3000  # of each sample, which take about half an hour
FEW_ROWS = 10  # of a sample, with which the value is mostly bias


@FDIV.estimator(
    "lipschitz",
    source="Birrell, Dupuis, Katsoulakis, Pantazis & Rey-Bellet 2022, JMLR 23 (arXiv 2011.05953)",
)
def fdiv_lipschitz(
    x: Samples, y: Samples, *, kind: Kind = KIND, lipschitz: Slope = 1.0, gap: Gap = 1e-3
) -> Estimate:
    """f-divergence with an L-Lipschitz critic, between f-divergence and Wasserstein distance.

    sup over L-Lipschitz γ of E_P γ − E_Q f*(γ) = min over R of D_f(R || Q) + L W₁(P, R), for the two
    samples themselves: P may be moved at the price L per row and unit of length before it is
    compared with Q. Zero if and only if the samples are equal; it grows with L from L W₁ to the
    f-divergence of the samples, and is at most either. Biased upward like W₁, about n^(−1/d) in
    d > 2 columns.

    Use it for samples on different supports, such as images or few rows in many columns, where the
    f-divergence is at its maximum or infinite. Columns count by their scale: standardise them
    (--scale) unless they share a unit.

    Parameters
    ----------
    x, y : Samples
        Rows of P, shape (n, d), and of Q, shape (m, d), weighted or not.
    kind : str
        Which f, not tv; `divmatch help divergences` has the table.
    lipschitz : float
        L, above 0, per data unit.
    gap : float
        The value is the dual's, at most this share of max(1, value) below the minimum.

    Returns
    -------
    Estimate
        Value in the unit of its kind, at least 0 up to the gap, with the influence of every row.

    Raises
    ------
    SettingError
        For the kind tv, and for more rows than memory or patience allow.
    InconclusiveError
        When no row of a sample carries weight.

    Notes
    -----
    Cost: about a hundred steps of O(n m²) time; 40 n m + 24 m² bytes. Meant for up to some 1000 rows;
    more than about 3000 are refused.

    Source: Birrell, Dupuis, Katsoulakis, Pantazis & Rey-Bellet 2022, JMLR 23 (arXiv 2011.05953);
    mass of P where Q has none is priced lim f(t)/t, as in the other methods.

    Examples
    --------
    >>> import divmatch
    >>> round(divmatch.fdiv([0.0], [3.0], kind="kl", method="lipschitz", lipschitz=2).value, 3)
    6.0
    """
    from scipy.spatial.distance import cdist

    f = generator(kind)
    if not f.curvature(np.ones(1))[0] > 0:
        raise SettingError(f"--kind {kind}: has no curvature, which --method lipschitz needs")
    p, q = x.masses(), y.masses()
    of_x, of_y = np.flatnonzero(p > 0), np.flatnonzero(q > 0)
    if not (len(of_x) and len(of_y)):
        raise InconclusiveError(f"{x.name} or {y.name}: no row carries weight")
    _room(len(of_x), len(of_y))
    cost = lipschitz * cdist(x.points[of_x], y.points[of_y])
    found = solve(cost, p[of_x] / p.sum(), q[of_y] / q.sum(), f, gap)
    terms_x, terms_y = np.zeros(x.n), np.zeros(y.n)
    terms_x[of_x], terms_y[of_y] = found.of_p, -found.of_q
    notes: tuple[Note, ...] = ()
    if found.gap > gap * max(1.0, abs(found.dual)):
        message = f"the duality gap is {found.gap:.2g}, more than --gap {gap:g} allows"
        notes = (Note("W18", message),)
    few = min(len(of_x), len(of_y))
    if few < FEW_ROWS:
        message = (
            f"{counted(few, 'row')}: the value is of these rows alone, far above that of any law"
        )
        notes = (*notes, Note("W38", f"{message}; give more rows"))
    reached = {"duality_gap": max(found.gap, 0.0)}
    return Estimate(found.dual, terms_x, terms_y, params=reached, notes=notes)


def _room(n: int, m: int) -> None:
    """Refuse what does not fit: five arrays of n x m, three of m x m."""
    room = execution().memory
    fits = math.isqrt(int(room / _bytes(1, 1)))
    if _bytes(n, m) > room:
        raise SettingError(
            f"fdiv --method lipschitz: {n} x {m} rows need {_bytes(n, m) >> 20} MiB, {fits} x {fits} "
            f"fit into {room >> 20} MiB; use --sample {min(fits, MOST_ROWS)}, --max-memory or --method "
            "classifier"
        )
    if n * m * m > MOST_ROWS**3:
        raise SettingError(
            f"fdiv --method lipschitz: {n} x {m} rows would take hours, expected at most about {MOST_ROWS} "
            f"each; use --sample {min(fits, MOST_ROWS)} or --method classifier"
        )


def _bytes(n: int, m: int) -> int:
    return 40 * n * m + 24 * m * m
