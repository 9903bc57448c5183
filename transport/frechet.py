"""Fréchet distance: squared 2-Wasserstein distance between Gaussians fitted to the samples."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import InconclusiveError, SettingError, counted
from divmatch.estimator import Array, Estimate, Labels, Pooled, Quantity
from divmatch.kernels.execution import in_order
from divmatch.moments import Moments
from divmatch.record import Note
from divmatch.samples import Samples
from divmatch.settings import Setting
from divmatch.transport.frechet_bias import (
    LEAST,
    NEAR,
    Expansion,
    Side,
    enough,
    expanded,
    extrapolated,
    halving,
    plug_in,
)

Correction = Annotated[
    Literal["auto", "extrapolated", "first-order", "none"],
    Setting("how the bias of finite samples is removed"),
]
Smooth = Annotated[
    float, Setting("add this to A^½BA^½ below the root, so that singular covariances have gradients", least=0)
]  # fmt: skip

Places = NDArray[np.intp]
TELL = 0.1  # share of the value from which a bias that is left in it is told

NATS = ("jeffreys", "kl")  # costs of a mixture's components that are no squared distances


def _sizes(settings: Mapping[str, Any]) -> str:
    """`2 Gaussians`, `5 Gaussians onto 3` where stored mixtures have numbers of their own."""
    p = settings.get("components_p", settings["mixture"])
    q = settings.get("components_q", settings["mixture"])
    return counted(p, "Gaussian") + (f" onto {q}" if p != q else "")


FRECHET = Quantity(
    "frechet",
    title=lambda settings: (
        "squared Fréchet distance"
        if "mixture" not in settings
        else f"transport of {_sizes(settings)}"
    ),
    unit=lambda settings: "nats" if settings.get("mixture_cost") in NATS else "data unit^2",
    nats=True,
    directed=lambda settings: settings.get("mixture_cost") == "kl",
    direction="symmetric",
    default="gaussian",
    degenerate=True,
    moments=True,
    unplanned=lambda settings: (
        ""
        if "mixture" in settings
        else "one Gaussian goes onto another by a map, which divmatch match map --method gaussian "
        "makes; --mixture K has a plan between components"
    ),
    examples=(
        "divmatch frechet real.npy gen.npy",
        "divmatch frechet real.npy gen.npy --correction none",
        "divmatch frechet real.npy gen.npy --permutations 199 -f json",
        "divmatch frechet real.npy gen.npy --mixture 5",
        "divmatch frechet mixture.npz other-mixture.npz --mixture",
        "divmatch frechet real.npy gen.npy --mixture 3 -o plan.npz",
    ),
)


@FRECHET.estimator(
    "gaussian",
    source="Heusel et al. 2017, arXiv 1706.08500; Chong & Forsyth 2020, arXiv 1911.07023",
)
def frechet(
    x: Samples, y: Samples, *, correction: Correction = "auto", smooth: Smooth = 0.0
) -> Estimate:
    """Squared Fréchet (Bures-Wasserstein) distance between fitted Gaussians, without its bias.

    |m₁ − m₂|² + tr A + tr B − 2 tr(A^½ B A^½)^½ of the means and unbiased covariances, not its root:
    the FID of feature vectors. Zero if and only if means and covariances agree, and it sees nothing
    else of the distributions. It is a lower bound of their squared 2-Wasserstein distance.

    The plug-in is biased upward by about d²/4 (1/n + 1/m) times the variance, whatever the
    distributions: numbers of different n cannot be compared, and of equal 64-d Gaussians it is
    about 2200/n. What is reported is extrapolated to infinitely many rows. To first order in 1/n
    the bias is known from the second derivatives of the distance and the rows' fourth moments; no
    distribution is assumed. What is left of order 1/n² is removed by doing the same with two halves
    of both samples: g + (g − mean of the halves) / 3. This has the bias of a regression on 1/n over
    subset sizes, or less, and about half its variance; n is the size of the smaller sample, by its
    weights. The number can be negative (W01).

    Singular covariances are fine; with fewer rows than columns all is done in the span of the rows.
    With fewer than 4 d rows the expansion in 1/n does not hold: the plug-in is reported, with a
    warning that says how large its bias is (W58), and up to d rows its interval is rough (W59).

    P, Q or both may be stored moments: an .npz with `mean` and `cov` (or `mu` and `sigma`), and `n`, the
    number of rows, by which their bias and error are those of Gaussian rows; without n they are
    taken as exact (W60). Python takes divmatch.moments.as_moments(mean, covariance, n).

    The standard error is that of the delta method. Influences vanish at P = Q: near it only
    a permutation test can tell (W04).

    Parameters
    ----------
    x, y : Samples
        Rows of P, shape (n, d), and of Q, shape (m, d), weighted or not.
    correction : str
        extrapolated removes the bias to second order in 1/n, first-order to the first. none keeps it in
        the value, and the interval is moved down by it; up to d rows it reaches from 0 to the value.
        auto is none below 4 d rows, extrapolated below 20 d, and first-order from there, where halves
        change nothing that matters.
    smooth : float
        τ of tr(A^½ B A^½ + τ I)^½, in data units to the fourth: with τ > 0 the number has a gradient
        at singular covariances, and is not zero at equal ones. Its standard error follows from that
        gradient.

    Returns
    -------
    Estimate
        Squared distance in squared data units, with the influence of every row; the plug-in and the
        bias that was found beside it.

    Raises
    ------
    InconclusiveError
        When a sample has but one row, or a correction is asked for with fewer than 4 d rows.

    Notes
    -----
    Cost: O((n + m) d² + d³) time, O(d²) memory beside the whitened rows; O(n m d + min(n, m)³) where both
    samples have no more rows than columns. Where n d² is above 10⁹, the fourth moments and the
    standard error come from at least 2,048 evenly spaced rows (W66). A permutation costs as much as the
    estimate.

    Source: Dowson & Landau 1982 (J. Multivariate Analysis 12); Heusel et al. 2017 (arXiv
    1706.08500); extrapolation: Chong & Forsyth 2020 (arXiv 1911.07023); smooth form: Bréchet,
    Papagiannouli, An & Montúfar 2023 (arXiv 2303.03027).

    Examples
    --------
    >>> import divmatch
    >>> round(divmatch.frechet([-1.0, 0.0, 1.0], [1.0, 3.0, 5.0], correction="none").value, 6)
    10.0
    """
    how = _chosen(correction, x, y)
    if how != "none" and enough(x, y) < LEAST:
        raise InconclusiveError(
            f"frechet: {correction} needs at least {LEAST * x.d} rows in both samples for {x.d} columns "
            f"({x.name} has {x.effective_size():.3g}, {y.name} {y.effective_size():.3g}); use "
            "--correction none"
        )
    if how == "extrapolated" and (isinstance(x, Moments) or isinstance(y, Moments)):
        raise SettingError(
            "--correction extrapolated: needs rows, which stored moments have not; choose first-order"
        )
    (one, places), (other, others) = (_rows(samples, how) for samples in (x, y))
    whole = expanded(one, other, smooth)
    value = _corrected(whole, one, other, how, smooth)
    bias, doubt = _left(whole, enough(x, y)) if how == "none" else (0.0, 0.0)
    found = Estimate(
        value,
        bias=bias,
        doubt=doubt,
        params={"correction": how, "plug_in": whole.value, "plug_in_bias": whole.bias},
        notes=_notes(whole, value, how, x, y, smooth),
    )
    if not whole.complete:
        return replace(found, se=whole.se)
    terms = _placed(whole.first, places, x), _placed(whole.second, others, y)
    return replace(found, terms_x=terms[0], terms_y=terms[1])


def _chosen(correction: str, x: Samples, y: Samples) -> str:
    """What auto means for samples of these sizes."""
    if correction != "auto":
        return correction
    rows = enough(x, y)
    stored = isinstance(x, Moments) or isinstance(y, Moments)
    return (
        "none" if rows < LEAST else "extrapolated" if rows < NEAR and not stored else "first-order"
    )


def _rows(samples: Samples, how: str) -> tuple[Samples, Places]:
    """The rows that carry weight and their places, in the order of the halves where there are any."""
    if how == "extrapolated":
        places = halving(samples)
    elif samples.weights is None or isinstance(samples, Moments):
        return samples, np.arange(samples.n)
    else:
        places = np.flatnonzero(samples.weights > 0)
    return samples.take(places), places


def _left(whole: Expansion, rows: float) -> tuple[float, float]:
    """The bias of a plug-in from ``rows`` rows a column, and how far it may be off.

    Measured on Gaussians, the first order is short of it by a factor of 1.15 at 4 rows a column, 1.35 at 2,
    1.7 at 1.25. Up to one, the truth may be anywhere between zero and the value.
    """
    if rows <= 1:
        return whole.value / 2.0, abs(whole.value) / 2.0
    return whole.bias, whole.bias / rows if rows < LEAST else 0.0


def _corrected(whole: Expansion, x: Samples, y: Samples, how: str, smooth: float) -> float:
    if how == "none":
        return whole.value
    if how == "first-order":
        return whole.value - whole.bias
    return extrapolated(whole, x, y, smooth)


def _placed(side: Side, places: Places, samples: Samples) -> Array:
    """Influences of all rows: none where there is no weight."""
    terms = np.zeros(samples.n)
    terms[places] = side.influences
    return terms


def _notes(
    whole: Expansion, value: float, how: str, x: Samples, y: Samples, smooth: float
) -> tuple[Note, ...]:
    notes = []
    if value < 0:
        notes.append(
            Note("W01", "the estimate without its bias is negative; equality is plausible")
        )
    if value < 2.0 * whole.noise:
        notes.append(
            Note(
                "W04",
                f"samples of these sizes from one Gaussian give 0 with a standard deviation of "
                f"{whole.noise:.3g}: at {value:.3g} the interval is not valid",
            )
        )
    if how == "none" and whole.bias > TELL * max(value, 0.0):
        few_rows = enough(x, y) < LEAST
        notes.append(
            Note(
                "W58",
                f"{'at least ' if few_rows else 'about '}{whole.bias:.3g} of {value:.3g} is the bias of so "
                f"few rows in {counted(x.d, 'column')}; compare only values of equal n, or "
                + (f"give {LEAST * x.d} rows" if few_rows else "leave out --correction none"),
            )
        )
    notes += [
        Note(
            "W60", f"{one.name}: holds no n: its moments are taken as exact, without bias or error"
        )
        for one in (x, y)
        if isinstance(one, Moments) and not one.rows
    ]
    notes += [
        Note(
            "W66",
            f"{one.name}: bias and standard error come from {len(side.influences)} evenly spaced rows "
            f"of {one.n}; the value comes from all",
        )
        for one, side in ((x, whole.first), (y, whole.second))
        if side.partial
    ]
    few = [one for one in (x, y) if one.effective_size() <= one.d]
    notes += [
        Note(
            "W59",
            f"{one.name}: {one.effective_size():.4g} rows leave the covariance of {one.d} columns "
            "singular: the standard error and the interval are rough",
        )
        for one in few
    ]
    return tuple(notes)


@frechet.pooled
def frechet_plan(pool: Samples, *, correction: str, smooth: float, **_: Any) -> Pooled:
    """The pool centred and put in order once; a split is then fitted by itself."""
    places = _rows(pool, "extrapolated")[1]
    points = pool.points[places]
    masses = pool.masses()[places]
    points = points - masses @ points
    whole = Samples(points, None if pool.weights is None else masses, pool.name)

    def value(labels: NDArray[np.bool_]) -> float:
        if labels.all() or not labels.any():
            return math.nan
        x, y = whole.take(labels), whole.take(~labels)
        how = _chosen(correction, x, y)
        try:
            if how == "none":
                return plug_in(x, y, smooth)
            return _corrected(expanded(x, y, smooth), x, y, how, smooth)
        except InconclusiveError:
            return math.nan

    def statistic(labels: Labels) -> Array:
        splits = (labels[places, b] for b in range(labels.shape[1]))
        work = labels.shape[1] * pool.n * pool.d**2
        return np.array(list(in_order(value, splits, work=work)))

    reach = float(np.max(np.einsum("ij,ij->i", points, points)))
    return Pooled(statistic, lambda: 64 * 2.0**-52 * pool.n**0.5 * reach)
