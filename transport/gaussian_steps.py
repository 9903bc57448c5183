"""Forward and backward steps of Gaussian variational inference in the Bures-Wasserstein space."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divmatch.matcher import Array, Watch
from divmatch.target_kinds import Target

NODES = {1: 48, 2: 20, 3: 12}  # nodes an axis of Gauss and Hermite's rule
SLACK = 1e-10  # by which an objective may rise: rounding
ROUGH = 1e-3  # the same where slopes are not exactly those of the heights
HALVINGS = 100  # of all steps together: a goal that rounding does not let it reach
REGROWN = 1.2  # of a share that was halved


@dataclass(frozen=True, eq=False)
class Rule:
    """Points z with weights that stand for a standard normal: their mean is 0, their covariance I."""

    z: Array
    weights: Array
    exact: bool  # for polynomials of high degree, so that slopes are those of the heights


def rule_for(d: int, draws: int, rng: "np.random.Generator") -> Rule:
    """Gauss and Hermite's rule of up to three columns; of more, draws made exact on squares."""
    if d in NODES:
        nodes, weights = np.polynomial.hermite_e.hermegauss(NODES[d])
        grid = np.meshgrid(*[nodes] * d, indexing="ij")
        masses = np.prod(np.meshgrid(*[weights] * d, indexing="ij"), axis=0).ravel()
        return Rule(np.column_stack([part.ravel() for part in grid]), masses / masses.sum(), True)
    half = rng.standard_normal((max(draws, 4 * d) // 2, d))
    factor = np.linalg.cholesky(half.T @ half / len(half))
    half = np.linalg.solve(factor, half.T).T
    z = np.concatenate([half, -half])
    return Rule(z, np.full(len(z), 1 / len(z)), False)


@dataclass(frozen=True, eq=False)
class Law:
    """A Gaussian with E ∇V, E ∇²V, and how the KL changes there.

    ``size`` is the length of its gradient as a share of the forces that are to balance; ``height`` is
    the KL + constant, or NaN where ln p is not known.
    """

    mean: Array
    covariance: Array
    slope: Array
    curvature: Array
    size: float
    height: float

    @property
    def steepest(self) -> float:
        """The largest curvature of V."""
        return float(np.abs(np.linalg.eigvalsh(self.curvature)).max())

    @property
    def widest(self) -> float:
        """The largest variance: steps beyond it would leave the region that has been looked at."""
        return float(np.linalg.eigvalsh(self.covariance)[-1])

    @property
    def convex(self) -> bool:
        """Whether V curves upwards in every direction."""
        least, *_, most = np.linalg.eigvalsh(self.curvature)[[0, -1]]
        return bool(least > -1e-9 * abs(most))


def judged(mean: Array, covariance: Array, rule: Rule, target: Target) -> Law:
    """E ∇²V = S⁻¹ E (X − m) ∇Vᵀ by Stein's identity: no second derivative is asked for."""
    values, vectors = np.linalg.eigh(covariance)
    root = (vectors * np.sqrt(values)) @ vectors.T  # symmetric: it changes smoothly with S
    rows = mean + rule.z @ root
    slopes = -target.scores(rows)
    slope = rule.weights @ slopes
    cross = (rule.z * rule.weights[:, None]).T @ slopes  # E z ∇Vᵀ
    curvature = (vectors / np.sqrt(values)) @ vectors.T @ cross
    curvature = (curvature + curvature.T) / 2
    inverse = (vectors / values) @ vectors.T
    lean = curvature - inverse
    squared = float(slope @ slope + np.sum((lean @ covariance) * lean))
    forces = math.sqrt(float(np.sum((curvature @ covariance) * curvature))) + math.sqrt(
        float(np.trace(inverse))
    )
    heights = target.log_density(rows)
    height = math.nan
    if heights is not None:
        height = -float(rule.weights @ heights) - 0.5 * float(np.log(values).sum())
    return Law(mean, covariance, slope, curvature, math.sqrt(max(squared, 0.0)) / forces, height)


def stepped(law: Law, step: float) -> tuple[Array, Array]:
    """Forward along E V, then back by the exact proximal step of the entropy."""
    m = np.eye(len(law.mean)) - step * law.curvature
    values, vectors = np.linalg.eigh(m @ law.covariance @ m)
    values = np.maximum(values, 0.0)
    values = 0.5 * (values + 2.0 * step + np.sqrt(values * (values + 4.0 * step)))
    covariance = (vectors * values) @ vectors.T
    return law.mean - step * law.slope, (covariance + covariance.T) / 2


@dataclass
class Descent:
    """Where the inference stands; ``share`` is of the step that the curvature allows."""

    law: Law
    k: int = 0
    share: float = 1.0
    halvings: int = 0
    convex: bool = True
    curve: list[tuple[float, float, float]] = field(default_factory=list)

    def stored(self) -> dict[str, Array]:
        """The state as arrays."""
        numbers = [float(self.k), self.share, float(self.halvings), float(self.convex)]
        return {
            "mean": self.law.mean,
            "covariance": self.law.covariance,
            "numbers": np.array(numbers),
            "curve": np.array(self.curve).reshape(-1, 3),
        }


def restored(kept: Mapping[str, NDArray[Any]], judge: Callable[[Array, Array], Law]) -> Descent:
    """The state from what `stored` made."""
    k, share, halvings, convex = kept["numbers"].tolist()
    curve = [(row[0], row[1], row[2]) for row in kept["curve"].tolist()]
    law = judge(kept["mean"], kept["covariance"])
    return Descent(law, int(k), share, int(halvings), bool(convex), curve)


def descended(
    mean: Array,
    covariance: Array,
    target: Target,
    rule: Rule,
    *,
    steps: int,
    step: float | str,
    tol: float,
    watch: Watch,
) -> tuple[Descent, bool]:
    """Steps until the gradient vanishes; whether it has. A step after which the KL is larger is halved."""
    judge = partial(judged, rule=rule, target=target)
    kept = watch.kept()
    state = Descent(judge(mean, covariance)) if kept is None else restored(kept, judge)
    for k, height, size in state.curve:
        _tell(watch, int(k), height, size)
    while state.law.size > tol:
        if state.k >= steps or state.halvings >= HALVINGS:
            return state, False
        law = state.law
        state.convex = state.convex and law.convex
        length = float(step) if not isinstance(step, str) else min(1.0 / law.steepest, law.widest)
        tried = judge(*stepped(law, state.share * length))
        if _worse(tried, law, rule):
            state.share, state.halvings = state.share / 2, state.halvings + 1
            continue
        state.law, state.k = tried, state.k + 1
        state.share = min(1.0, REGROWN * state.share)
        state.curve.append((state.k, tried.height, tried.size))
        _tell(watch, state.k, tried.height, tried.size)
        watch.keep(state.stored)
    return state, True


def _worse(tried: Law, law: Law, rule: Rule) -> bool:
    """Whether the KL is larger, by more than the rule is off; of scores alone, far more out of balance."""
    if math.isnan(law.height):
        return not tried.size <= 2.0 * law.size
    slack = SLACK if rule.exact else ROUGH
    return not tried.height <= law.height + slack * (1.0 + abs(law.height))


def _tell(watch: Watch, k: int, height: float, size: float) -> None:
    """The objective where it is known."""
    known = {} if math.isnan(height) else {"objective": height}
    watch.step(k, **known, gradient=size)
