"""The flow of the Sinkhorn divergence: rows go where entropic transport sends them, less its blur."""

from functools import partial
from typing import Annotated

import numpy as np

from divmatch.matcher import Array, Fit, Watch
from divmatch.samples import Samples
from divmatch.settings import Setting
from divmatch.transport import costs
from divmatch.transport.descent import Draw, Kind, Make, Pace, flowed
from divmatch.transport.entropic import Effort
from divmatch.transport.inertia import bath_of
from divmatch.transport.moving import FLOW, Dynamics, Every, Friction, Step, Steps, Temperature, Tol
from divmatch.transport.problem import Regularised, Support, Term, averaged, between, within

Share = Annotated[
    float, Setting("regularisation as a share of the mean cost between rows of Q", above=0)
]
PRECISE = 1e-6  # marginal error of the terms
SWEEPS = 2000


class Divergence:
    """S_eps from Q; potentials of the last step are the start of the next."""

    def __init__(self, y: Array, b: Array | None, a: Array | None, eps: float) -> None:
        self.y = _support(y, b)
        self.a, self.reach = a, 1.0
        self.of = Regularised("sqeuclidean", eps, np.inf, Effort(PRECISE, SWEEPS))
        self.own = within(self.y, self.of)
        self.last: tuple[Term, Term] | None = None

    def at(self, points: Array, where: Array, rng: Draw) -> tuple[float, Array]:
        """Value and gradient: 2 (T_xx − T_xy), with the means that the plans send each row to."""
        x = _support(points, self.a)
        start = costs.mean("sqeuclidean", x.points, self.y.points, x.weights, self.y.weights)
        near, own = (None, None) if self.last is None else self.last
        cross = between(x, self.y, self.of, start, near)
        own = within(x, self.of, None if own is None else own.f)
        self.last = cross, own
        value = cross.value - 0.5 * own.value - 0.5 * self.own.value
        pull = sent(points, x, own.g, self.of.eps) - sent(points, self.y, cross.g, self.of.eps)
        return value, 2.0 * pull


def _support(points: Array, weights: Array | None) -> Support:
    given = np.full(len(points), 1.0 / len(points)) if weights is None else weights
    rows = np.flatnonzero(given > 0)
    return Support(points[rows], given[rows] / given[rows].sum(), rows)


def sent(points: Array, y: Support, g: Array, eps: float) -> Array:
    """Where the entropic map for |x − y|² sends any points."""
    return averaged("sqeuclidean", points, y, g, eps)


def _family(share: float, start: Array, target: Array, _: float) -> tuple[Make, ...]:
    each = np.full(len(target), 1.0 / len(target))
    mean = costs.mean("sqeuclidean", target, target, each, each)
    if not mean > 0:
        mean = float(np.mean((start - target[0]) ** 2) * start.shape[1]) or 1.0
    return (partial(_made, share * mean),)


def _made(eps: float, y: Array, b: Array | None, a: Array | None) -> Divergence:
    return Divergence(y, b, a, eps)


@FLOW.method("sinkhorn", source="Feydy et al. 2019, arXiv 1810.08278", long=True)
def sinkhorn(
    x: Samples,
    y: Samples,
    *,
    eps: Share = 0.05,
    steps: Steps = 500,
    step: Step = 1.0,
    dynamics: Dynamics = "gradient",
    friction: Friction = None,
    temperature: Temperature = None,
    tol: Tol = 0.5,
    every: Every = None,
    rng: "np.random.Generator",
    watch: Watch,
) -> Fit:
    """Rows of P moved along the gradient flow of the Sinkhorn divergence.

    The gradient of S_eps at a row is 2 (T_PP(x) − T_PQ(x)): the mean of where entropic transport of P to
    itself sends it, less the mean of where transport to Q sends it. The first takes away the blur of the
    second. Steps are long and few, each dearer than those of other methods; --eps is as in the
    divergence: the smaller, the nearer to the flow of W₂².

    Parameters
    ----------
    x, y : Samples
        As for the method sliced-riesz.
    eps : float
        Regularisation as a share of the mean of |y − y'|², above 0.
    steps : int
        As for the method sliced-riesz.
    step : float
        As for the method sliced-riesz.
    dynamics : str
        As for the method sliced-riesz.
    friction : float, optional
        As for the method sliced-riesz.
    temperature : float, optional
        As for the method sliced-riesz.
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
    Cost: O(n (n + m) d) time a sweep, 10 to 100 sweeps a step; O((n + m) d + 300 n) memory.

    Source: Feydy, Séjourné, Vialard, Amari, Trouvé & Peyré 2019 (AISTATS, arXiv 1810.08278), section 4.

    Examples
    --------
    >>> import divmatch
    >>> found = divmatch.match.flow([0.0, 1.0], [2.0, 3.0], method="sinkhorn", metric="none", tol=1e-9)
    >>> found.points[:, 0].round(2).tolist()
    [2.0, 3.0]
    """
    kind = Kind("Sinkhorn divergence", "data unit^2", 2.0, partial(_family, eps))
    return flowed(
        x,
        y,
        kind,
        Pace(steps, step, tol, every, bath=bath_of(dynamics, friction, temperature)),
        rng,
        watch,
    )
