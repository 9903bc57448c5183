"""Importance weights from log-densities, with what says whether they can be trusted."""

import math
from typing import Annotated

import numpy as np

from divmatch.errors import InconclusiveError, SampleError, SettingError, at_row
from divmatch.matcher import Array, Figure, Fit
from divmatch.record import Note
from divmatch.samples import Samples
from divmatch.settings import Setting
from divmatch.transport.reweighting import WEIGHTS
from divmatch.transport.robust_weights import column_of

LogP = Annotated[
    str | None,
    Setting("column with ln p, known up to a constant, of every row", shown="COL", parse=str),
]
LogQ = Annotated[
    str | None,
    Setting("column with ln q of the density that rows were drawn from", shown="COL", parse=str),
]
Smooth = Annotated[bool, Setting("replace the largest weights by quantiles of a Pareto tail")]
FEWEST = 5  # rows of a tail
RELIABLE = 0.7  # k-hat above which no number of rows helps


@WEIGHTS.method(
    "is",
    source="Vehtari, Simpson, Gelman, Yao & Gabry 2024, JMLR 25(72); arXiv 2311.02516",
    candidate="never",
)
def importance(x: Samples, *, log_p: LogP = None, log_q: LogQ = None, smooth: Smooth = True) -> Fit:
    """Weights p/q of rows that were drawn from q, from columns with both log-densities.

    wᵢ ∝ qᵢ p(xᵢ)/q(xᵢ). The largest ones follow a Pareto tail of shape k: they are replaced by its
    quantiles (--no-smooth: not). k-hat above .7 warns: the mean of the weights converges too slowly for
    any number of rows. `log_evidence` = ln mean p/q is low by about χ²/(2n); its standard error is about
    √(χ²/n), with χ² = E_q (p/q)²/Z² − 1 = n/ESS − 1; `log_upper` = ln mean (p/q)² / 2 is never below it: what
    variational inference with the forward χ² minimises. All are of the raw weights.

    Use it to turn draws from a proposal into draws from a target, and to learn whether the proposal was
    wide enough: where q has lighter tails than p, χ² is infinite whatever the rows say.

    Parameters
    ----------
    x : Samples
        Rows drawn from q, shape (n, d), weighted or not, with both columns among them.
    log_p : str
        Name or position of the column with ln p, up to a constant.
    log_q : str
        Name or position of the column with ln q, normalised.
    smooth : bool
        Replace the largest weights.

    Returns
    -------
    Fit
        Weights, sum 1; `pareto_k`, `log_evidence` with its `log_evidence_se` and `log_evidence_bias`,
        `log_upper`, `chi2`.

    Raises
    ------
    SettingError
        When a column is not named.
    InconclusiveError
        When no row has a ratio.

    Notes
    -----
    Cost: O(n log n).

    Source: Vehtari, Simpson, Gelman, Yao & Gabry 2024, Pareto smoothed importance sampling, JMLR 25(72),
    algorithm 1; Zhang & Stephens 2009, Technometrics 51; arXiv 2311.02516 (forward χ²).

    Examples
    --------
    >>> import divmatch, numpy as np
    >>> rows = np.log([[0.2, 0.4], [0.4, 0.4], [0.4, 0.2]])  # columns ln p and ln q
    >>> found = divmatch.match.weights(rows, method="is", log_p="0", log_q="1")
    >>> found.weights.round(3).tolist()
    [0.143, 0.286, 0.571]
    """
    p, q = column_of(x, log_p, "--log-p"), column_of(x, log_q, "--log-q")
    if log_p is None or log_q is None:
        raise SettingError("--method is: name both columns, --log-p COL and --log-q COL")
    base = x.masses()
    ratio = p - q
    bad = np.flatnonzero(np.isnan(ratio) | (ratio == np.inf))
    if len(bad):
        raise SampleError(f"{x.name}: ln p - ln q is {ratio[bad[0]]} {at_row(int(bad[0]))}")
    carrying = base > 0
    top = float(ratio[carrying].max())
    if not math.isfinite(top):
        raise InconclusiveError(f"{x.name}: p is 0 at every row; no weights")
    raw = np.where(carrying, np.exp(np.minimum(ratio - top, 0.0)), 0.0)
    mean = float(base @ raw)
    chi2 = max(float(base @ raw**2) / mean**2 - 1.0, 0.0)
    n = 1.0 / float(base @ base)
    shape, smoothed = pareto(raw, base)
    weights = base * (smoothed if smooth else raw)
    weights /= weights.sum()
    after = float(np.sum(weights[carrying] ** 2 / base[carrying])) - 1.0
    return Fit(
        weights=weights,
        facts={
            "pareto_k": shape,
            "log_evidence": top + math.log(mean),
            "log_evidence_se": math.sqrt(chi2 / n),
            "log_evidence_bias": -0.5 * chi2 / n,
            "log_upper": top + 0.5 * math.log(float(base @ raw**2)),
            "chi2": chi2,
        },
        notes=_doubt(x, shape),
        figure=Figure("chi2", chi2, max(after, 0.0)),
    )


def _doubt(x: Samples, shape: float | None) -> tuple[Note, ...]:
    if shape is None or shape <= RELIABLE:
        return ()
    return (
        Note(
            "W73",
            f"{x.name}: Pareto k-hat of the weights is {shape:.2f}, above {RELIABLE:g}: means do not "
            "settle under them, whatever the number of rows; take a wider proposal",
        ),
    )


def pareto(raw: Array, base: Array) -> tuple[float | None, Array]:
    """k-hat of the tail of the weights, None if there is none; the weights with the tail smoothed.

    The tail are the largest min(n/5, 3 √n) of n rows that carry weight.
    """
    rows = np.flatnonzero(base > 0)
    rows = rows[np.argsort(raw[rows], kind="stable")]
    n = len(rows)
    size = int(min(n // 5, math.ceil(3.0 * math.sqrt(n))))
    if size < FEWEST:
        return None, raw
    tail, cut = rows[-size:], float(raw[rows[-size - 1]])
    over = raw[tail] - cut
    if over[-1] <= 0 or over[0] == over[-1]:
        return None, raw
    sigma, k = generalised_pareto(over[over > 0])
    if not math.isfinite(k):
        return None, raw
    made = raw.copy()
    share = (np.arange(size) + 0.5) / size
    made[tail] = np.minimum(cut + _quantile(share, sigma, k), raw.max())
    return k, made


def _quantile(share: Array, sigma: float, k: float) -> Array:
    if abs(k) < 1e-12:
        return -sigma * np.log1p(-share)
    made: Array = sigma / k * np.expm1(-k * np.log1p(-share))
    return made


def generalised_pareto(over: Array) -> tuple[float, float]:
    """(σ, k) of exceedances in rising order: Zhang & Stephens' mean over a grid, k drawn to .5 by 10 rows."""
    n = len(over)
    grid = 30 + int(math.sqrt(n))
    quarter = over[max(int(n / 4 + 0.5) - 1, 0)]
    theta = 1.0 / over[-1] + (1.0 - np.sqrt(grid / (np.arange(1, grid + 1) - 0.5))) / (
        3.0 * quarter
    )
    k = np.log1p(-theta[:, None] * over[None, :]).mean(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        likelihood = n * (np.log(-theta / k) - k - 1.0)
    likelihood = np.where(np.isfinite(likelihood), likelihood, -np.inf)
    weights = np.exp(likelihood - likelihood.max())
    weights /= weights.sum()
    mean = float(theta @ weights)
    shape = float(np.log1p(-mean * over).mean())
    sigma = -shape / mean
    return sigma, (n * shape + 10 * 0.5) / (n + 10)
