"""A parametric map fitted with the Sinkhorn divergence, and with the Monge gap as its regulariser."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from divmatch.matcher import Fit, Watch
from divmatch.samples import Samples
from divmatch.settings import Setting
from divmatch.transport import costs
from divmatch.transport.entropic import Effort
from divmatch.transport.flow_sinkhorn import sent
from divmatch.transport.frame import Frame, rms
from divmatch.transport.map_gaussian import bures_map, gaussian_of
from divmatch.transport.mapping import MAP, mapped
from divmatch.transport.maps import Series
from divmatch.transport.problem import Regularised, Support, Term, between, within
from divmatch.transport.sinkhorn import Eps
from divmatch.transport.solution import ABSOLUTE

Array = NDArray[np.float64]

Features = Annotated[
    int, Setting("random frequencies beside the affine part; 0 for an affine map", least=0)
]
Penalty = Annotated[float, Setting("weight of the Monge gap in the objective", least=0)]
Steps = Annotated[int, Setting("most steps", least=1)]
Fall = Annotated[
    float,
    Setting("share of the objective by which a step must lower it to go on", above=0, below=1),
]

PRECISE, SWEEPS = 1e-7, 2000  # marginal error of the terms, and the most sweeps for each
FLAT = 1e-10  # of the largest variance of a feature: directions that rounding has made
KEPT = 20  # steps whose curvature is kept


@dataclass(frozen=True, eq=False)
class Basis:
    """Functions of a row, made uncorrelated with variance 1: features times ``whitening``."""

    features: Array
    mean: Array
    whitening: Array

    @classmethod
    def of(cls, features: Array, masses: Array) -> "Basis":
        """Directions without variance are left out."""
        mean = masses @ features
        centred = features - mean
        values, vectors = np.linalg.eigh((centred * masses[:, None]).T @ centred)
        kept = values > FLAT * max(float(values[-1]), 0.0)
        whitening = vectors[:, kept] / np.sqrt(values[kept])
        return cls(centred @ whitening, mean, whitening)


class Objective:
    """S_eps(T(P), Q) + penalty (E |x − T(x)|² − S_eps(T(P), P)) of the rows T(x), and its gradient.

    At penalty 1 the two parts share OT_eps(T(P), T(P)), which is left out. P is centred at Q's mean: the
    gap is the same for all translations.
    """

    def __init__(self, p: Support, q: Support, eps: float, penalty: float) -> None:
        self.p, self.q, self.penalty = p, q, penalty
        self.of = Regularised("sqeuclidean", eps, math.inf, Effort(PRECISE, SWEEPS, fine=False))
        self.near: dict[str, Term] = {}
        self.fixed = -0.5 * within(q, self.of).value
        if penalty > 0:
            self.fixed += 0.5 * penalty * within(p, self.of).value

    def at(self, points: Array) -> tuple[float, Array]:
        """The value, and its gradient by the rows."""
        moved = Support(points, self.p.weights, self.p.rows)
        value, pull = self._term("q", moved, self.q)
        own = 0.5 * (self.penalty - 1.0)
        if self.penalty > 0:
            gaps = points - self.p.points
            against, push = self._term("p", moved, self.p)
            paid = float(self.p.weights @ np.einsum("ij,ij->i", gaps, gaps))
            value += self.penalty * (paid - against)
            pull = pull + self.penalty * (2.0 * gaps - push)
        if own != 0.0:
            near = self.near.get("own")
            term = self.near["own"] = within(moved, self.of, None if near is None else near.f)
            value += own * term.value
            pull = pull + 4.0 * own * (points - sent(points, moved, term.g, self.of.eps))
        return value + self.fixed, self.p.weights[:, None] * pull

    def _term(self, name: str, moved: Support, to: Support) -> tuple[float, Array]:
        """OT_eps to one of the samples, and its gradient by a row divided by the row's weight."""
        start = costs.mean("sqeuclidean", moved.points, to.points, moved.weights, to.weights)
        term = self.near[name] = between(moved, to, self.of, start, self.near.get(name))
        there = sent(moved.points, to, term.g, self.of.eps)
        return term.value, 2.0 * (moved.points - there)


@MAP.method("monge", source="Uscidda & Cuturi 2023, arXiv 2302.04953, eq. 8", long=True)
def monge(
    x: Samples,
    y: Samples,
    *,
    features: Features = 10,
    penalty: Penalty = 1.0,
    eps: Eps = 0.05,
    steps: Steps = 200,
    fall: Fall = 1e-8,
    rng: "np.random.Generator",
    watch: Watch,
) -> Fit:
    """Rows of P moved by a parametric map that makes them like Q, and goes no longer ways than it must.

    T(x) = m + B φ(x) with φ the columns, and K cosines and sines of random frequencies (those of the
    Gaussian kernel whose bandwidth is P's spread): smooth, and few numbers, however many rows. It
    minimises S_eps(T(P), Q) + penalty · (E |x − T(x)|² − S_eps(T(P), P)): the Sinkhorn divergence from Q,
    and the debiased Monge gap, which is 0 where T is the cheapest map to its image. The gradient
    is that of the potentials; the steps are those of L-BFGS from the map between Gaussians.

    With --features 0 it is affine: between Gaussians the map of the method gaussian, else the one that is
    best for all of Q, not for two moments. More features bend it more, and fit what is chance in few
    rows: the figure after tells. --penalty 0 lets the map fold and turn P.

    Parameters
    ----------
    x, y : Samples
        As for the method gaussian.
    features : int
        Random frequencies K.
    penalty : float
        Weight of the Monge gap, at least 0.
    eps : float or str
        Regularisation as a share of the mean cost between two rows of Q, or abs:X in the cost's unit.
    steps : int
        Most steps.
    fall : float
        It has converged when a step lowers the objective by less than this share.
    rng : numpy.random.Generator
        Draws the frequencies; unused without features.
    watch : Watch
        Is told the objective and the largest slope of every step.

    Returns
    -------
    Fit
        The rows moved, in P's order and units.

    Notes
    -----
    Cost: a step two entropic transport problems of n rows (three unless the penalty is 1), O(n (n + m) d)
    time a sweep; O((n + m) d + n K) memory.

    Source: Uscidda & Cuturi 2023 (ICML, arXiv 2302.04953), equation 8; features: Rahimi & Recht 2007
    (NeurIPS).

    Examples
    --------
    >>> import divmatch
    >>> found = divmatch.match.map([0.0, 1.0], [2.0, 5.0], method="monge", metric="none")
    >>> found.points[:, 0].round(3).tolist()
    [2.0, 5.0]
    """
    frame = Frame.of(x, y)
    p, q = (_framed(Support.of(samples), frame) for samples in (x, y))
    centre = p.weights @ p.points
    spread = rms(p.points - centre, p.weights) / math.sqrt(x.d) or 1.0
    frequencies = rng.standard_normal((features, x.d)) if features else np.empty((0, x.d))
    made = Series(centre, np.zeros(x.d), frequencies, np.zeros((x.d + 2 * features, x.d)), spread)
    basis = Basis.of(made.features(p.points), p.weights)
    least = costs.mean("sqeuclidean", q.points, q.points, q.weights, q.weights)
    own = spread**2 * x.d
    absolute = _absolute(eps, least if least > FLAT * own else own, frame.scale)
    home = Support(p.points - centre, p.weights, p.rows)
    objective = Objective(home, q, absolute, penalty)
    found = _descended(objective, basis, _start(x, y, frame, basis), steps, fall, watch)
    coefficients = basis.whitening @ found["slopes"]
    target = found["target"] - basis.mean @ coefficients
    whole = Series(
        frame.outward(centre),
        frame.outward(target),
        frequencies,
        frame.scale * coefficients,
        frame.scale * spread,
    )
    unit = frame.scale**2
    return mapped(
        x,
        whole,
        converged=bool(found["converged"]),
        params={"eps": f"{ABSOLUTE}{absolute * unit!r}"},
        facts={
            "steps": int(found["steps"]),
            "objective_before": unit * float(found["before"]),
            "objective": unit * float(found["objective"]),
        },
    )


def _framed(support: Support, frame: Frame) -> Support:
    return Support(frame.inward(support.points), support.weights, support.rows)


def _absolute(eps: float | str, mean: float, scale: float) -> float:
    """The regularisation in the frame."""
    if isinstance(eps, str):
        return float(eps.removeprefix(ABSOLUTE)) / scale**2
    return eps * mean


def _start(x: Samples, y: Samples, frame: Frame, basis: Basis) -> tuple[Array, Array]:
    """Target and slopes of the map between Gaussians, in the basis; Q's mean where one row has no shape."""
    p, q = (_framed(Support.of(samples), frame) for samples in (x, y))
    if min(len(p.weights), len(q.weights)) < 2:
        return q.weights @ q.points, np.zeros((basis.features.shape[1], x.d))
    first, second = (
        gaussian_of(replace(samples, points=frame.inward(samples.points), _derived={}), "auto")[0]
        for samples in (x, y)
    )
    points = bures_map(first, second)(p.points)
    target = p.weights @ points
    return target, (basis.features * p.weights[:, None]).T @ (points - target)


def _descended(
    objective: Objective,
    basis: Basis,
    start: tuple[Array, Array],
    steps: int,
    fall: float,
    watch: Watch,
) -> Mapping[str, Any]:
    """Where L-BFGS leads; it goes on from what the watch has kept."""
    from scipy.optimize import minimize

    d = len(start[0])
    kept = watch.kept() or {}
    theta = kept.get("theta", np.concatenate([start[0], start[1].ravel()]))
    curve = [tuple(row) for row in np.asarray(kept.get("curve", ())).reshape(-1, 2).tolist()]
    last: dict[str, Any] = {}

    def at(theta: Array) -> tuple[float, Array]:
        target, slopes = theta[:d], theta[d:].reshape(-1, d)
        value, gradient = objective.at(target + basis.features @ slopes)
        slope = np.concatenate([gradient.sum(axis=0), (basis.features.T @ gradient).ravel()])
        last.update(value=value, slope=float(np.abs(slope).max()))
        return value, slope

    for k, row in enumerate(curve):
        watch.step(k + 1, objective=row[0], slope=row[1])

    def told(theta: Array) -> None:
        curve.append((last["value"], last["slope"]))
        watch.step(len(curve), objective=last["value"], slope=last["slope"])
        watch.keep(lambda: {"theta": theta, "curve": np.array(curve), "before": np.array(before)})

    before = float(kept["before"]) if "before" in kept else at(theta)[0]
    left = steps - len(curve)
    if left > 0:
        options = {"maxiter": left, "maxfun": 20 * left, "maxcor": KEPT, "ftol": fall, "gtol": 1e-9}
        end = minimize(at, theta, jac=True, method="L-BFGS-B", callback=told, options=options)
        theta, value, converged = end.x, float(end.fun), end.status == 0
    else:
        value, converged = at(theta)[0], False
    return {
        "target": theta[:d], "slopes": theta[d:].reshape(-1, d), "steps": len(curve),
        "before": before, "objective": value, "converged": converged,
    }  # fmt: skip
