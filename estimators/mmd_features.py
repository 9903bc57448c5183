"""Maximum mean discrepancy from features of single rows: time linear in their number."""

import math
from collections.abc import Callable
from copy import deepcopy
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import SettingError
from divmatch.estimator import Estimate, Labels, Pooled
from divmatch.estimators import quadratic
from divmatch.estimators.mmd import MMD, Bandwidth, chosen_form, held_form
from divmatch.estimators.row_order import shuffled
from divmatch.kernel_names import Kernel, amplitude, frequencies, kernel_named
from divmatch.kernels.features import Features, Fourier, Landmarks
from divmatch.kernels.slicings import typical
from divmatch.samples import Samples
from divmatch.settings import Setting

Array = NDArray[np.float64]

Count = Annotated[
    int, Setting("random features, half of them cosines and half sines", least=4, most=1_000_000)
]
LandmarkCount = Annotated[
    int, Setting("rows on whose kernels the others are projected", least=1, most=20_000)
]


@MMD.estimator("rff", source="Zhao & Meng 2015, Neural Comput. 27; Rahimi & Recht 2007, NeurIPS 20")
def mmd_rff(
    x: Samples,
    y: Samples,
    *,
    kernel: Kernel = "gaussian",
    bandwidth: Bandwidth = "median",
    features: Count = 2000,
    rng: "np.random.Generator",
) -> Estimate:
    """Squared maximum mean discrepancy from random Fourier features, unbiased.

    The mean over random frequencies w, drawn from the kernel's spectral measure, of
    |φ(w) − ψ(w)|² for the characteristic functions φ, ψ of the samples, without each row's product
    with itself. Unbiased over frequencies and rows: the Monte Carlo error, from the spread over
    frequencies, is part of the standard error.

    Use it for many rows: its cost is linear in them. With few features a permutation test sees only
    what those frequencies see, and stays valid.

    Parameters
    ----------
    x, y : Samples
        Rows of shape (n, d) and (m, d), weighted or not.
    kernel : str
        As for the method u, but riesz and poly, which have no spectral measure.
    bandwidth : float or str
        As for the method u; the methods u and v alone take agg and fuse.
    features : int
        Cosines and sines together, at least 4; an odd number is rounded up.
    rng : numpy.random.Generator
        Its state decides the frequencies and is left as it was: a test takes the same ones.

    Returns
    -------
    Estimate
        MMD² (not its root, not halved), with the influence of every row and its Monte Carlo error.

    Raises
    ------
    SettingError
        For a kernel without a spectral measure.
    InconclusiveError
        When one row carries all the weight.

    Notes
    -----
    Cost: O((n + m) D d) time for D features, O(n + m + D d) memory.

    Source: Rahimi & Recht 2007 (NeurIPS 20); Zhao & Meng 2015 (Neural Computation 27).

    Examples
    --------
    >>> import divmatch
    >>> round(divmatch.mmd([0.0, 0.0], [9e3, 9e3], method="rff", bandwidth=1).value)
    2
    """
    chosen = chosen_form(_spectral(kernel), bandwidth, x, y)
    scale = chosen.params["bandwidth"]
    map_of = _fourier(kernel, scale, features, x.points, rng)
    (a, pairs_x, rest_x), (b, pairs_y, rest_y) = (
        (s.masses()[:, None], *quadratic.pairs_of(s)) for s in (x, y)
    )
    of_x, of_y = map_of.sums(x.points, a)[:, 0], map_of.sums(y.points, b)[:, 0]
    both = np.column_stack([of_x, of_y])
    to_x, to_y = map_of.products(x.points, both), map_of.products(y.points, both)
    height = map_of.height
    powers = [
        _by_frequency(left * right) for left, right in ((of_x, of_x), (of_y, of_y), (of_x, of_y))
    ]
    squares_x, squares_y = 1.0 - pairs_x, 1.0 - pairs_y
    each = (
        (powers[0] - height * squares_x) / pairs_x
        + (powers[1] - height * squares_y) / pairs_y
        - 2.0 * powers[2]
    )
    value = float(each.mean())
    own_x = (to_x[:, 0] - height * a[:, 0]) / rest_x
    own_y = (to_y[:, 1] - height * b[:, 0]) / rest_y
    return Estimate(
        value,
        terms_x=2.0 * (own_x - to_x[:, 1]),
        terms_y=2.0 * (own_y - to_y[:, 0]),
        error=float(each.std(ddof=1)) / math.sqrt(len(each)),
        params=chosen.params,
        notes=(*chosen.notes, *quadratic.negative(value)),
        exact=False,
    )


def _by_frequency(products: Array) -> Array:
    """The estimate from every frequency alone, from the products of its cosine and of its sine."""
    count = len(products) // 2
    made: Array = count * (products[:count] + products[count:])
    return made


def _spectral(kernel: Any) -> Any:
    name = kernel_named(kernel)
    if not name.scaled:
        raise SettingError(
            f"--kernel {kernel}: has no random features; choose --method u, v, linear or block"
        )
    return name


def _fourier(
    kernel: Any, scale: float, features: int, points: Array, rng: "np.random.Generator"
) -> Fourier:
    name, count = kernel_named(kernel), (features + 1) // 2
    drawn = frequencies(name, scale, points.shape[1], count, deepcopy(rng))
    return Fourier(drawn, typical(points), amplitude(name, scale))


@MMD.estimator("nystroem", source="Chatalic et al. 2022, ICML (arXiv 2201.13055)")
def mmd_nystroem(
    x: Samples,
    y: Samples,
    *,
    kernel: Kernel = "gaussian",
    bandwidth: Bandwidth = "median",
    landmarks: LandmarkCount = 200,
    rng: "np.random.Generator",
) -> Estimate:
    """Squared maximum mean discrepancy of the projections on the kernels of random rows (Nyström).

    MMD² of the kernel k_z(x)ᵀ K_zz⁻¹ k_z(y), k's best approximation from the landmarks z, which are
    rows drawn at random from both samples, without each row's kernel with itself. What the
    landmarks do not span is missing: the value is too small by that much. The record says, as
    residual, the mean over rows of k(x, x) less its approximation.

    Use it for many rows and a smooth kernel, where some hundred landmarks leave almost no residual.

    Parameters
    ----------
    x, y : Samples
        Rows of shape (n, d) and (m, d), weighted or not.
    kernel : str
        As for the method u, but riesz, which is not positive definite.
    bandwidth : float or str
        As for the method u; the methods u and v alone take agg and fuse.
    landmarks : int
        Number of landmarks, all rows if there are fewer.
    rng : numpy.random.Generator
        Its state decides the landmarks, whatever the order of the rows; it is left as it was.

    Returns
    -------
    Estimate
        MMD² (not its root, not halved), with the influence of every row.

    Raises
    ------
    SettingError
        For riesz.
    InconclusiveError
        When one row carries all the weight.

    Notes
    -----
    Cost: O((n + m) L (d + L) + L³) time for L landmarks, O(n + m + L²) memory.

    Source: Chatalic, Schreuder, Rosasco & Rudi 2022 (ICML, arXiv 2201.13055).

    Examples
    --------
    >>> import divmatch
    >>> round(divmatch.mmd([0.0, 0.0], [9e3, 9e3], method="nystroem", bandwidth=1).value, 9)
    2.0
    """
    chosen = chosen_form(_definite(kernel), bandwidth, x, y)
    pool = np.concatenate([x.points, y.points])
    masses = np.concatenate([x.masses() * x.n, y.masses() * y.n])
    map_of = _landmarks(chosen.form.profile, Samples(pool, masses / masses.sum()), landmarks, rng)
    (a, own_x), (b, own_y) = ((s.masses(), map_of.own(s.points)) for s in (x, y))
    (pairs_x, rest_x), (pairs_y, rest_y) = (quadratic.pairs_of(s) for s in (x, y))
    both = np.column_stack([map_of.sums(s.points, w[:, None])[:, 0] for s, w in ((x, a), (y, b))])
    to_x, to_y = map_of.products(x.points, both), map_of.products(y.points, both)
    others_x, others_y = to_x[:, 0] - a * own_x, to_y[:, 1] - b * own_y
    cross = float(both[:, 0] @ both[:, 1])
    value = float(a @ others_x) / pairs_x + float(b @ others_y) / pairs_y - 2.0 * cross
    lost = chosen.form.profile.own(pool) - np.concatenate([own_x, own_y])
    residual = float(masses @ lost / masses.sum())
    return Estimate(
        value,
        terms_x=2.0 * (others_x / rest_x - to_x[:, 1]),
        terms_y=2.0 * (others_y / rest_y - to_y[:, 0]),
        params={**chosen.params, "residual": residual},
        notes=(*chosen.notes, *quadratic.negative(value)),
        exact=False,
    )


def _definite(kernel: Any) -> Any:
    name = kernel_named(kernel)
    if name.kind == "riesz":
        raise SettingError(
            f"--kernel {kernel}: is not positive definite; choose --method u, v, linear or block"
        )
    return name


def _landmarks(profile: Any, pool: Samples, count: int, rng: "np.random.Generator") -> Landmarks:
    """Distinct rows of the pool, whatever their order and labels."""
    rows = np.unique(pool.points[shuffled(pool, deepcopy(rng))[:count]], axis=0)
    return Landmarks(profile, rows)


# --------------------------------------------------------------------------------- permutations


@mmd_rff.pooled
def mmd_rff_plan(
    pool: Samples, *, kernel: Any, bandwidth: Any, features: int, rng: "np.random.Generator"
) -> Pooled:
    """One pass over the features for all splits."""
    return _plan(pool, _fourier(kernel, bandwidth, features, pool.points, rng))


@mmd_nystroem.pooled
def mmd_nystroem_plan(
    pool: Samples, *, kernel: Any, bandwidth: Any, landmarks: int, rng: "np.random.Generator"
) -> Pooled:
    """One pass over the features for all splits."""
    return _plan(pool, _landmarks(held_form(kernel, bandwidth).profile, pool, landmarks, rng))


def _plan(pool: Samples, map_of: Features) -> Pooled:
    weights = pool.masses() * pool.n
    means = quadratic.means_of_splits(
        _forms(map_of, pool, weights), weights, map_of.own(pool.points)
    )
    return quadratic.plan_of(means, pool.n, -1.0)


def _forms(
    map_of: Features, pool: Samples, weights: Array
) -> Callable[[Labels], tuple[Array, Array, float]]:
    whole = map_of.sums(pool.points, weights[:, None])

    def forms(labels: Labels) -> tuple[Array, Array, float]:
        sums = map_of.sums(pool.points, labels * weights[:, None])
        return (sums * sums).sum(axis=0), (sums * whole).sum(axis=0), float((whole**2).sum())

    return forms
