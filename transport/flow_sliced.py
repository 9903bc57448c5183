"""Flows along sorted projections: the sliced energy distance and sliced W₂."""

from functools import partial

import numpy as np

from divmatch.kernels.directions import directions
from divmatch.kernels.sliced_pulls import (
    Masses,
    Pull,
    pulled,
    quantile_pull,
    riesz_pull,
)
from divmatch.matcher import Array, Fit, Watch
from divmatch.samples import Samples
from divmatch.transport.descent import Draw, Kind, Make, Pace, flowed
from divmatch.transport.inertia import bath_of
from divmatch.transport.moving import (
    FLOW,
    Dynamics,
    Every,
    Friction,
    Momentum,
    Projections,
    Step,
    Steps,
    Temperature,
    Tol,
)
from divmatch.transport.sliced_riesz import constant

Factors = tuple[float, float]  # of the value, and of the gradient


class Sliced:
    """A divergence as the mean over projections, fresh ones at every step."""

    def __init__(
        self, y: Array, b: Array | None, a: Array | None, pull: Pull, count: int, factors: Factors
    ) -> None:
        self.y, self.masses, self.pull, self.count = y, Masses(a, b), pull, count
        self.factors, self.reach = factors, 1.0
        self.velocity = np.empty((0, 0))

    def at(self, points: Array, where: Array, rng: Draw) -> tuple[float, Array]:
        """Value and gradient along the directions of this step, in the place of the last gradient."""
        if self.velocity.shape != points.shape:
            self.velocity = np.empty(points.shape)
        vectors = directions(points.shape[1], self.count, rng()).vectors
        own, slope = self.factors
        out = self.velocity
        value = pulled(self.pull, points, self.y, self.masses, vectors, slope, out)
        return own * value, out


def _family(pull: Pull, count: int, factors: Factors, *_: object) -> tuple[Make, ...]:
    return (partial(_made, pull, count, factors),)


def _made(
    pull: Pull, count: int, factors: Factors, y: Array, b: Array | None, a: Array | None
) -> Sliced:
    return Sliced(y, b, a, pull, count, factors)


@FLOW.method(
    "sliced-riesz", source="Hertrich, Wald, Altekrüger & Hagemann 2024, arXiv 2305.11463", long=True
)
def sliced_riesz(
    x: Samples,
    y: Samples,
    *,
    projections: Projections = 100,
    steps: Steps = 500,
    step: Step = 1.0,
    momentum: Momentum = 0.3,
    dynamics: Dynamics = "gradient",
    friction: Friction = None,
    temperature: Temperature = None,
    tol: Tol = 0.5,
    every: Every = None,
    rng: "np.random.Generator",
    watch: Watch,
) -> Fit:
    """Rows of P moved along a gradient flow until they are as near to Q as its own rows are.

    Each row follows the negative gradient of F(P) = E|X − Y| − E|X − X'| / 2 − E|Y − Y'| / 2, half the
    energy distance, which is zero if and only if P = Q. In one column the gradient is 2 (F − G), by
    sorting; in more it is the mean over random directions θ of θ times that of the projections, times
    √π Γ((d + 1)/2) / Γ(d/2): exact on average, and no pair of rows is ever looked at. The kernel |x − y|
    reaches everywhere, so that no row is left behind: that makes it the default. Directions are drawn
    afresh for every step.

    The step is Polyak's, F / |velocity|², times --step: it has no unit and needs no tuning, and shrinks
    as P comes near. The flow stops where F is --tol times what two samples of these sizes from one
    distribution have, measured on halves of Q: to go on would be to learn Q's rows by heart. Where F
    has not fallen for 50 steps, the best place is taken up again with half the step; after three
    halvings the particles rest (W87), which is not converged, as running out of --steps is (W86).
    Samples whose means are more than ten spreads apart are brought together by a translation first.

    --dynamics langevin gives rows inertia: dx = v dt, dv = −∇ dt − γ v dt + √(2 γ T) dB, with ∇ the
    gradient, and each step solved exactly for a ∇ that stays as it is. A step lasts √(2 step F) / |∇|, as
    long as a row at rest takes for Polyak's; γ is --friction times the critical one, and T such that
    the noise has --temperature times F as kinetic energy: it cools down as P comes near, so that Q itself
    is the limit. It takes about twice the steps of gradient; a warm bath of little friction looks around
    for longer.

    Weights of P stay with their rows. Rows of P that are equal would stay together: they are parted by
    1e-9 of Q's spread (W11). Columns count by their scale.

    Parameters
    ----------
    x, y : Samples
        Rows of P, shape (n, d), which are moved, and of Q, shape (m, d), weighted or not.
    projections : int
        Directions of a step, at least 4; one column needs one.
    steps : int
        Most steps.
    step : float
        Multiple of Polyak's step, above 0, at most 2; below 1 the flow is slower and smoother.
    momentum : float
        Share of the last direction that is added to the new one, in [0, 1).
    dynamics : str
        gradient: particle gradient descent; or langevin: underdamped, with inertia, friction and noise.
    friction : float, optional
        Of langevin: multiple of the critical friction, above 0; 1 unless given.
    temperature : float, optional
        Of langevin: kinetic energy of the noise as a share of the objective, in [0, 1); 0.1 unless given.
    tol : float
        Objective at which the flow stops, in units of that of two samples of one distribution.
    every : int, optional
        Keep the rows every so many steps; in .npz they stand beside the result.
    rng : numpy.random.Generator
        Draws the directions, and langevin's noise.
    watch : Watch
        Is told the objective and the length of every step.

    Returns
    -------
    Fit
        The rows moved, in P's order and units.

    Notes
    -----
    Cost: O(L (n + m)(d + log(n + m))) time a step for L projections, 10 to 50 steps as a rule;
    O((n + m) d) memory.

    Source: Hertrich, Wald, Altekrüger & Hagemann 2024, Generative sliced MMD flows with Riesz kernels
    (ICLR, arXiv 2305.11463), Theorem 2 and Algorithm 1; step: Polyak 1969 (USSR Comput. Math. 9). Particle
    gradient descent: Daneshmand, Lee & Jin 2023 (ICML, arXiv 2302.04753). Langevin: Fu & Wilson 2024,
    Mean-field underdamped Langevin dynamics and its space-time discretization (ICML, arXiv 2312.16360).

    Examples
    --------
    >>> import divmatch
    >>> found = divmatch.match.flow([0.0, 1.0], [4.0, 5.0], metric="none", tol=1e-9)
    >>> sorted(found.points[:, 0].round(2).tolist())
    [4.0, 5.0]
    """
    factor = constant(x.d)
    family = partial(_family, riesz_pull, projections, (factor, factor))
    kind = Kind("half the energy distance", "data unit", 1.0, family)
    return flowed(
        x,
        y,
        kind,
        Pace(steps, step, tol, every, momentum, bath=bath_of(dynamics, friction, temperature)),
        rng,
        watch,
    )


@FLOW.method(
    "sliced-w2",
    source="Bonneel, Rabin, Peyré & Pfister 2015, J. Math. Imaging Vis. 51; Liutkus et al. 2019, "
    "arXiv 1806.08141",
    long=True,
)
def sliced_w2(
    x: Samples,
    y: Samples,
    *,
    projections: Projections = 100,
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
    """Rows of P moved along the gradient flow of the squared sliced Wasserstein distance.

    SW₂² is the mean over directions θ of W₂² between the projections; its gradient at a row is the mean
    of 2 θ (θ·x − T(θ·x)), with T the monotone map of the projections. Convex along each projection, so
    that it is fast and even; rows far out pull more than with sliced-riesz.

    Parameters
    ----------
    x, y : Samples
        As for the method sliced-riesz.
    projections : int
        As for the method sliced-riesz.
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
        Draws the directions, and langevin's noise.
    watch : Watch
        Is told the objective and the length of every step.

    Returns
    -------
    Fit
        The rows moved, in P's order and units.

    Notes
    -----
    Cost: O(L (n + m)(d + log(n + m))) time a step for L projections; O((n + m) d) memory.

    Source: Bonneel, Rabin, Peyré & Pfister 2015, Sliced and Radon Wasserstein barycenters (JMIV 51),
    section 3.2; Liutkus et al. 2019, Sliced-Wasserstein flows (ICML, arXiv 1806.08141).

    Examples
    --------
    >>> import divmatch
    >>> found = divmatch.match.flow([0.0, 1.0], [4.0, 3.0], method="sliced-w2", metric="none", tol=1e-9)
    >>> found.points[:, 0].round(2).tolist()
    [3.0, 4.0]
    """
    family = partial(_family, quantile_pull, projections, (1.0, 2.0))
    kind = Kind("squared sliced Wasserstein distance", "data unit^2", 2.0, family)
    return flowed(
        x,
        y,
        kind,
        Pace(steps, step, tol, every, bath=bath_of(dynamics, friction, temperature)),
        rng,
        watch,
    )
