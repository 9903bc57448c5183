"""Adversarial weights: how bad a loss can become when the distribution moves a little."""

from collections.abc import Callable
from typing import Annotated, Literal

import numpy as np

from divmatch.errors import SettingError, suggestion
from divmatch.matcher import Array, Figure, Fit
from divmatch.samples import Samples
from divmatch.scaling import own_units
from divmatch.settings import Setting
from divmatch.transport.reweighting import WEIGHTS

Column = Annotated[str | None, Setting("column with the loss of every row", shown="COL", parse=str)]
Family = Annotated[
    Literal["kl", "chi2", "cvar", "extremile", "esrm"],
    Setting(
        "ball around P (kl, chi2), or spectrum of the sorted losses (spectral: extremile)",
        aliases={"spectral": "extremile"},
    ),
]
Tau = Annotated[float | None, Setting("price of the divergence, in units of the loss", above=0)]
Radius = Annotated[
    float | None, Setting("largest divergence from P, in the place of --tau", above=0)
]
Tail = Annotated[float, Setting("cvar: the share of rows that does not count", least=0, below=1)]
Shape = Annotated[float, Setting("extremile: r, at least 1; esrm: rho", above=0)]
Smoothing = Annotated[float, Setting("price nu of the penalty on spectral weights", least=0)]
Penalty = Annotated[Literal["chi2", "kl"], Setting("what --smoothing is the price of")]
LONGEST = 200  # halvings of an interval


@WEIGHTS.method(
    "dro",
    source="Mehta, Roulet, Pillutla, Liu & Harchaoui 2024, arXiv 2310.13863; arXiv 2308.00311",
    candidate="never",
    variant="ball",
)
def dro(
    x: Samples,
    *,
    loss: Column = None,
    ball: Family = "kl",
    tau: Tau = None,
    radius: Radius = None,
    tail: Tail = 0.9,
    shape: Shape = 2.0,
    smoothing: Smoothing = 0.0,
    penalty: Penalty = "chi2",
) -> Fit:
    """Weights under which a loss is as large as it can be near P: distributionally robust optimisation.

    max w·l − τ D(w || q) for kl, D = Σ w ln(w/q), where w ∝ q exp(l/τ), and chi2, D = Σ q (w/q − 1)²/2, where
    w = q max(0, 1 + (l − η)/τ); or max w·l with D at most --radius. Spectra count sorted losses: Σ σᵢ l₍ᵢ₎
    with σᵢ the integral of s over the i-th row's share of (0, 1): cvar s = 1{u ≥ tail}/(1 − tail), extremile
    s = r u^(r−1), esrm s = ρ exp(ρu)/(exp(ρ) − 1); with --smoothing ν less ν D(w || q), by pooling adjacent
    violators. Rows of the same loss have the same w/q.

    Use it to see which rows a robust fit would listen to, and how much worse the loss gets: before is the
    mean loss, after the weighted one.

    Parameters
    ----------
    x : Samples
        Rows of P, shape (n, d), weighted or not.
    loss : str
        Name, or position, of the column with the losses; not needed if there is only one column.
    ball : str
        kl, chi2, cvar, extremile (spectral is another name for it) or esrm.
    tau : float
        For kl and chi2, above 0; 1 if neither tau nor radius is given.
    radius : float
        For kl and chi2, above 0.
    tail : float
        For cvar, in [0, 1).
    shape : float
        For extremile and esrm.
    smoothing : float
        ν for the spectra; 0 for none.
    penalty : str
        chi2 or kl.

    Returns
    -------
    Fit
        Weights, sum 1; `divergence` from P in the ball's terms, `tau`, the `objective` that was maximised.

    Raises
    ------
    SettingError
        When no column of the losses is named, or the settings are of another ball.

    Notes
    -----
    Cost: O(n log n).

    Source: Mehta, Roulet, Pillutla, Liu & Harchaoui 2024, Distributionally robust optimization with bias and
    variance reduction, arXiv 2310.13863, section 2 (spectra); arXiv 2308.00311 (kl).

    Examples
    --------
    >>> import divmatch
    >>> found = divmatch.match.weights([0.0, 1.0, 2.0], method="dro", tau=1.0)
    >>> found.weights.round(4).tolist()
    [0.09, 0.2447, 0.6652]
    """
    losses, q = column_of(x, loss, "--loss"), x.masses()
    if ball in ("kl", "chi2"):
        if tau is not None and radius is not None:
            raise SettingError("--tau and --radius: one price or one radius, not both")
        if radius is not None:
            w, price = _within(ball, losses, q, radius)
        else:
            price = 1.0 if tau is None else tau
            w = TILTS[ball](losses, q, price)
    else:
        if tau is not None or radius is not None:
            raise SettingError(
                f"--ball {ball}: is smoothed by --smoothing; leave --tau and --radius out"
            )
        w = spectral(losses, q, _spectrum(ball, tail, shape), smoothing, penalty)
        price = smoothing
    distance = DISTANCES[ball if ball in DISTANCES else penalty](w, q)
    after = float(w @ losses)
    paid = 0.0 if radius is not None else price * distance
    return Fit(
        weights=w,
        facts={
            "divergence": distance,
            "tau": price or None,
            "objective": after - (paid if price else 0.0),
        },
        figure=Figure("loss", float(q @ losses), after, "loss unit"),
    )


def column_of(x: Samples, name: str | None, flag: str) -> Array:
    """One column of P in its own unit."""
    names = x.columns or tuple(map(str, range(x.d)))
    if name is None:
        if x.d > 1:
            raise SettingError(f"{flag}: {x.name} has {x.d} columns; name the one that is meant")
        name = names[0]
    if name not in names:
        near = suggestion(name, names)
        raise SettingError(f"{flag} {name}: {x.name} has no such column of numbers{near}")
    made: Array = own_units(x)[:, names.index(name)]
    return made


# ------------------------------------------------------------------------------------------ balls


def _kl_tilt(losses: Array, q: Array, tau: float) -> Array:
    w = q * np.exp((losses - losses[q > 0].max()) / tau)
    made: Array = np.where(q > 0, w, 0.0)
    return made / made.sum()


def _chi2_tilt(losses: Array, q: Array, tau: float) -> Array:
    """Q max(0, 1 + (l − η)/τ): η from the rows that stay, which are those of the largest losses."""
    order = np.argsort(-losses, kind="stable")
    l, a = losses[order], q[order]  # noqa: E741
    mass, moment = np.cumsum(a), np.cumsum(a * l)
    with np.errstate(divide="ignore", invalid="ignore"):
        eta = (moment + tau * (mass - 1.0)) / mass
    staying = np.flatnonzero((tau + l - eta > 0) & (mass > 0))
    w: Array = q * np.maximum(0.0, 1.0 + (losses - eta[staying[-1]]) / tau)
    return w / w.sum()


def _kl(w: Array, q: Array) -> float:
    kept = w > 0
    return float(w[kept] @ np.log(w[kept] / q[kept]))


def _chi2(w: Array, q: Array) -> float:
    kept = q > 0
    return 0.5 * float(q[kept] @ (w[kept] / q[kept] - 1.0) ** 2)


TILTS: dict[str, Callable[[Array, Array, float], Array]] = {"kl": _kl_tilt, "chi2": _chi2_tilt}
DISTANCES: dict[str, Callable[[Array, Array], float]] = {"kl": _kl, "chi2": _chi2}


def _within(ball: str, losses: Array, q: Array, radius: float) -> tuple[Array, float]:
    """The price at which the divergence is the radius; where even price 0 costs less, that."""
    tilt, distance = TILTS[ball], DISTANCES[ball]
    carried = losses[q > 0]
    worst = np.where(losses == carried.max(), q, 0.0)
    worst /= worst.sum()
    if distance(worst, q) <= radius:
        return worst, 0.0
    extent = float(carried.max() - carried.min())
    low, high = np.log(extent * 1e-8), np.log(extent * 1e8)
    for _ in range(LONGEST):
        middle = 0.5 * (low + high)
        if not low < middle < high:
            break
        far = distance(tilt(losses, q, float(np.exp(middle))), q) > radius
        low, high = (middle, high) if far else (low, middle)
    price = float(np.exp(high))
    return tilt(losses, q, price), price


# ---------------------------------------------------------------------------------------- spectra


def _spectrum(kind: str, tail: float, shape: float) -> Callable[[Array], Array]:
    """The integral of s from 0 to u."""
    if kind == "cvar":
        return lambda u: np.maximum(u - tail, 0.0) / (1.0 - tail)
    if kind == "extremile":
        if shape < 1:
            raise SettingError(
                f"--shape {shape:g}: extremile needs at least 1: larger losses count more"
            )
        return lambda u: u**shape
    return lambda u: np.expm1(shape * u) / np.expm1(shape)


def spectral(
    losses: Array, q: Array, integral: Callable[[Array], Array], nu: float, penalty: str
) -> Array:
    """The maximum over all ways to give the spectrum to the rows, less the penalty."""
    rows = np.flatnonzero(q > 0)
    rows = rows[np.argsort(losses[rows], kind="stable")]
    l, a = losses[rows], q[rows]  # noqa: E741
    edges = np.minimum(np.concatenate([[0.0], np.cumsum(a)]), 1.0)
    edges[-1] = 1.0
    sigma = np.diff(integral(edges))
    made = np.zeros_like(q)
    if nu == 0.0:
        start = np.flatnonzero(np.concatenate([[True], np.diff(l) > 0]))
        share = np.add.reduceat(sigma, start) / np.add.reduceat(a, start)
        made[rows] = a * np.repeat(share, np.diff(np.concatenate([start, [len(l)]])))
    elif penalty == "chi2":
        made[rows] = a * (l / nu + 1.0 - pooled(l / nu + 1.0 - sigma / a, a))
    else:
        top = l.max()
        made[rows] = a * np.exp((l - top) / nu - _log_pooled(np.log(a) + (l - top) / nu, sigma))
    made = np.maximum(made, 0.0)
    return made / made.sum()


def pooled(values: Array, weights: Array) -> Array:
    """The nearest values that do not fall: pool adjacent violators, O(n)."""
    from scipy.optimize import isotonic_regression

    made: Array = isotonic_regression(values, weights=weights).x
    return made


def _log_pooled(log_mass: Array, sigma: Array) -> Array:
    """Blocks of ln Σ exp(log mass) − ln Σ σ that do not fall."""
    tops, sums, spectra, counts = list[float](), list[float](), list[float](), list[int]()

    def value(k: int) -> float:
        return tops[k] + np.log(sums[k]) - np.log(spectra[k]) if spectra[k] > 0 else np.inf

    for mass, share in zip(log_mass.tolist(), sigma.tolist(), strict=True):
        tops.append(mass)
        sums.append(1.0)
        spectra.append(share)
        counts.append(1)
        while len(tops) > 1 and value(len(tops) - 2) >= value(len(tops) - 1):
            top, total, spectrum, count = tops.pop(), sums.pop(), spectra.pop(), counts.pop()
            high = max(top, tops[-1])
            sums[-1] = sums[-1] * np.exp(tops[-1] - high) + total * np.exp(top - high)
            tops[-1] = high
            spectra[-1] += spectrum
            counts[-1] += count
    return np.repeat([value(k) for k in range(len(tops))], counts)
