"""Neural-network divergence: what a critic says of rows it was not trained on."""

import math
from copy import deepcopy
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray

from divmatch.estimator import Estimate
from divmatch.estimators.classifier_test import C2ST, held_means, trained_scores
from divmatch.estimators.critics import Critic
from divmatch.estimators.folds import Deal, dealt
from divmatch.kernels.slices import Slices
from divmatch.samples import Samples
from divmatch.settings import Setting

Array = NDArray[np.float64]

Mode = Annotated[
    Literal["logistic", "wgan"],
    Setting("logistic bounds the Jensen-Shannon divergence, wgan the distance W1"),
]
STEEPEST_FROM = 4096  # rows whose pairs give the critic's slope
STEEPEST_WORK = 4e8  # rows² times columns at the most


@C2ST.estimator("network", source="Gulrajani, Raffel & Metz 2019, ICLR (arXiv 2001.03653)")
def network(
    x: Samples,
    y: Samples,
    *,
    mode: Mode = "logistic",
    critic: Critic = "linear",
    rng: "np.random.Generator",
) -> Estimate:
    """Neural-network divergence between two samples: a trained critic, judged on held-out rows.

    A critic T is trained to tell half of the rows of P from half of the rows of Q, and the value is
    what it says of the other halves, so that learning rows by heart is worth nothing:

    logistic: ln 2 + ½ [mean ln s(T(X)) + mean ln s(−T(Y))] with s(t) = 1/(1 + e^(−t)), on average a
    lower bound of the Jensen-Shannon divergence, at most ln 2; wgan: mean T(X) − mean T(Y), with T
    divided by its steepest slope |T(a) − T(b)| / |a − b|, a lower bound of the distance W₁. About 0
    or below for equal distributions. The interval is for the critic that was trained.

    Use it to compare generators by what a learner can tell, and wgan where samples hardly overlap
    and the logistic bound is at ln 2. In wgan columns count by their scale: standardise them
    (--scale) unless they share a unit. With one column wgan needs no critic: the value is the exact
    W₁ of all rows, which is biased upward by about (1/n + 1/m)^(1/2). `divmatch memorisation` compares
    a generator's rows with its training rows and with new ones.

    Parameters
    ----------
    x, y : Samples
        Rows of P, shape (n, d), and of Q, shape (m, d), weighted or not.
    mode : str
        logistic or wgan.
    critic : str
        linear in columns, squares, products and random Fourier features; mlp has two hidden layers
        of 64 units. Both are trained by logistic loss.
    rng : numpy.random.Generator
        Its state decides the halves; it is left as it was.

    Returns
    -------
    Estimate
        Value in nats (logistic) or data units (wgan), with the influence of every row. ``slope`` is
        the critic's steepest slope over all pairs of up to 4096 held-out rows, fewer with many columns.

    Raises
    ------
    InconclusiveError
        With fewer than two rows in a sample.

    Notes
    -----
    Cost: one training: linear about fifteen passes over (n + m) p numbers, p up to 370; wgan also
    at most 4·10⁸ operations for the slope.

    Source: Gulrajani, Raffel & Metz 2019 (arXiv 2001.03653); critics without a
    deep-learning framework are ours.

    Examples
    --------
    >>> import divmatch, numpy as np
    >>> x = np.random.default_rng(0).normal(1.0, 1.0, (1000, 2))
    >>> y = np.random.default_rng(1).normal(0.0, 1.0, (1000, 2))
    >>> round(divmatch.c2st(x, y, method="network", mode="wgan").value, 1)
    1.3
    """
    if mode == "wgan" and x.d == 1:
        return _exact(x, y)
    rng = deepcopy(rng)
    deal = dealt(x, y, 2, rng)
    scores = trained_scores(deal, "logistic" if critic == "linear" else "mlp", rng)
    if mode == "logistic":
        found = held_means(x, y, deal, -0.5 * np.logaddexp(0.0, -deal.sign * scores))
        return Estimate(math.log(2.0) + found.p + found.q, found.terms_x, found.terms_y)
    slope = steepest(deal, (x, y), scores, rng)
    found = held_means(x, y, deal, scores / slope if slope > 0 else scores)
    return Estimate(
        found.p - found.q, found.terms_x, -found.terms_y, params={"slope": slope}, exact=False
    )


def steepest(
    deal: Deal, samples: tuple[Samples, Samples], scores: Array, rng: "np.random.Generator"
) -> float:
    """Largest |T(a) − T(b)| / |a − b| over pairs of held-out rows of both samples.

    The value is then at most W₁ of those rows. The rows trained on may have scores of other folds.
    """
    pairs = zip(samples, deal.rows, strict=True)
    held = deal.fold == 1
    points = np.concatenate([part.points[numbers] for part, numbers in pairs])[held]
    scores = scores[held]
    most = min(STEEPEST_FROM, math.isqrt(int(STEEPEST_WORK / points.shape[1])))
    if len(points) > most:
        chosen = np.sort(rng.choice(len(points), most, replace=False))
        points, scores = points[chosen], scores[chosen]
    largest = 0.0
    for lag in range(1, len(points)):  # every pair is (i, i + lag) for one of the lags
        gaps = points[lag:] - points[:-lag]
        squares = np.einsum("ij,ij->i", gaps, gaps)
        rises = (scores[lag:] - scores[:-lag]) ** 2
        apart = squares > 0
        largest = max(largest, float(np.max(rises[apart] / squares[apart], initial=0.0)))
    return math.sqrt(largest)


def _exact(x: Samples, y: Samples) -> Estimate:
    """∫ |F − G|: no critic can do more, and the best one is known."""
    weighted = x.weights is not None or y.weights is not None
    weights = (x.masses(), y.masses()) if weighted else None
    found = Slices(x.points, y.points, 1, weights, x.once).influences(np.ones((1, 1)))
    return Estimate(float(found.costs[0]), found.rows_x, found.rows_y, params={"slope": 1.0})
