"""Flows of f-divergences: each row follows the gradient of f'(p/q), the ratio from a classifier."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from divmatch.errors import SettingError
from divmatch.matcher import Array, Fit, Watch
from divmatch.samples import Samples
from divmatch.transport.descent import Draw, Kind, Make, Pace, flowed
from divmatch.transport.moving import FLOW, Dynamics, Every, Step, Steps, Tol
from divmatch.transport.ratio_critic import Critic

MOST = 30.0  # of |ln p/q|, beyond which a ratio says nothing


class Shape(NamedTuple):
    """Of h = ln p/q: the divergence from h at P's and Q's rows, and what ∇h is multiplied by."""

    title: str
    unit: str
    value: Callable[[Array, Array, Array, Array], float]
    slope: Callable[[Array], Array]


def _kl(of_x: Array, of_y: Array, a: Array, b: Array) -> float:
    return float(a @ of_x)


def _js(of_x: Array, of_y: Array, a: Array, b: Array) -> float:
    lost = a @ np.logaddexp(0.0, -of_x) + b @ np.logaddexp(0.0, of_y)
    return float(np.log(2.0) - 0.5 * lost)


def _chi2(of_x: Array, of_y: Array, a: Array, b: Array) -> float:
    return float(a @ np.expm1(of_x))


SHAPES = {
    "kl": Shape("KL divergence", "nats", _kl, np.ones_like),
    "js": Shape("Jensen-Shannon divergence", "nats", _js, lambda h: 0.5 / (1.0 + np.exp(h))),
    "chi2": Shape("chi2 divergence", "1", _chi2, lambda h: 2.0 * np.exp(h)),
}


class Ratio:
    """An f-divergence of the particles from Q by the fitted ratio, refitted at every step."""

    def __init__(
        self, y: Array, b: Array | None, a: Array | None, shape: Shape, critic: Critic
    ) -> None:
        self.y, self.shape, self.critic, self.reach = y, shape, critic, 1.0
        self.a, self.b = a, np.full(len(y), 1 / len(y)) if b is None else b

    def at(self, points: Array, where: Array, rng: Draw) -> tuple[float, Array]:
        """Value and gradient with the critic that begins at the last one."""
        a = np.full(len(points), 1 / len(points)) if self.a is None else self.a
        of_x, of_y, features = self.critic.fit(points, self.y, a, self.b)
        of_x, of_y = of_x.clip(-MOST, MOST), of_y.clip(-MOST, MOST)
        pull = self.critic.slopes(points, features)
        return self.shape.value(of_x, of_y, a, self.b), self.shape.slope(of_x)[:, None] * pull


def _family(shape: Shape, start: Array, target: Array, _: float) -> tuple[Make, ...]:
    return (lambda y, b, a: Ratio(y, b, a, shape, Critic(start, target)),)


@FLOW.method(
    "kl",
    source="Jordan, Kinderlehrer & Otto 1998, SIAM J. Math. Anal. 29; Fan et al. 2022, arXiv 2112.02424",
    long=True,
)
def kl(
    x: Samples,
    y: Samples,
    *,
    steps: Steps = 500,
    step: Step = 1.0,
    dynamics: Dynamics = "gradient",
    tol: Tol = 0.5,
    every: Every = None,
    rng: "np.random.Generator",
    watch: Watch,
) -> Fit:
    """Rows of P moved along the Wasserstein gradient flow of KL(P || Q), by a fitted density ratio.

    Each row follows −∇ ln(p/q): of Gaussians this is the Ornstein-Uhlenbeck flow. The ratio comes from
    logistic regression of P's rows against Q's on the columns, their products of two (squares beyond 20
    columns) and up to 100 Gaussian kernels of the median width, with a ridge, and is fitted again at
    every step. The objective is the mean of ln(p/q) over P's rows, which is taken to lie within ±30.
    Where the samples hardly overlap the ratio is a guess: sliced-riesz needs none. With many columns it
    sees little more than first and second moments.

    Parameters
    ----------
    x, y : Samples
        As for the method sliced-riesz.
    steps : int
        As for the method sliced-riesz.
    step : float
        As for the method sliced-riesz.
    dynamics : str
        gradient alone: the ratio has P's own density, which the noise of langevin would count again.
    tol : float
        As for the method sliced-riesz.
    every : int, optional
        As for the method sliced-riesz.
    rng : numpy.random.Generator
        Parts rows that are equal; unused otherwise.
    watch : Watch
        Is told the objective and the length of every step.

    Returns
    -------
    Fit
        The rows moved, in P's order and units.

    Notes
    -----
    Cost: O((n + m) c²) time a Newton step for c features, a few of them a step; O((n + m) c) memory.

    Source: Jordan, Kinderlehrer & Otto 1998 (SIAM J. Math. Anal. 29); by ratios: Fan, Zhang, Taghvaei & Chen
    2022, Variational Wasserstein gradient flow (ICML, arXiv 2112.02424).

    Examples
    --------
    >>> import divmatch
    >>> x, y = [0.0, 0.4, 0.8, 1.2, 1.6, 2.0], [3.0, 3.4, 3.8, 4.2, 4.6, 5.0]
    >>> found = divmatch.match.flow(x, y, method="kl", metric="none")
    >>> found.converged
    True
    """
    return _along("kl", x, y, Pace(steps, step, tol, every), dynamics, rng, watch)


@FLOW.method("js", source="Gao et al. 2019, arXiv 1901.08469", long=True)
def js(
    x: Samples,
    y: Samples,
    *,
    steps: Steps = 500,
    step: Step = 1.0,
    dynamics: Dynamics = "gradient",
    tol: Tol = 0.5,
    every: Every = None,
    rng: "np.random.Generator",
    watch: Watch,
) -> Fit:
    """Rows of P moved along the gradient flow of the Jensen-Shannon divergence, by a density ratio.

    Each row follows −∇ ln(2r/(1 + r)) / 2 with r = p/q, the ratio of the method kl. Rows far from Q, where
    r is large, hardly move: it is for samples that overlap. The objective is ln 2 less half of the
    classifier's loss.

    Parameters
    ----------
    x, y : Samples
        As for the method sliced-riesz.
    steps : int
        As for the method sliced-riesz.
    step : float
        As for the method sliced-riesz.
    dynamics : str
        gradient alone: the ratio has P's own density, which the noise of langevin would count again.
    tol : float
        As for the method sliced-riesz.
    every : int, optional
        As for the method sliced-riesz.
    rng : numpy.random.Generator
        Parts rows that are equal; unused otherwise.
    watch : Watch
        Is told the objective and the length of every step.

    Returns
    -------
    Fit
        The rows moved, in P's order and units.

    Notes
    -----
    Cost: O((n + m) c²) time a Newton step for c features, a few of them a step; O((n + m) c) memory.

    Source: Gao, Jiao, Wang, Wang, Yang & Zhang 2019, Deep generative learning via variational gradient flow
    (ICML, arXiv 1901.08469), Table 1.

    Examples
    --------
    >>> import divmatch
    >>> x, y = [0.0, 0.4, 0.8, 1.2, 1.6, 2.0], [1.0, 1.4, 1.8, 2.2, 2.6, 3.0]
    >>> found = divmatch.match.flow(x, y, method="js", metric="none")
    >>> found.converged
    True
    """
    return _along("js", x, y, Pace(steps, step, tol, every), dynamics, rng, watch)


@FLOW.method("chi2", source="Gao et al. 2019, arXiv 1901.08469", long=True)
def chi2(
    x: Samples,
    y: Samples,
    *,
    steps: Steps = 500,
    step: Step = 1.0,
    dynamics: Dynamics = "gradient",
    tol: Tol = 0.5,
    every: Every = None,
    rng: "np.random.Generator",
    watch: Watch,
) -> Fit:
    """Rows of P moved along the gradient flow of χ²(P || Q), by a fitted density ratio.

    Each row follows −2 ∇r with r = p/q, the ratio of the method kl. Rows where P is much denser than Q
    move most, by far: it is for samples that overlap well. The objective is the mean of r − 1 over P's rows.

    Parameters
    ----------
    x, y : Samples
        As for the method sliced-riesz.
    steps : int
        As for the method sliced-riesz.
    step : float
        As for the method sliced-riesz.
    dynamics : str
        gradient alone: the ratio has P's own density, which the noise of langevin would count again.
    tol : float
        As for the method sliced-riesz.
    every : int, optional
        As for the method sliced-riesz.
    rng : numpy.random.Generator
        Parts rows that are equal; unused otherwise.
    watch : Watch
        Is told the objective and the length of every step.

    Returns
    -------
    Fit
        The rows moved, in P's order and units.

    Notes
    -----
    Cost: O((n + m) c²) time a Newton step for c features, a few of them a step; O((n + m) c) memory.

    Source: Gao, Jiao, Wang, Wang, Yang & Zhang 2019, Deep generative learning via variational gradient flow
    (ICML, arXiv 1901.08469), Table 1.

    Examples
    --------
    >>> import divmatch
    >>> x, y = [0.0, 0.4, 0.8, 1.2, 1.6, 2.0], [1.0, 1.4, 1.8, 2.2, 2.6, 3.0]
    >>> found = divmatch.match.flow(x, y, method="chi2", metric="none")
    >>> found.converged
    True
    """
    return _along("chi2", x, y, Pace(steps, step, tol, every), dynamics, rng, watch)


def _along(
    name: str,
    x: Samples,
    y: Samples,
    pace: Pace,
    dynamics: str,
    rng: "np.random.Generator",
    watch: Watch,
) -> Fit:
    if dynamics != "gradient":
        raise SettingError(
            f"--dynamics {dynamics}: --divergence {name} follows a ratio that has P's own density, which "
            "noise would count again; choose mmd, energy, sinkhorn, sliced-riesz or sliced-w2"
        )
    shape = SHAPES[name]
    kind = Kind(shape.title, shape.unit, 0.0, partial(_family, shape))
    return flowed(x, y, kind, pace, rng, watch)
