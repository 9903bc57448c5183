"""Kernel Stein discrepancy: one sample against a density whose score is known."""

import math
from typing import Annotated, Any, Literal

import numpy as np

from divmatch import targets
from divmatch.bandwidth import resolved_alone
from divmatch.errors import SettingError
from divmatch.estimator import Array, Estimate, Pooled, Quantity
from divmatch.estimators import quadratic
from divmatch.kernels.forms import quadratic_forms
from divmatch.kernels.pairwise import Profile, matched, self_sums
from divmatch.record import Note
from divmatch.samples import Samples
from divmatch.settings import Setting

Scores = Annotated[
    str | None,
    Setting(
        "scores of the target, the gradient of ln p at every row: a file of the sample's shape",
        per_row=True,
        shown="FILE",
    ),
]
Target = Annotated[
    str | None,
    Setting(
        "the target itself; MEAN and COV are numbers (isotropic) or .npy files, FILE is an .npz with "
        "weights, means and covariances; also student, kde, linear, logistic",
        parse=targets.everywhere_named,
        shown="gaussian:MEAN,COV|mixture:FILE|...",
    ),
]
Kernel = Annotated[
    Literal["imq", "gaussian"],
    Setting("imq (s²+r²)^(-1/2), gaussian exp(-r²/(2s²))", aliases={"rbf": "gaussian"}),
]
Bandwidth = Annotated[
    float | Literal["median"],
    Setting("s: a number, or the median distance of at most 2000 rows", above=0, unit="data unit"),
]
ROWS_TO_JUDGE = 20  # rows from which scores are judged
SIGNIFICANT = 3.0  # standard errors


KSD = Quantity(
    "ksd",
    title="ksd^2",
    unit=lambda settings: f"data unit^-{2 if settings['kernel'] == 'gaussian' else 3}",
    direction="P",
    default="u",
    degenerate=True,
    examples=(
        "divmatch ksd real.npy --target gaussian:0,1",
        "divmatch ksd real.npy --scores scores.npy --permutations 999",
        "divmatch ksd real.npy --target mixture:mixture.npz --kernel gaussian --bandwidth 1.5",
    ),
)


@KSD.estimator("u", source="Liu, Lee & Jordan 2016, ICML, arXiv 1602.03253, eq. (14)")
def ksd_u(
    sample: Samples,
    *,
    scores: Scores = None,
    target: Target = None,
    kernel: Kernel = "imq",
    bandwidth: Bandwidth = "median",
) -> Estimate:
    """Squared kernel Stein discrepancy of a sample from a known density, unbiased.

    KSD² = E h(X, X') with the Stein kernel h(x, y) = s(x)·s(y) k + s(x)·∇_y k + s(y)·∇_x k +
    tr ∇_x ∇_y k and the score s = ∇ ln p of the target density p, whose normalisation is not needed.
    Zero if and only if the rows come from p, for a smooth p on the whole space. The estimate leaves
    out each row's kernel with itself: it is unbiased, and negative about half of the time when the
    rows come from p.

    Use it where the density is known up to a constant and no sample of it is at hand: output of a
    sampler, a fitted model. The imq kernel also sees samples that do not converge in high dimension,
    which the gaussian one misses (from about 5 columns on). Neither sees wrong proportions of modes
    that lie far apart.

    Parameters
    ----------
    sample : Samples
        Rows of shape (n, d), weighted or not.
    scores : array or str
        ∇ ln p at every row, (n, d). Columns are never scaled, for scores are in their units.
    target : str
        In place of scores: gaussian:MEAN,COV with numbers (isotropic) or .npy files, a mean of
        shape (d,) and variances (d,) or a covariance (d, d); mixture:FILE, an .npz with weights (K,),
        means (K, d) and covariances (K,), (K, d) or (K, d, d), such as `match mixture` writes (FILE.npz
        alone means the same); student:DF,MEAN,SHAPE; kde:FILE.npy,S, a density of Gaussian bumps of
        width S on rows; linear:FILE.npz with x, y, noise and prior, or logistic:FILE.npz with x, y and
        prior: posteriors of a regression's coefficients under a normal prior, noise and prior being
        variances.
    kernel : str
        imq (s² + r²)^(−1/2); gaussian exp(−r²/(2s²)).
    bandwidth : float or str
        s in data units; median of the pairwise distances over at most 2000 rows.

    Returns
    -------
    Estimate
        KSD² (not its root) in (data unit)^−2 for gaussian and (data unit)^−3 for imq, with the
        influence of every row.

    Raises
    ------
    SettingError
        When neither scores nor target are given, or both.
    InconclusiveError
        When one row carries all the weight, or all rows are equal and no bandwidth was given.

    Notes
    -----
    The p-value comes from a wild bootstrap: a random sign for every row, Σ eᵢ eⱼ h(xᵢ, xⱼ).

    Cost: O(n² d) time, O(n d) memory; with B signs O(n² (d + B)).

    Source: Liu, Lee & Jordan 2016, ICML, arXiv 1602.03253, eq. (14); imq: Gorham & Mackey 2017,
    ICML, arXiv 1703.01717; wild bootstrap: Chwialkowski, Strathmann & Gretton 2016, arXiv 1602.02964.

    Examples
    --------
    >>> import divmatch
    >>> round(divmatch.ksd([0.0, 2.0], target="gaussian:0,1", bandwidth=2).value, 4)
    -0.1989
    """
    return _estimate(sample, scores, target, kernel, bandwidth, unbiased=True)


@KSD.estimator("v", source="Liu, Lee & Jordan 2016, ICML, arXiv 1602.03253, eq. (15)")
def ksd_v(
    sample: Samples,
    *,
    scores: Scores = None,
    target: Target = None,
    kernel: Kernel = "imq",
    bandwidth: Bandwidth = "median",
) -> Estimate:
    """Squared kernel Stein discrepancy of an empirical distribution (V-statistic).

    The same formula with every pair counted: never negative; biased upward by about E h(X, X)/n.

    Use it to compare weighted or thinned samples, where it is the discrepancy of the rows as they
    are, or when integer weights must equal repeated rows.

    Parameters
    ----------
    sample : Samples
        Rows of shape (n, d), weighted or not.
    scores : array or str
        As for the method u.
    target : str
        As for the method u.
    kernel : str
        As for the method u.
    bandwidth : float or str
        As for the method u.

    Returns
    -------
    Estimate
        KSD², at least 0, with the influence of every row.

    Raises
    ------
    SettingError
        When neither scores nor target are given, or both.

    Notes
    -----
    Cost: O(n² d) time, O(n d) memory; with B signs O(n² (d + B)).

    Source: Liu, Lee & Jordan 2016, ICML, arXiv 1602.03253, eq. (15).

    Examples
    --------
    >>> import divmatch
    >>> divmatch.ksd([0.0, 0.0], target="gaussian:0,1", method="v", bandwidth=1).value
    1.0
    """
    return _estimate(sample, scores, target, kernel, bandwidth, unbiased=False)


@ksd_u.pooled
def ksd_u_plan(pool: Samples, **settings: Any) -> Pooled:
    """One streamed product for all signs."""
    return _plan(pool, unbiased=True, **settings)


@ksd_v.pooled
def ksd_v_plan(pool: Samples, **settings: Any) -> Pooled:
    """One streamed product for all signs."""
    return _plan(pool, unbiased=False, **settings)


def _estimate(
    sample: Samples,
    scores: str | None,
    target: str | None,
    kernel: str,
    bandwidth: float | str,
    *,
    unbiased: bool,
) -> Estimate:
    """Σ wᵢ wⱼ h(xᵢ, xⱼ), over pairs of different rows if unbiased; influence 2 E h(xᵢ, X')."""
    rows = _rows(sample, scores, target)
    scale, notes = resolved_alone(bandwidth, sample)
    profile = _profile(kernel, scale)
    weights = sample.masses()
    sums = self_sums(profile, rows, weights)
    if unbiased:
        pairs, rest = quadratic.pairs_of(sample)
        others = sums - weights * _diagonal(profile, rows)
        value, means = float(weights @ others) / pairs, others / rest
    else:
        value, means = float(weights @ sums), sums
    if scores is not None:
        notes = (*notes, *_doubtful(sample))
    return Estimate(
        value,
        terms_x=2.0 * means,
        params={"bandwidth": scale},
        notes=(*notes, *quadratic.negative(value, "discrepancy")) if unbiased else notes,
    )


def _plan(
    pool: Samples,
    *,
    unbiased: bool,
    scores: str | None,
    target: str | None,
    kernel: str,
    bandwidth: float,
) -> Pooled:
    rows = _rows(pool, scores, target)
    profile, weights = _profile(kernel, bandwidth), pool.masses()
    diagonal = _diagonal(profile, rows)
    own = float(weights**2 @ diagonal)
    pairs = quadratic.pairs_of(pool)[0] if unbiased else 1.0
    size = float(weights @ diagonal)  # |h(x, y)| is at most the mean of h(x, x) and h(y, y)

    def statistic(signs: Array) -> Array:
        forms, _, _ = quadratic_forms(profile, rows, signs, weights)
        return (forms - own) / pairs if unbiased else forms

    return Pooled(statistic, lambda: quadratic.rounding(pool.n, size), draws="signs")


def _profile(kernel: str, scale: float) -> Profile:
    return Profile("stein-gaussian" if kernel == "gaussian" else "stein-imq", scale)


def _rows(sample: Samples, scores: str | None, target: str | None) -> Array:
    """Every point and the score there, side by side."""
    if (scores is None) == (target is None):
        which = "neither is" if scores is None else "both are"
        raise SettingError(f"ksd: give --scores FILE or --target NAME, {which} given")
    found = (
        sample.beside["scores"]
        if target is None
        else sample.once(("scores", target), lambda: targets.scores(target, sample.points))
    )
    return np.hstack([sample.points, found])


def _diagonal(profile: Profile, rows: Array) -> Array:
    """h(x, x), with the digits of the tiles."""
    return matched(profile, rows, rows)


def _doubtful(sample: Samples) -> tuple[Note, ...]:
    """What says that scores are none: E s = 0 and E s·(X − E X) = −d hold for rows of the target.

    Rows need not be of the target. But scores that point away from the rows' mean are of no density
    with one mode, and scores of one sign are of none that ends on the rows.
    """
    scores, weights = sample.beside["scores"], sample.masses()
    if sample.effective_size() < ROWS_TO_JUDGE:
        return ()
    centred = sample.points - weights @ sample.points
    lean = np.einsum("ij,ij->i", scores, centred)
    mean = float(weights @ lean)
    error = math.sqrt(float(weights**2 @ (lean - mean) ** 2))
    if mean > SIGNIFICANT * error:
        return (
            Note(
                "W32",
                "the scores point away from the rows' mean: they may be of the wrong sign "
                "(-grad ln p), or of another file",
            ),
        )
    counted = weights > 0
    one_sign = [
        (scores[counted, c] > 0).all() or (scores[counted, c] < 0).all() for c in range(sample.d)
    ]
    if any(one_sign):
        column = one_sign.index(True)
        return (
            Note(
                "W32",
                f"all scores of column {column} are of one sign, but a target's have the mean zero: "
                "they may be log densities, or the rows lie off the target",
            ),
        )
    return ()
