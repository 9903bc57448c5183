"""The affine map that carries one Gaussian over to another."""

from typing import Annotated, Literal

import numpy as np

from divmatch.errors import SampleError, counted
from divmatch.matcher import Fit
from divmatch.record import Note
from divmatch.samples import Samples
from divmatch.settings import Setting
from divmatch.transport.bures import Gaussian, coupled, fitted
from divmatch.transport.mapping import MAP, mapped
from divmatch.transport.maps import Affine
from divmatch.transport.problem import Support
from divmatch.transport.shrinkage import share_of, shrunk

Shrink = Annotated[
    float | Literal["auto"],
    Setting(
        "share by which correlations are drawn to 0; auto: Ledoit and Wolf's below 5 rows a column",
        least=0,
        most=1,
    ),
]
FEW = 5  # rows a column below which covariances are shrunk


@MAP.method("gaussian", source="Dowson & Landau 1982; Peyré & Cuturi 2019, arXiv 1803.00567, 2.31")
def gaussian(x: Samples, y: Samples, *, shrink: Shrink = "auto") -> Fit:
    """Rows of P moved onto Q by a map that is fitted once and applied to any other rows.

    T(x) = m₂ + A (x − m₁) with A = S₁^−½ (S₁^½ S₂ S₁^½)^½ S₁^−½ of means and unbiased covariances: the
    cheapest of all maps for |x − T(x)|² between the two Gaussians. Means and covariances of T(P) are those
    of Q, whatever the distributions; nothing else is matched. A is symmetric, with no negative
    eigenvalue, and comes from the singular values of R₁R₂' with Sᵢ = Rᵢ'Rᵢ, without an inverse: where S₁
    is singular, what Q has beyond its range stays away.

    --fit map.npz saves the map of any method, with the columns and their scale, and match map --apply
    map.npz NEW -o moved.parquet puts other rows into it, streamed. The "after" figure is of rows that
    the fit has not seen. The Monge gap of the map is E c(x, T(x)) less the cheapest
    transport between P and T(P), of at most 5,000 rows: 0 if no map with the same image costs less,
    above it if the map goes a longer way. In many columns that of few rows falls short.

    Below 5 rows a column both correlation matrices are drawn towards the identity by the share that
    Ledoit and Wolf estimate from the rows (W51); variances stay.

    Use it where P and Q differ in location, spread and correlation, and as the first thing to try.

    Parameters
    ----------
    x, y : Samples
        Rows of P, shape (n, d), which are moved, and of Q, shape (m, d), weighted or not.
    shrink : float or str
        Share from 0 to 1, or auto.

    Returns
    -------
    Fit
        The rows moved, in P's order and units.

    Raises
    ------
    InconclusiveError
        When a sample has but one row.
    SampleError
        When columns are so far apart in spread that rounding would swallow the narrow ones.

    Notes
    -----
    Cost: O((n + m) d² + d³) time, O(d²) memory; with fewer rows than columns and --shrink 0
    O(n m d) time and O((n + m) d) memory.

    Source: Dowson & Landau 1982 (J. Multivariate Analysis 12); Peyré & Cuturi 2019 (arXiv
    1803.00567), remark 2.31; shrinkage: Ledoit & Wolf 2004 (J. Multivariate Analysis 88); Monge gap:
    Uscidda & Cuturi 2023 (arXiv 2302.04953).

    Examples
    --------
    >>> import divmatch
    >>> found = divmatch.match.map([-1.0, 0.0, 1.0], [1.0, 3.0, 5.0], metric="none")
    >>> found.points[:, 0].round(6).tolist(), found.map([2.0]).round(6).tolist()
    ([1.0, 3.0, 5.0], [[7.0]])
    """
    (first, share_p), (second, share_q) = (gaussian_of(samples, shrink) for samples in (x, y))
    made = bures_map(first, second)
    _check_spread(made, first, second, x)
    few = [
        f"{one.name} {share:.3g}"
        for one, share in ((x, share_p), (y, share_q))
        if shrink == "auto" and share > 0
    ]
    text = (
        f"fewer than {FEW} rows for each of {counted(x.d, 'column')}: correlations are drawn towards 0, "
        f"{', '.join(few)} of the way (--shrink)"
    )
    notes = (Note("W51", text),) if few else ()
    return mapped(
        x, made, facts={"shrink_p": share_p or None, "shrink_q": share_q or None}, notes=notes
    )


def bures_map(first: Gaussian, second: Gaussian) -> Affine:
    """T(x) = m₂ + A (x − m₁): A = R₂'V s⁻¹ V'R₂ for R₁R₂' = U s V', of which F is a root."""
    both = coupled(first, second)
    factor = second.factor.T @ (both.right / np.sqrt(both.strengths))
    return Affine(first.mean, second.mean, np.ascontiguousarray(factor))


def _check_spread(made: Affine, first: Gaussian, second: Gaussian, x: Samples) -> None:
    """Refuse columns so far apart in spread that rounding has swallowed the narrow ones."""
    if len(first.factor) < x.d:
        return
    through = (first.factor @ made.factor) @ made.factor.T
    reached, wanted = (np.sum(factor**2, axis=0) for factor in (through, second.factor))
    lost = np.flatnonzero(np.abs(reached - wanted) > 0.01 * wanted)
    if len(lost):
        label = x.columns[lost[0]] if x.columns else str(lost[0])
        raise SampleError(
            f"match map: column '{label}' of {x.name} is too narrow beside the others for one map of all; "
            "bring the columns to one unit (--scale ref-sd), or choose --method quantile"
        )


def gaussian_of(samples: Samples, shrink: float | str) -> tuple[Gaussian, float]:
    """The Gaussian of a sample, and how far it was shrunk."""
    points, masses, _ = Support.of(samples)
    if isinstance(shrink, str):
        few = samples.effective_size() < FEW * samples.d and len(points) > 1
        shrink = share_of(points, masses) if few else 0.0
    if not shrink > 0:
        return fitted(points, masses, samples.name), 0.0
    return shrunk(points, masses, samples.name, shrink), shrink
