"""Energy distance."""

from typing import Annotated, Any

from divmatch.estimator import Estimate, Pooled, Quantity
from divmatch.estimators import quadratic
from divmatch.estimators.invariance import Invariant
from divmatch.kernels.pairwise import Profile
from divmatch.samples import Samples
from divmatch.settings import Setting

Power = Annotated[float, Setting("power p of the Euclidean distance", above=0, below=2)]

ENERGY = Quantity(
    "energy",
    title="energy distance",
    unit="data unit^{power:.12g}",
    direction="symmetric",
    default="u",
    degenerate=True,
    examples=(
        "divmatch energy real.npy gen.npy",
        "divmatch energy real.npy gen.npy --permutations 999 -f json",
        "divmatch energy real.parquet gen.parquet --columns 'num:*' --max 0.01",
    ),
)


@ENERGY.estimator("u", source="Székely & Rizzo 2013, J. Stat. Plan. Inference 143, eq. (5)")
def energy_u(
    x: Samples, y: Samples, *, power: Power = 1.0, invariant: Invariant = None
) -> Estimate:
    """Energy distance between two samples, unbiased (U-statistic).

    E = 2 E|X − Y|^p − E|X − X'|^p − E|Y − Y'|^p with p in (0, 2). Zero if and only if the two
    distributions agree; a metric's square for p = 1. The estimate leaves out each point's distance
    to itself: it is unbiased, and negative about half of the time when the distributions agree.

    Use it as the default measure of any difference between two samples of numbers: no bandwidth,
    no tuning. Columns count by their scale: standardise them (--scale) unless they share a unit.
    With one column and p = 1 it is 2 ∫ (F − G)².

    Parameters
    ----------
    x, y : Samples
        Rows of shape (n, d) and (m, d), weighted or not.
    power : float
        p, in (0, 2).
    invariant : str
        Group under which both distributions are unchanged, such as perm:0,1: the distance is
        averaged over it, (1/|G|) Σ_g |x − g·y|^p. The same value with less noise; |G| times the
        cost. A warning says when the rows contradict it.

    Returns
    -------
    Estimate
        Value in (data unit)^p, finite, with the influence of every row.

    Raises
    ------
    InconclusiveError
        When one row carries all the weight.

    Notes
    -----
    Cost: O((n + m)² d) time, O(n + m) memory; O((n + m) log(n + m)) time for d = 1, p = 1.
    Permutation tests of 10,000 rows and more compare the splits in single precision.

    Source: Székely & Rizzo 2013, J. Stat. Plan. Inference 143, eq. (5).

    Examples
    --------
    >>> import divmatch
    >>> round(divmatch.energy([0.0, 1.0, 3.0], [0.0, 2.0], power=1).value, 6)
    -1.333333
    """
    return quadratic.estimate(
        Profile("distance", power), x, y, sign=1.0, unbiased=True, invariant=invariant
    )


@ENERGY.estimator(
    "v", source="Székely & Rizzo 2013, J. Stat. Plan. Inference 143, eq. (6)", biased=1.0
)
def energy_v(
    x: Samples, y: Samples, *, power: Power = 1.0, invariant: Invariant = None
) -> Estimate:
    """Energy distance between two empirical distributions (V-statistic).

    The same formula with every pair counted: the exact energy distance of the two files seen as
    distributions. Never negative, zero if and only if the files hold the same weighted points;
    biased upward by about (E|X − X'|^p)(1/n + 1/m) when the distributions agree.

    Use it when the rows are the whole population, or when integer weights must equal repeated rows.

    Parameters
    ----------
    x, y : Samples
        Rows of shape (n, d) and (m, d), weighted or not.
    power : float
        p, in (0, 2).
    invariant : str
        As for the method u.

    Returns
    -------
    Estimate
        Value in (data unit)^p, at least 0, with the influence of every row.

    Notes
    -----
    Cost: O((n + m)² d) time, O(n + m) memory; O((n + m) log(n + m)) time for d = 1, p = 1.
    Permutation tests of 10,000 rows and more compare the splits in single precision.

    Source: Székely & Rizzo 2013, J. Stat. Plan. Inference 143, eq. (6).

    Examples
    --------
    >>> import divmatch
    >>> divmatch.energy([0.0, 1.0], [2.0, 3.0], method="v").value
    3.0
    """
    return quadratic.estimate(
        Profile("distance", power), x, y, sign=1.0, unbiased=False, invariant=invariant
    )


@energy_u.summarised
def energy_u_summary(
    x: Samples, y: Samples, *, power: float, invariant: str | None = None
) -> Estimate | None:
    """Sorted samples for one column."""
    profile = Profile("distance", power)
    return quadratic.on_the_line(profile, x, y, unbiased=True, invariant=invariant)


@energy_v.summarised
def energy_v_summary(
    x: Samples, y: Samples, *, power: float, invariant: str | None = None
) -> Estimate | None:
    """Sorted samples for one column."""
    profile = Profile("distance", power)
    return quadratic.on_the_line(profile, x, y, unbiased=False, invariant=invariant)


@energy_u.pooled
def energy_u_plan(pool: Samples, *, power: float, invariant: str | None = None, **_: Any) -> Pooled:
    """One streamed product for all splits."""
    profile = Profile("distance", power)
    return quadratic.plan(profile, pool, sign=1.0, unbiased=True, invariant=invariant)


@energy_v.pooled
def energy_v_plan(pool: Samples, *, power: float, invariant: str | None = None, **_: Any) -> Pooled:
    """One streamed product for all splits."""
    profile = Profile("distance", power)
    return quadratic.plan(profile, pool, sign=1.0, unbiased=False, invariant=invariant)


@energy_u.contrasted
def energy_u_contrast(
    pool: Samples, y: Samples, *, power: float, invariant: str | None = None
) -> Pooled:
    """One streamed product for all splits."""
    profile = Profile("distance", power)
    return quadratic.contrast(profile, pool, y, sign=1.0, unbiased=True, invariant=invariant)


@energy_v.contrasted
def energy_v_contrast(
    pool: Samples, y: Samples, *, power: float, invariant: str | None = None
) -> Pooled:
    """One streamed product for all splits."""
    profile = Profile("distance", power)
    return quadratic.contrast(profile, pool, y, sign=1.0, unbiased=False, invariant=invariant)
