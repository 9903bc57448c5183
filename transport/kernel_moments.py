"""Kernel method of moments: weights near a sample in a kernel's space that meet moments exactly."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from divmatch.bandwidth import Bandwidth
from divmatch.errors import InconclusiveError, SettingError, counted
from divmatch.kernel_names import Kernel
from divmatch.kernels.execution import execution
from divmatch.kernels.pairwise import cross_sums
from divmatch.matcher import Array, Figure, Fit, Watch
from divmatch.record import Note
from divmatch.samples import Samples
from divmatch.settings import Setting
from divmatch.transport.balancing import (
    Delta,
    Interactions,
    MarginsFile,
    Moments,
    imbalance,
    refuse,
    wanted_of,
)
from divmatch.transport.constraints import Constraints, unconstrained
from divmatch.transport.kernel_factor import BLOCK, SMALL, LowRank, Rows, left_over, low_rank
from divmatch.transport.mean_matching import (
    GAUSSIAN,
    resolved_kernel,
    spread_of,
    target_of,
)
from divmatch.transport.moment_dual import Problem, Tilt, tilted
from divmatch.transport.reweighting import WEIGHTS

Price = Annotated[
    float,
    Setting("price of the divergence from the weights before, over the kernel's spread", above=0),
]
Beyond = Annotated[int, Setting("rows drawn near P's that may have weight too", least=0)]
Jitter = Annotated[
    float, Setting("how far from P's rows they are drawn", above=0, unit="standard deviations of P")
]
CLOSE, EXACT = 1e-4, 1e-12  # of the spread, that a factor may be off: for many rows, for few
ROUNDED = 1e-12
WIDEST = 1500  # columns of a factor: beyond them a step takes minutes


@WEIGHTS.method(
    "mmd",
    source="Kremer, Nemmour, Schölkopf & Zhu 2023, arXiv 2305.10898 (kernel method of moments)",
    candidate="optional",
)
def mmd(
    x: Samples,
    y: Samples | None,
    *,
    kernel: Kernel = GAUSSIAN,
    bandwidth: Bandwidth = "median",
    eps: Price = 0.05,
    moments: Moments = 1,
    interactions: Interactions = False,
    margins: MarginsFile = None,
    delta: Delta = 0.0,
    beyond: Beyond = 0,
    jitter: Jitter = 0.1,
    rng: "np.random.Generator",
    watch: Watch,
) -> Fit:
    """Weights nearest to Q in a kernel's space among those that reproduce moments: kernel method of moments.

    min MMD²(w, T)/2 + ε KL(w || q) subject to Σ w = 1 and Σ wᵢ φ(xᵢ) = m: wᵢ ∝ qᵢ exp((f(xᵢ) + λ·φ(xᵢ))/ε),
    where f = E_T k(·, t) − Σ wⱼ k(·, xⱼ) is what the kernel still sees. T is Q, or P itself where only
    --margins are given: then the weights stay near P in all that the kernel sees. φ and m are those of the
    method entropy; --moments 0 asks for none but the margins. With --beyond N the reference q has N
    rows more, drawn around P's: -o FILE.npz or .parquet holds them and all weights.

    Use it for moments that are known to matter and a kernel for the rest: between entropy (large --eps) and
    kmm (small --eps), and unlike kmm it has weights for rows that it has not seen. --beyond is for
    moments that no weights of P's own rows can have.

    Parameters
    ----------
    x, y : Samples
        Rows of P, shape (n, d), and of Q, shape (m, d), weighted or not; y is None with margins alone.
    kernel : str
        As for the method kmm.
    bandwidth : float or str
        As for the method kmm.
    eps : float
        ε as a share of the mean squared distance of P's rows from their mean in the kernel's space.
    moments : int
        As for the method entropy; 0 for none.
    interactions : bool
        As for the method entropy.
    margins : str
        As for the method entropy.
    delta : float
        As for the method entropy.
    beyond : int
        N rows drawn by weight from P, each moved by a normal step; columns of numbers alone.
    jitter : float
        Standard deviation of that step, in those of each column.
    rng : numpy.random.Generator
        Draws the rows.
    watch : Watch
        Is told the largest residual of every step.

    Returns
    -------
    Fit
        Weights, sum 1; residuals are at most 1e-8 standard deviations. `mmd2` before and after on these
        rows, the `objective` and its proven `gap` to the minimum; with --beyond all rows.

    Raises
    ------
    SettingError
        When there is nothing to come near to or to reproduce; for new rows with words among the columns.
    InconclusiveError
        When no weights meet the constraints; each one that fails is named.

    Notes
    -----
    Cost: O(n (r + k)²) a Newton step for k moments and a factor of rank r, about ten steps. Above 1000
    rows r is at most 1500, and MMD² may be off by 1e-4 of the kernel's spread; W72 where it is more.

    Source: Kremer, Nemmour, Schölkopf & Zhu 2023, Estimation beyond data reweighting: kernel method of
    moments, arXiv 2305.10898, eq. (4) and its dual, with φ(t) = t ln t, exact kernels in the place of
    random features, and moments without free parameters.

    Examples
    --------
    >>> import divmatch
    >>> x, y = [-1.0, 0.0, 1.0], [0.0, 0.0, 1.0, 1.0]
    >>> found = divmatch.match.weights(x, y, method="mmd", bandwidth=1.0, metric="none")
    >>> round(float(found.weights @ x), 8)
    0.5
    """
    reference = _beyond(x, beyond, jitter, rng) if beyond else x
    wanted = _wanted(reference, y, moments, interactions, margins, delta)
    target = x if y is None else y
    form, notes = _form(kernel, bandwidth, x, target)
    fitted = _Fitted.of(reference, target, wanted, form, eps, delta, watch)
    if not fitted.found.converged:
        refuse(wanted, reference.masses(), fitted.rows, None, delta, x)
    return _fit(x, reference, y, wanted, fitted, (*notes, *wanted.notes))


def _beyond(x: Samples, number: int, jitter: float, rng: "np.random.Generator") -> Samples:
    """P's rows with as many drawn around them; every row of both has the same share."""
    _, numbers, _ = x.origin.get("layout", (None, x.d, x.d))
    if numbers < x.d:
        raise SettingError(
            f"--beyond: {x.name} has words or missing values, near which nothing can be drawn; choose "
            "columns of numbers with --columns, and --na drop or mean"
        )
    q = x.masses()
    spread = np.sqrt(q @ (x.points - q @ x.points) ** 2)
    drawn = x.points[rng.choice(x.n, number, p=q)]
    drawn += jitter * spread * rng.standard_normal(drawn.shape)
    return _joined(x, drawn)


def _joined(x: Samples, drawn: Array) -> Samples:
    """The reference: rows of P and drawn ones."""
    share = x.n / (x.n + len(drawn))
    each = np.full(len(drawn), (1.0 - share) / len(drawn))
    return replace(
        x,
        points=np.vstack([x.points, drawn]),
        weights=np.concatenate([share * x.masses(), each]),
        beside={},
        _derived={},
    )


def _wanted(
    reference: Samples,
    y: Samples | None,
    moments: int,
    interactions: bool,
    margins: str | None,
    delta: float,
) -> Constraints:
    """Moments of Q and margins; none where none are asked for."""
    if y is not None and margins is None and moments == 0 and not interactions:
        return unconstrained(reference)
    return wanted_of(reference, y, moments, interactions, margins, delta)


@dataclass(frozen=True, eq=False)
class _Form:
    """A kernel as sign times a profile, and what the record says of it."""

    of: Callable[[Array], Rows]
    params: dict[str, float]


def _form(
    kernel: str, bandwidth: float | str, x: Samples, y: Samples
) -> tuple[_Form, tuple[Note, ...]]:
    profile, sign, scale, notes = resolved_kernel(kernel, bandwidth, x, y)
    params = {} if scale is None else {"bandwidth": scale}
    return _Form(lambda points: Rows(profile, sign, points), params), notes


@dataclass(frozen=True, eq=False)
class _Fitted:
    """The rows that may have weight, their kernel with each other and with T, the solution."""

    rows: NDArray[np.intp]
    base: Array
    kernel: Rows
    target: Samples
    own: float
    mu: Array
    factor: LowRank
    left: float
    eps: float
    found: Tilt
    params: dict[str, float]

    @classmethod
    def of(
        cls,
        reference: Samples,
        target: Samples,
        wanted: Constraints,
        form: _Form,
        eps: float,
        delta: float,
        watch: Watch,
    ) -> "_Fitted":
        """Solve the dual."""
        q = np.where(wanted.allowed, reference.masses(), 0.0)
        q /= q.sum()
        rows = np.flatnonzero(q > 0)
        kernel = form.of(np.ascontiguousarray(reference.points[rows]))
        seen = target_of(kernel, target)
        least = ROUNDED * float(q[rows] @ np.abs(kernel.diagonal()))  # of one row it is rounding
        spread = max(spread_of(kernel, q[rows]), least)
        factor = _factor(kernel, spread, q[rows])
        features = wanted.features[rows] - wanted.targets
        mu = seen.mu - q[rows] @ seen.mu  # a constant tilts nothing, and rounds
        problem = Problem(factor.factor, mu, eps * spread, features, q[rows], delta, spread)
        found = tilted(problem, lambda step, worst: watch.step(step, residual=worst))
        left = max(left_over(factor.rest, w) for w in (q[rows], found.weights)) / spread
        return cls(
            rows, q[rows], kernel, target, seen.own, seen.mu, factor, left, eps * spread, found, form.params
        )  # fmt: skip

    def mmd2(self, w: Array) -> float:
        """Squared MMD between weighted rows and T."""
        return max(float(w @ self.factor.times(w) - 2.0 * w @ self.mu) + self.own, 0.0)

    def growth(self, points: Array, features: Array) -> Array:
        """w/q at other rows: the witness f and the moments tilt them as those of the fit."""
        of, w, ones = self.kernel, self.found.weights, np.ones(len(points))
        near, _ = cross_sums(of.profile, points, self.target.points, ones, self.target.masses())
        own, _ = cross_sums(of.profile, points, of.points, ones, w)
        centre = float(w @ of.offset) + float(self.base @ self.mu)
        witness = of.sign * (near - own) - centre
        exponents = witness / self.eps + features @ self.found.multipliers - self.found.log_total
        made: Array = np.exp(np.minimum(exponents, 700.0))
        return made

    def notes(self, x: Samples) -> tuple[Note, ...]:
        """Where a factor stands for the kernel and is not near to it."""
        if self.left <= 2.0 * CLOSE:  # the weights are others than those that the factor was for
            return ()
        columns = counted(self.factor.factor.shape[1], "column")
        return (
            Note(
                "W72",
                f"{x.name}: a factor of {columns} stands for the kernel of {counted(len(self.rows), 'row')}, "
                f"and MMD² is off by up to {self.left:.2g} of its spread",
            ),
        )


def _factor(of: Rows, spread: float, q: Array) -> LowRank:
    """As many columns as the kernel needs, as fit into memory, and as a step can do with."""
    n, room = len(of.points), execution().memory
    if n <= SMALL:
        return low_rank(of, EXACT * spread, n)[0]
    most = min(n, WIDEST, max(BLOCK, room // (24 * n)))
    return low_rank(of, CLOSE * spread, most, q)[0]


def _fit(
    x: Samples,
    reference: Samples,
    y: Samples | None,
    wanted: Constraints,
    fitted: _Fitted,
    notes: tuple[Note, ...],
) -> Fit:
    found = fitted.found
    weights = np.zeros(reference.n)
    weights[fitted.rows] = found.weights
    before, after = fitted.mmd2(fitted.base), fitted.mmd2(found.weights)
    kept = found.weights > 0
    kl = float(found.weights[kept] @ np.log(found.weights[kept] / fitted.base[kept]))
    facts: dict[str, float | int | None] = {
        "constraints": len(wanted.gaps(weights)),
        "residual": found.residual,
        "mmd2_before": before,
        "mmd2_after": after,
        "objective": 0.5 * after + fitted.eps * kl,
        "gap": found.gap,
        "kl": kl,
        "steps": found.steps,
    }
    drawn = reference.points[x.n :]
    if len(drawn):
        facts |= {"drawn": len(drawn), "drawn_mass": float(weights[x.n :].sum())}
    return Fit(
        weights=weights,
        points=reference.points if len(drawn) else None,
        extend=_extension(wanted, fitted, drawn),
        converged=found.converged,
        facts=facts,
        params=fitted.params,
        arrays={"multipliers": found.multipliers * fitted.eps},
        notes=(*notes, *fitted.notes(x)),
        figure=Figure("mmd2", before, after)
        if y is not None
        else imbalance(wanted, weights, reference),
    )


def _extension(wanted: Constraints, fitted: _Fitted, drawn: Array) -> Callable[[Samples], Samples]:
    """The same weights for other rows of P beside the drawn ones; none grows more than one in the fit."""
    most = float((fitted.found.weights / fitted.base).max())

    def extend(samples: Samples) -> Samples:
        whole = _joined(samples, drawn) if len(drawn) else samples
        features, inside = wanted.of(whole)
        t = np.minimum(fitted.growth(whole.points, features - wanted.targets), most)
        weights = whole.masses() * np.where(inside, t, 0.0)
        if not weights.sum() > 0:
            raise InconclusiveError("held-out rows of P are beyond what the fitted weights cover")
        return replace(whole, weights=weights / weights.sum(), _derived={})

    return extend
