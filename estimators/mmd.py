"""Maximum mean discrepancy."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

import numpy as np

from divmatch.bandwidth import resolved
from divmatch.errors import SettingError
from divmatch.estimator import Estimate, OwnTest, Pooled, Quantity
from divmatch.estimators import mmd_aggregated, quadratic
from divmatch.estimators.invariance import Invariant
from divmatch.kernel_names import Form, Kernel, check_unscaled, form_of, kernel_named
from divmatch.record import Note
from divmatch.samples import Samples
from divmatch.settings import Setting

Bandwidth = Annotated[
    float | Literal["median", "reference", "agg", "fuse"],
    Setting(
        "s: a number, the median distance of the pooled rows, or of the reference's rows alone; agg "
        "and fuse take ten of laplace and ten of gaussian together",
        above=0,
        unit="data unit",
    ),
]
MMD = Quantity(
    "mmd",
    title="mmd^2",
    unit="{kernel.unit}",
    direction="symmetric",
    default="u",
    degenerate=True,
    examples=(
        "divmatch mmd real.npy gen.npy",
        "divmatch mmd real.npy gen.npy --kernel laplace --bandwidth 2.5",
        "divmatch mmd real.npy gen.npy --permutations 999",
        "divmatch mmd real.npy gen.npy --bandwidth agg --permutations 999",
    ),
    when_scoring={"bandwidth": "reference"},
)


@MMD.estimator("u", source="Gretton et al. 2012, JMLR 13, eq. (3)")
def mmd_u(
    x: Samples,
    y: Samples,
    *,
    kernel: Kernel = "gaussian",
    bandwidth: Bandwidth = "median",
    invariant: Invariant = None,
) -> Estimate:
    """Squared maximum mean discrepancy between two samples, unbiased (U-statistic).

    MMD² = E k(X, X') + E k(Y, Y') − 2 E k(X, Y). Zero if and only if the distributions agree (all
    kernels but poly are characteristic). The estimate leaves out each point's kernel with itself: it is
    unbiased, and negative about half of the time when the distributions agree.

    Use it when differences of a known length scale matter; the bandwidth is that scale. With the
    median bandwidth it sees broad differences and misses fine ones: mix covers five scales.
    In `divmatch score` the bandwidth is the reference's, so that all rows of the table share it.

    Parameters
    ----------
    x, y : Samples
        Rows of shape (n, d) and (m, d), weighted or not.
    kernel : str
        gaussian exp(−r²/(2s²)); laplace exp(−r₁/s) with the city-block distance; imq
        (s² + r²)^(−1/2); matern:ν with smoothness ν of 0.5, 1.5 (the default) or 2.5, exp(−u) times
        1, 1 + u or 1 + u + u²/3 with u = (2ν)^(1/2) r/s; rq, the rational quadratic
        1/(1 + r²/(2s²)); mix, the mean of gaussians of s·{1/4, 1/2, 1, 2, 4}. Without a bandwidth:
        riesz:R, −r^R with 0 < R < 2, whose MMD² is the energy distance of power R, in (data unit)^R;
        poly, (x·y/d + 1)³, whose MMD² is the kernel inception distance (KID): it compares three
        moments, is not characteristic, and changes with the origin.
    bandwidth : float or str
        s in data units; median of the pooled pairwise distances over at most 2000 rows, or of the
        reference's. agg and fuse take twenty kernels: laplace exp(−r₁/λ) and gaussian exp(−r²/λ²) with
        ten λ each, geometric from half the 5 % quantile of the pooled distances to twice the 95 %
        one. The value is the MMD² of the mean kernel. With --permutations B the p-value is that of
        the aggregated test: agg, the smallest level at which MMDAgg rejects, with equal weights and
        twice B permutations, B for the ranks of the kernels and B for the level; fuse, MMD-FUSE, a
        soft maximum of the normalised kernels. With more than 512 rows permutations move groups of
        rows, which keeps the level exact.
    invariant : str
        Group under which both distributions are unchanged, such as perm:0,1: the kernel is averaged
        over it, k_G(x, y) = (1/|G|) Σ_g k(x, g·y). The same value with less noise; |G| times the
        cost. A warning says when the rows contradict it.

    Returns
    -------
    Estimate
        MMD² (not its root, not halved), with the influence of every row.

    Raises
    ------
    InconclusiveError
        When one row carries all the weight, or all rows are equal and no bandwidth was given.

    Notes
    -----
    Cost: O((n + m)² d) time, O(n + m) memory.
    Permutation tests of 10,000 rows and more compare the splits in single precision.

    Source: Gretton et al. 2012, JMLR 13, eq. (3). agg: Schrab et al. 2023, JMLR 24 (arXiv
    2110.15073); fuse: Biggs, Schrab & Gretton 2023 (arXiv 2306.08777); groups: Domingo-Enrich,
    Dwivedi & Mackey 2025 (arXiv 2502.07672).

    Examples
    --------
    >>> import divmatch
    >>> divmatch.mmd([0.0, 0.0], [9e9, 9e9], bandwidth=1).value
    2.0
    """
    return _estimate(x, y, kernel, bandwidth, invariant, unbiased=True)


@MMD.estimator("v", source="Gretton et al. 2012, JMLR 13, eq. (5)", biased=1.0)
def mmd_v(
    x: Samples,
    y: Samples,
    *,
    kernel: Kernel = "gaussian",
    bandwidth: Bandwidth = "median",
    invariant: Invariant = None,
) -> Estimate:
    """Squared maximum mean discrepancy between two empirical distributions (V-statistic).

    The same formula with every pair counted: never negative, zero if and only if the files hold the
    same weighted points; biased upward by about (k(0) − E k(X, X'))(1/n + 1/m).

    Use it when the rows are the whole population, or when integer weights must equal repeated rows.

    Parameters
    ----------
    x, y : Samples
        Rows of shape (n, d) and (m, d), weighted or not.
    kernel : str
        As for the method u.
    bandwidth : float or str
        As for the method u.
    invariant : str
        As for the method u.

    Returns
    -------
    Estimate
        MMD², at least 0, with the influence of every row.

    Notes
    -----
    Cost: O((n + m)² d) time, O(n + m) memory.
    Permutation tests of 10,000 rows and more compare the splits in single precision.

    Source: Gretton et al. 2012, JMLR 13, eq. (5).

    Examples
    --------
    >>> import divmatch
    >>> divmatch.mmd([0.0, 0.0], [9e9, 9e9], method="v", bandwidth=1).value
    2.0
    """
    return _estimate(x, y, kernel, bandwidth, invariant, unbiased=False)


@mmd_u.pooled
def mmd_u_plan(
    pool: Samples, *, kernel: Any, bandwidth: Any, invariant: str | None = None
) -> Pooled:
    """One streamed product for all splits."""
    return _plan(pool, kernel, bandwidth, invariant, unbiased=True)


@mmd_v.pooled
def mmd_v_plan(
    pool: Samples, *, kernel: Any, bandwidth: Any, invariant: str | None = None
) -> Pooled:
    """One streamed product for all splits."""
    return _plan(pool, kernel, bandwidth, invariant, unbiased=False)


@mmd_u.contrasted
def mmd_u_contrast(
    pool: Samples, y: Samples, *, kernel: Any, bandwidth: Any, invariant: str | None = None
) -> Pooled:
    """One streamed product for all splits."""
    return _contrast(pool, y, kernel, bandwidth, invariant, unbiased=True)


@mmd_v.contrasted
def mmd_v_contrast(
    pool: Samples, y: Samples, *, kernel: Any, bandwidth: Any, invariant: str | None = None
) -> Pooled:
    """One streamed product for all splits."""
    return _contrast(pool, y, kernel, bandwidth, invariant, unbiased=False)


@mmd_u.tested
def mmd_u_test(
    x: Samples,
    y: Samples,
    permutations: int,
    seed: int,
    *,
    kernel: Any,
    bandwidth: Any,
    invariant: str | None = None,
) -> OwnTest | None:
    """The aggregated tests."""
    return _own_test(x, y, kernel, bandwidth, permutations, seed, unbiased=True)


@mmd_v.tested
def mmd_v_test(
    x: Samples,
    y: Samples,
    permutations: int,
    seed: int,
    *,
    kernel: Any,
    bandwidth: Any,
    invariant: str | None = None,
) -> OwnTest | None:
    """The aggregated tests."""
    return _own_test(x, y, kernel, bandwidth, permutations, seed, unbiased=False)


def _own_test(
    x: Samples,
    y: Samples,
    kernel: Any,
    bandwidth: Any,
    permutations: int,
    seed: int,
    *,
    unbiased: bool,
) -> OwnTest | None:
    if bandwidth not in mmd_aggregated.WORDS:
        return None
    form = _bundle(kernel, x, y)
    return mmd_aggregated.aggregated_test(
        x, y, form, bandwidth, permutations, seed, unbiased=unbiased
    )


def _bundle(kernel: Any, *samples: Samples) -> Form:
    pool = np.concatenate([s.points for s in samples])
    masses = np.concatenate([s.masses() * s.n for s in samples])
    return mmd_aggregated.bundle_of(kernel, pool, masses / masses.sum())


@dataclass(frozen=True)
class Chosen:
    """The kernel at its scale, what the record says of the scale, and what the user should know."""

    form: Form
    params: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()


def chosen_form(kernel: Any, bandwidth: Any, x: Samples, y: Samples) -> Chosen:
    """Resolve the bandwidth for both samples."""
    kernel = kernel_named(kernel)
    if not kernel.scaled:
        check_unscaled(kernel, bandwidth, x, y)
        return Chosen(form_of(kernel, 1.0))
    if bandwidth in mmd_aggregated.WORDS:
        raise SettingError(f"--bandwidth {bandwidth}: choose --method u or v")
    scale, notes = resolved(bandwidth, x, y)
    return Chosen(form_of(kernel, scale), {"bandwidth": scale}, notes)


def held_form(kernel: Any, bandwidth: Any) -> Form:
    """The kernel at a bandwidth that was resolved before."""
    kernel = kernel_named(kernel)
    return form_of(kernel, bandwidth if kernel.scaled else 1.0)


def _estimate(
    x: Samples,
    y: Samples,
    kernel: Any,
    bandwidth: float | str,
    invariant: str | None,
    *,
    unbiased: bool,
) -> Estimate:
    chosen = _chosen_of_all(kernel, bandwidth, invariant, x, y)
    form = chosen.form
    found = quadratic.estimate(
        form.profile, x, y, sign=form.sign, unbiased=unbiased, invariant=invariant
    )
    return replace(found, params=chosen.params, notes=(*chosen.notes, *found.notes))


def _chosen_of_all(
    kernel: Any, bandwidth: Any, invariant: str | None, x: Samples, y: Samples
) -> Chosen:
    """The kernel, or the mean of twenty."""
    if bandwidth not in mmd_aggregated.WORDS or not kernel_named(kernel).scaled:
        return chosen_form(kernel, bandwidth, x, y)
    if invariant is not None:
        raise SettingError(f"--bandwidth {bandwidth}: cannot be combined with --invariant")
    form = _bundle(kernel, x, y)
    scales = form.profile.scales
    half = len(scales) // 2
    parts = (("gaussian", scales[:half]), ("laplace", scales[half:]))
    kernels = ", ".join(f"{half} {name} s {own[0]:.4g} to {own[-1]:.4g}" for name, own in parts)
    return Chosen(form, {"kernels": kernels})


def _held_of_all(kernel: Any, bandwidth: Any, *samples: Samples) -> Form:
    if bandwidth in mmd_aggregated.WORDS:
        return _bundle(kernel, *samples)
    return held_form(kernel, bandwidth)


def _plan(
    pool: Samples, kernel: Any, bandwidth: Any, invariant: str | None, *, unbiased: bool
) -> Pooled:
    form = _held_of_all(kernel, bandwidth, pool)
    return quadratic.plan(
        form.profile, pool, sign=form.sign, unbiased=unbiased, invariant=invariant
    )


def _contrast(
    pool: Samples,
    y: Samples,
    kernel: Any,
    bandwidth: Any,
    invariant: str | None,
    *,
    unbiased: bool,
) -> Pooled:
    form = _held_of_all(kernel, bandwidth, pool, y)
    return quadratic.contrast(
        form.profile, pool, y, sign=form.sign, unbiased=unbiased, invariant=invariant
    )
