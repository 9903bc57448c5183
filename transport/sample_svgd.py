"""Stein variational gradient descent: particles that follow the steepest way down in KL."""

import math

import numpy as np

from divmatch.errors import SettingError
from divmatch.kernels.pairwise import Profile
from divmatch.kernels.steering import steered
from divmatch.matcher import Array, Fit, Watch
from divmatch.samples import Samples
from divmatch.scoring import known
from divmatch.target_kinds import Target
from divmatch.transport.frame import rms
from divmatch.transport.particles import Rule, adagrad, by_column, coins, followed
from divmatch.transport.sampling import (
    SAMPLE,
    Bandwidth,
    Dim,
    Kernel,
    Number,
    ScoreCommand,
    Step,
    Steps,
    TargetName,
    Timeout,
    Tol,
    check_start,
    level,
    particles,
    squared_gaps,
    unfinished,
)

ROUGH = 1e-3  # share of the forces above which a direction needs few digits
SOME = 500  # rows that the median is taken of
WIDER = {"gaussian": "in many columns --kernel imq keeps more of it than gaussian"}


class Stein:
    """SVGD's direction: scores of the particles nearby, and away from one another."""

    def __init__(
        self, target: Target, a: Array, kernel: str = "gaussian", bandwidth: float | str = "median"
    ) -> None:
        self.target, self.a, self.kernel, self.bandwidth = target, a, kernel, bandwidth
        self.reach, self.settles = 1.0, kernel != "linear"
        self._known: tuple[Array, Array] | None = None

    def scores(self, x: Array) -> Array:
        """Of the particles, asked for once."""
        if self._known is None or self._known[0] is not x:
            self._known = x, self.target.scores(x)
        return self._known[1]

    def at(self, x: Array, last: float = 0.0) -> tuple[Array, float]:
        """The direction, and its size as a share of a particle's score and its repulsion."""
        scores = self.scores(x)
        if self.kernel == "linear":
            return self._linear(x, scores)
        return self.steered(x, scores, last)

    def steered(self, x: Array, scores: Array, last: float) -> tuple[Array, float]:
        """The same of rows with these scores, by a kernel of their distance."""
        scale = self.reach = scale_of(self.bandwidth, x)
        profile = Profile("gaussian" if self.kernel == "gaussian" else "imq", scale)
        way, masses = steered(profile, x, scores, self.a, rough=last > ROUGH)
        forces = masses * (np.sqrt(np.einsum("ij,ij->i", scores, scores)) + 1.0 / scale)
        return way, rms(way, self.a) / math.sqrt(float(self.a @ forces**2))

    def _linear(self, x: Array, scores: Array) -> tuple[Array, float]:
        """K = x·y + 1: an affine direction."""
        self.reach = max(rms(x, self.a), 1e-300)
        drawn = x @ ((self.a[:, None] * x).T @ scores) + self.a @ scores
        way = drawn + x
        return self.among(way, rms(drawn, self.a) + rms(x, self.a))

    def among(self, way: Array, forces: float) -> tuple[Array, float]:
        """The direction, and its size as a share of the forces in it."""
        return way, rms(way, self.a) / forces if forces > 0 else 0.0

    def discrepancy(self, x: Array) -> float:
        """KSD² of at most 500 particles, with their own bandwidth."""
        some = slice(None, None, -(-len(x) // SOME))
        points, weights = x[some], self.a[some]
        if not weights.sum() > 0:
            return math.inf
        weights = weights / weights.sum()
        return level(points, self.scores(x)[some], weights)


def scale_of(bandwidth: float | str, x: Array) -> float:
    """S with 2 s² = med r² / ln(n + 1), over at most 500 rows at even steps."""
    if not isinstance(bandwidth, str):
        return bandwidth
    some = x[:: -(-len(x) // SOME)]
    _, middle = squared_gaps(some - some.mean(axis=0))
    return math.sqrt(middle / (2.0 * math.log(len(x) + 1))) if middle > 0 else 1.0


def followed_by(
    direction: Stein,
    x: Samples,
    rule: Rule,
    steps: int,
    tol: float,
    watch: Watch,
    wider: str = "",
) -> Fit:
    """The particles where the direction leads them; ``wider`` says what keeps more of their spread."""
    if direction.target.simplex:
        raise SettingError("--target dirichlet: lives on a simplex; choose --method msvgd")
    swarm, converged = followed(x.points, x.masses(), direction, rule, steps, tol, watch)
    facts = {"steps": swarm.k, "bandwidth": direction.reach, "direction": swarm.size}
    notes = () if converged else (unfinished(swarm.k, swarm.size, tol),)
    return particles(
        x, swarm.x, direction.target, facts=facts, wider=wider, converged=converged, notes=notes
    )


@SAMPLE.method(
    "svgd", source="Liu & Wang 2016, arXiv 1608.04471, algorithm 1", candidate="never", long=True
)
def svgd(
    x: Samples,
    *,
    target: TargetName = None,
    score_command: ScoreCommand = None,
    timeout: Timeout = 60.0,
    n: Number = None,
    dim: Dim = None,
    kernel: Kernel = "gaussian",
    bandwidth: Bandwidth = "median",
    steps: Steps = 1000,
    step: Step = "auto",
    tol: Tol = 1e-3,
    watch: Watch,
) -> Fit:
    """Particles of a density that is known up to a constant, by Stein variational gradient descent.

    Each particle follows φ(x) = mean_j [k(xⱼ, x) s(xⱼ) + ∇_{xⱼ} k(xⱼ, x)] with s = ∇ ln p: drawn to where
    the density is high, driven away from the others. Nothing is random: the same start gives the same
    particles, which represent the target far better than as many random draws of it. With the gaussian
    kernel they are narrower than the target, the more so the more columns (W69); imq less. The linear
    kernel makes mean and covariance exact for a Gaussian target, with more particles than columns, and
    nothing else. Modes that lie far apart keep the particles that they had at the start.

    Parameters
    ----------
    x : Samples
        Rows to start from, weighted or not. Left out, --n standard normal rows.
    target : str or callable
        gaussian:MEAN,COV with numbers or .npy files (gaussian alone is gaussian:0,1); mixture:FILE.npz
        with weights, means and covariances; student:DF,MEAN,SHAPE; kde:FILE.npy,S; linear:FILE.npz with
        x, y, noise, prior and logistic:FILE.npz with x, y, prior, posteriors of a regression's
        coefficients under a normal prior (variances); FILE.py:NAME, a function in a Python file that
        takes rows (n, d) and returns ln p + constant, (n,), or, where score or grad is in its name,
        ∇ ln p, (n, d). Of ln p the score comes from central differences. The file is run. Python
        takes such a function itself.
    score_command : str
        In place of a target: a program that is started once, without a shell. It reads n lines of d
        numbers and an empty line, writes n lines of d numbers, and waits for the next ones.
    timeout : float
        Seconds for one answer.
    n : int, optional
        Particles to draw where P is left out.
    dim : int, optional
        Their columns, where the target does not say.
    kernel : str
        gaussian, imq or linear.
    bandwidth : float or str
        s, above 0; median: s² = med |xᵢ − xⱼ|² / (2 ln(n + 1)) at every step, over at most 500 particles.
    steps : int
        Most steps, at least 1.
    step : float or str
        auto: a length for each column, which grows by 15 % while directions agree and is halved where
        they turn back. A number: Adagrad's rule, step / √(running mean of squares) for every number.
    tol : float
        It ends where the direction is so small a share of score and repulsion, or at most 20 times that
        while KSD² has not fallen by 1 % in 200 steps.
    watch : Watch
        Is told KSD², of at most 500 particles in every tenth step, and the length of every step.

    Returns
    -------
    Fit
        The particles, KSD² before and after with the imq kernel, every pair counted. Its bandwidth is
        the median distance of the particles after.

    Notes
    -----
    Cost: O(n² d) time a step, O(n d) memory.

    Source: Liu & Wang 2016, Stein variational gradient descent (NeurIPS, arXiv 1608.04471), algorithm 1;
    linear kernel: Liu & Wang 2018 (NeurIPS, arXiv 1810.11693).

    Examples
    --------
    >>> import divmatch
    >>> found = divmatch.match.sample([0.0, 1.0, 2.0], target="gaussian:5,4", kernel="linear", tol=1e-8)
    >>> float(found.points.mean().round(4)), float(found.points.var().round(4))
    (5.0, 4.0)
    """
    check_start(x, n, dim)
    rule = by_column if isinstance(step, str) else adagrad(step)
    with known(target, score_command, timeout, x.d) as density:
        direction = Stein(density, x.masses(), kernel, bandwidth)
        return followed_by(direction, x, rule, steps, tol, watch, WIDER.get(kernel, ""))


@SAMPLE.method(
    "coin",
    source="Sharrock & Nemeth 2023, arXiv 2301.11294, algorithm 1",
    candidate="never",
    long=True,
)
def coin(
    x: Samples,
    *,
    target: TargetName = None,
    score_command: ScoreCommand = None,
    timeout: Timeout = 60.0,
    n: Number = None,
    dim: Dim = None,
    kernel: Kernel = "gaussian",
    bandwidth: Bandwidth = "median",
    steps: Steps = 1000,
    tol: Tol = 1e-3,
    watch: Watch,
) -> Fit:
    """Particles by Stein variational gradients and coin betting, which has no step length at all.

    Every number of every particle bets on the sign of its next SVGD direction, with the money that it
    has won so far: steps grow while directions agree and shrink where they change.

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
    kernel : str
        As for the method svgd.
    bandwidth : float or str
        As for the method svgd.
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
    Cost: O(n² d) time a step, O(n d) memory.

    Source: Sharrock & Nemeth 2023, Coin sampling (ICML, arXiv 2301.11294), algorithm 1.

    Examples
    --------
    >>> import divmatch
    >>> found = divmatch.match.sample([-1.0, 0.0, 2.0], target="gaussian:1,1", method="coin")
    >>> found.converged, float(found.points.mean().round(1))
    (True, 1.0)
    """
    check_start(x, n, dim)
    with known(target, score_command, timeout, x.d) as density:
        direction = Stein(density, x.masses(), kernel, bandwidth)
        return followed_by(direction, x, coins, steps, tol, watch, WIDER.get(kernel, ""))
