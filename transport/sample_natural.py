"""Stein variational natural gradient: SVGD in the metric of the target's curvature."""

from typing import Annotated, Literal

import numpy as np

from divmatch.matcher import Array, Fit, Watch
from divmatch.samples import Samples
from divmatch.scoring import known
from divmatch.settings import Setting
from divmatch.target_kinds import Target
from divmatch.transport.particles import Swarm, as_one
from divmatch.transport.sample_svgd import Stein, followed_by
from divmatch.transport.sampling import (
    SAMPLE,
    Bandwidth,
    Dim,
    Number,
    ScoreCommand,
    Steps,
    TargetName,
    Timeout,
    Tol,
    check_start,
)

Curvature = Annotated[
    Literal["hessian", "fisher"],
    Setting("the metric G: mean Hessian of -ln p, or mean product of scores, over the particles"),
]
FLOOR = 1e-12  # of the largest eigenvalue: directions in which the target does not curve


class Natural(Stein):
    """SVGD of G^½ x, whose scores are G^−½ s: G⁻¹ times the direction with distances by G."""

    def __init__(self, target: Target, a: Array, curvature: str, bandwidth: float | str) -> None:
        super().__init__(target, a, bandwidth=bandwidth)
        self.curvature = curvature
        self.forth = self.back = np.empty((0, 0))  # G^½ and its inverse

    def at(self, x: Array, last: float = 0.0) -> tuple[Array, float]:
        """The direction of G^½ x."""
        scores = self.scores(x)
        values, vectors = np.linalg.eigh(self._mean_metric(x, scores))
        values = np.abs(values)
        roots = np.sqrt(np.maximum(values, FLOOR * values.max()))
        roots = roots if roots.max() > 0 else np.ones_like(roots)
        self.forth, self.back = (vectors * roots) @ vectors.T, (vectors / roots) @ vectors.T
        return self.steered(x @ self.forth, scores @ self.back, last)

    def move(self, swarm: Swarm, way: Array, a: Array, reach: float) -> Array:
        """A step of G^½ x, whose columns are in proportion, back in the rows' own units."""
        return np.asarray(as_one(swarm, way, a, reach) @ self.back)

    def _mean_metric(self, x: Array, scores: Array) -> Array:
        """E s sᵀ, or −E ∇s = −S⁻¹ E (X − m) sᵀ by Stein's identity: exact for a Gaussian target."""
        mass = self.a[:, None]
        if self.curvature == "fisher":
            return np.asarray((mass * scores).T @ scores)
        centred = x - self.a @ x
        cross = (mass * centred).T @ scores
        found = -np.linalg.pinv((mass * centred).T @ centred, hermitian=True) @ cross
        return np.asarray((found + found.T) / 2)


@SAMPLE.method(
    "svng",
    source="Shi, Liu & Mackey 2022, arXiv 2106.12506, section 5",
    candidate="never",
    long=True,
)
def svng(
    x: Samples,
    *,
    target: TargetName = None,
    score_command: ScoreCommand = None,
    timeout: Timeout = 60.0,
    n: Number = None,
    dim: Dim = None,
    curvature: Curvature = "hessian",
    bandwidth: Bandwidth = "median",
    steps: Steps = 1000,
    tol: Tol = 1e-3,
    watch: Watch,
) -> Fit:
    """Particles by Stein variational natural gradients, for targets that are far wider one way than another.

    The direction is G⁻¹ times that of SVGD with distances by G, for a metric G that is the mean over the
    particles, at every step: of the Hessian of −ln p (by Stein's identity, from scores alone; absolute
    values of its eigenvalues, at least 1e-12 of the largest), or of s sᵀ. Rows that are stretched or
    turned with their target end at the same places, stretched or turned.

    Parameters
    ----------
    x : Samples
        As for the method svgd.
    target : str
        As for the method svgd.
    score_command : str
        As for the method svgd.
    timeout : float
        As for the method svgd.
    n : int, optional
        As for the method svgd.
    dim : int, optional
        As for the method svgd.
    curvature : str
        hessian or fisher.
    bandwidth : float or str
        As for the method svgd, of distances by G, which have no unit.
    steps : int
        As for the method svgd.
    tol : float
        As for the method svgd.
    watch : Watch
        As for the method svgd.

    Returns
    -------
    Fit
        As for the method svgd.

    Notes
    -----
    Cost: O(n² d + d³) time a step, O(n d) memory.

    Source: Shi, Liu & Mackey 2022, Sampling with mirrored Stein operators (ICLR, arXiv 2106.12506),
    section 5, with a metric that is constant within a step.

    Examples
    --------
    >>> import divmatch
    >>> found = divmatch.match.sample([-1.0, 0.0, 2.0], target="gaussian:5,1e8", method="svng")
    >>> found.converged, float(found.points.mean().round(-2))
    (True, 0.0)
    """
    check_start(x, n, dim)
    with known(target, score_command, timeout, x.d) as density:
        direction = Natural(density, x.masses(), curvature, bandwidth)
        return followed_by(direction, x, direction.move, steps, tol, watch)
