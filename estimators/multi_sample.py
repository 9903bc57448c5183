"""KL from a critic that picks the one row of P out of many rows of Q."""

from copy import deepcopy
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import InconclusiveError, counted
from divmatch.estimator import Estimate
from divmatch.estimators.critics import Critic, acted, critic_scores
from divmatch.estimators.divergences import KL
from divmatch.estimators.folds import Folds, folds_of_rows
from divmatch.estimators.invariance import Invariant
from divmatch.record import Note
from divmatch.samples import Samples
from divmatch.settings import Setting

Array = NDArray[np.float64]

Negatives = Annotated[
    int | Literal["all"],
    Setting("rows of Q that each row of P is compared with; all is those of its fold", least=1),
]
BLOCK = 1 << 20  # pairs of a row of P and a set of negatives evaluated at once


@KL.estimator(
    "infonce",
    source="van den Oord, Li & Vinyals 2018 (arXiv 1807.03748); Poole et al. 2019 (arXiv 1905.06922)",
)
def kl_infonce(
    x: Samples,
    y: Samples,
    *,
    critic: Critic = "linear",
    folds: Folds = 5,
    negatives: Negatives = "all",
    invariant: Invariant = None,
    rng: "np.random.Generator",
) -> Estimate:
    """KL(P || Q) by the multi-sample bound: one row of P among N rows of Q (InfoNCE).

    Σᵢ aᵢ [T(xᵢ) − ln((exp T(xᵢ) + Σⱼ exp T(yⱼ)) / (N + 1))], with N negatives yⱼ of the same fold,
    all scored by a critic that was fitted to the other folds. Its mean over samples is never above
    KL, and no value is above ln(N + 1): a warning says when it comes within 1 of that.

    Use it where a lower bound with little noise is wanted: unlike dv and nwj it needs no variance
    of the ratio, but sees no KL beyond ln(N + 1). A constant in T does not matter. For the mutual
    information of pairs, P is their joint rows and Q rows of independent columns.

    Parameters
    ----------
    x, y : Samples
        Rows of P, shape (n, d), and of Q, shape (m, d), weighted or not.
    critic : str
        linear, or mlp: a network with two hidden layers of 64 units, slower.
    folds : int
        K; every fold is scored by a critic that was fitted to the other K − 1.
    negatives : int or "all"
        N; all takes the rows of Q in a fold, m / K, or what their weights are worth. Fewer give a
        smaller value with less noise, the mean over as many sets as the fold has rows for.
    invariant : str
        As for the method classifier.
    rng : numpy.random.Generator
        Its state decides the folds, the random features and the sets; it is left as it was.

    Returns
    -------
    Estimate
        KL in nats, any sign up to ln(N + 1), with the influence of every row.

    Raises
    ------
    InconclusiveError
        With fewer than K rows in a sample, or fewer than N rows of Q in a fold.

    Notes
    -----
    Cost: as the method classifier, and n m / (K² N) exponentials.

    Source: van den Oord, Li & Vinyals 2018 (arXiv 1807.03748); Poole, Ozair, van den Oord, Alemi &
    Tucker 2019 (arXiv 1905.06922), equation 10.

    Examples
    --------
    >>> import divmatch, numpy as np
    >>> x = np.random.default_rng(0).normal(1.0, 1.0, 1000)
    >>> y = np.random.default_rng(1).normal(0.0, 1.0, 1000)
    >>> round(divmatch.kl(x, y, method="infonce").value, 1)
    0.5
    """
    scores = critic_scores(x, y, critic, folds, rng, invariant)
    u, v, group = acted(x, y, critic, invariant)
    of_x, of_y = folds_of_rows(u, v, folds, deepcopy(rng), group)
    a, b = x.masses(), y.masses()
    terms_x, terms_y = np.zeros(x.n), np.zeros(y.n)
    ceiling = 0.0
    for k, own in enumerate(deepcopy(rng).spawn(folds)):
        rows, others = np.flatnonzero(of_x == k), np.flatnonzero(of_y == k)
        sets = _sets(y.name, others, negatives, own)
        against = Sets.of(scores.y, b, sets)
        terms_x[rows], slopes, highest = _contrasted(scores.x[rows], a[rows], against)
        np.add.at(terms_y, sets, slopes)
        ceiling += float(a[rows].sum()) * highest
    value = float(a @ terms_x)
    notes = (*scores.notes(), *_saturated(value, ceiling))
    return Estimate(value, terms_x, terms_y, params={"ceiling": ceiling}, notes=notes)


def _sets(
    name: str, rows: NDArray[np.intp], negatives: int | str, rng: "np.random.Generator"
) -> NDArray[np.intp]:
    """The rows of a fold in sets of ``negatives``, one row of the array each.

    The last set takes its missing rows from the first one.
    """
    size = len(rows) if isinstance(negatives, str) else negatives
    if size > len(rows):
        raise InconclusiveError(
            f"{name}: a fold has {counted(len(rows), 'row')} that carry weight, fewer than --negatives "
            f"{size}; give more rows or fewer negatives"
        )
    return np.resize(rng.permutation(rows), (-(-len(rows) // size), size))


@dataclass(frozen=True, eq=False)
class Sets:
    """Sets of negatives, one row of every (S, N) array each.

    ``count`` (S,) is what a set's weights are worth in equal rows, ``mass`` its share of Q;
    ``weight`` and ``ratio`` (S, N) sum and average to 1 in each set, and exp(``log_mean``) is what
    the ratios were divided by.
    """

    count: Array
    mass: Array
    weight: Array
    ratio: Array
    log_mean: Array

    @classmethod
    def of(cls, scores: Array, masses: Array, sets: NDArray[np.intp]) -> "Sets":
        """The sets of the rows numbered in ``sets``."""
        mass = masses[sets]
        weight = mass / mass.sum(axis=1, keepdims=True)
        scores = scores[sets]
        largest = scores.max(axis=1, keepdims=True)
        ratio = np.exp(scores - largest)
        mean = np.einsum("sj,sj->s", weight, ratio)
        return cls(
            count=1.0 / np.einsum("sj,sj->s", weight, weight),
            mass=mass.sum(axis=1),
            weight=weight,
            ratio=ratio / mean[:, None],
            log_mean=np.log(mean) + largest[:, 0],
        )


def _contrasted(scores: Array, masses: Array, sets: Sets) -> tuple[Array, Array, float]:
    """Terms of rows of P against sets, averaged by the mass of the sets; slopes; the largest term.

    ``slopes`` (S, N) are the derivatives of the weighted sum of the terms by the masses of the
    negatives.
    """
    share = sets.mass / sets.mass.sum()
    total = np.log(sets.count) + sets.log_mean
    highest = np.log1p(sets.count)
    terms, of_set, pulled = np.zeros(len(scores)), np.empty(len(share)), np.empty(len(share))
    step = max(1, BLOCK // len(scores))
    for start in range(0, len(share), step):
        at = slice(start, start + step)
        odds = total[at, None] - scores
        each = highest[at, None] - np.logaddexp(0.0, odds)
        terms += share[at] @ each
        of_set[at] = each @ masses
        pulled[at] = (0.5 + 0.5 * np.tanh(0.5 * odds)) @ masses
    level = of_set - share @ of_set
    # a heavier row of weight w makes a set worth fewer rows
    worth = masses.sum() / (sets.count + 1.0) - pulled / sets.count
    fewer = 2.0 * sets.count[:, None] * (1.0 - sets.count[:, None] * sets.weight)
    slopes = (worth[:, None] * fewer - pulled[:, None] * (sets.ratio - 1.0)) / sets.mass[:, None]
    slopes = share[:, None] * slopes + level[:, None] / sets.mass.sum()
    return terms, slopes, float(share @ highest)


def _saturated(value: float, ceiling: float) -> tuple[Note, ...]:
    if value <= ceiling - 1.0:
        return ()
    return (
        Note(
            "W28",
            f"the value is within 1 of {ceiling:.3g}, the largest that the negatives allow; KL may be "
            "larger; give more rows of Q, or more --negatives",
        ),
    )
