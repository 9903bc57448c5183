"""Maximum mean discrepancy."""

from dataclasses import replace
from typing import Annotated, Any, Literal

from divmatch.estimator import Estimate, Pooled, Quantity
from divmatch.estimators import quadratic
from divmatch.estimators.bandwidth import Bandwidth, resolved
from divmatch.estimators.invariance import Invariant
from divmatch.kernels.pairwise import Profile
from divmatch.samples import Samples
from divmatch.settings import Setting

Kernel = Annotated[
    Literal["gaussian", "laplace", "imq", "mix"],
    Setting(
        "gaussian exp(-r²/(2s²)), laplace exp(-r1/s), imq (s²+r²)^(-1/2), mix of five gaussians",
        aliases={"rbf": "gaussian"},
    ),
]
MMD = Quantity(
    "mmd",
    title="mmd^2",
    unit="1",
    direction="symmetric",
    default="u",
    degenerate=True,
    examples=(
        "divmatch mmd real.npy gen.npy",
        "divmatch mmd real.npy gen.npy --kernel laplace --bandwidth 2.5",
        "divmatch mmd real.npy gen.npy --permutations 999",
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

    MMD² = E k(X, X') + E k(Y, Y') − 2 E k(X, Y). Zero if and only if the distributions agree (the
    kernels here are characteristic). The estimate leaves out each point's kernel with itself: it is
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
        (s² + r²)^(−1/2); mix, the mean of gaussians of s·{1/4, 1/2, 1, 2, 4}.
    bandwidth : float or str
        s in data units; median of the pooled pairwise distances over at most 2000 rows, or of the
        reference's.
    invariant : str
        Group under which both distributions are unchanged, such as perm:0,1: the kernel is averaged
        over it, k_G(x, y) = (1/|G|) Σ_g k(x, g·y). The same value with less noise; |G| times the
        cost. A warning says when the rows contradict it.

    Returns
    -------
    Estimate
        MMD² (not its root), with the influence of every row.

    Raises
    ------
    InconclusiveError
        When one row carries all the weight, or all rows are equal and no bandwidth was given.

    Notes
    -----
    Cost: O((n + m)² d) time, O(n + m) memory.

    Source: Gretton et al. 2012, JMLR 13, eq. (3).

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
    pool: Samples, *, kernel: Any, bandwidth: float, invariant: str | None = None
) -> Pooled:
    """One streamed product for all splits."""
    profile = Profile(kernel, bandwidth)
    return quadratic.plan(profile, pool, sign=-1.0, unbiased=True, invariant=invariant)


@mmd_v.pooled
def mmd_v_plan(
    pool: Samples, *, kernel: Any, bandwidth: float, invariant: str | None = None
) -> Pooled:
    """One streamed product for all splits."""
    profile = Profile(kernel, bandwidth)
    return quadratic.plan(profile, pool, sign=-1.0, unbiased=False, invariant=invariant)


@mmd_u.contrasted
def mmd_u_contrast(
    pool: Samples, y: Samples, *, kernel: Any, bandwidth: float, invariant: str | None = None
) -> Pooled:
    """One streamed product for all splits."""
    profile = Profile(kernel, bandwidth)
    return quadratic.contrast(profile, pool, y, sign=-1.0, unbiased=True, invariant=invariant)


@mmd_v.contrasted
def mmd_v_contrast(
    pool: Samples, y: Samples, *, kernel: Any, bandwidth: float, invariant: str | None = None
) -> Pooled:
    """One streamed product for all splits."""
    profile = Profile(kernel, bandwidth)
    return quadratic.contrast(profile, pool, y, sign=-1.0, unbiased=False, invariant=invariant)


def _estimate(
    x: Samples,
    y: Samples,
    kernel: Any,
    bandwidth: float | str,
    invariant: str | None,
    *,
    unbiased: bool,
) -> Estimate:
    scale, notes = resolved(bandwidth, x, y)
    found = quadratic.estimate(
        Profile(kernel, scale), x, y, sign=-1.0, unbiased=unbiased, invariant=invariant
    )
    return replace(found, params={"bandwidth": scale}, notes=(*notes, *found.notes))
