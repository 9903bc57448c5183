"""Kernel mean matching: weights of P's rows whose mean in a kernel's space is nearest to Q's."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from divmatch.bandwidth import Bandwidth, resolved
from divmatch.errors import counted
from divmatch.kernel_names import Kernel, check_unscaled, form_of, kernel_named
from divmatch.kernels.execution import execution
from divmatch.kernels.pairwise import Profile, cross_sums
from divmatch.matcher import Array, Figure, Fit, Watch
from divmatch.record import Note
from divmatch.samples import Samples
from divmatch.settings import Setting
from divmatch.transport.balancing import MaxWeight
from divmatch.transport.interior_point import Minimum, minimum
from divmatch.transport.kernel_factor import BLOCK, SMALL, Dense, LowRank, Rows, low_rank
from divmatch.transport.reweighting import WEIGHTS

Ridge = Annotated[float, Setting("share of the kernel's spread added to its diagonal", least=0)]
Tolerance = Annotated[
    float, Setting("share of the kernel's spread by which MMD² may be above its minimum", above=0)
]
GAUSSIAN = kernel_named("gaussian")


@WEIGHTS.method("kmm", source="Huang, Smola, Gretton, Borgwardt & Schölkopf 2006, NIPS 19")
def kmm(
    x: Samples,
    y: Samples,
    *,
    kernel: Kernel = GAUSSIAN,
    bandwidth: Bandwidth = "median",
    max_weight: MaxWeight = float("inf"),
    ridge: Ridge = 1e-8,
    tol: Tolerance = 1e-6,
    watch: Watch,
) -> Fit:
    """Weights of P's rows whose mean in a kernel's space is as near to Q's as weights can be.

    min w'Kw/2 − μ'w over w ≥ 0, Σ w = 1, wᵢ ≤ B · qᵢ, with Kᵢⱼ = k(xᵢ, xⱼ), μᵢ = Σⱼ bⱼ k(xᵢ, yⱼ) and
    q the weights that P came with: half of the squared MMD between weighted P and Q, less a constant. With
    the kernel riesz:1 it is the energy distance: energy balancing.

    Use it when nobody knows which moments matter: a kernel sees all of them, the smooth ones first. Few rows
    may carry the weight: the effective size tells. The weights fit P's own rows, and there are none for
    others: the figure
    after holds out rows of Q alone, and is measured with every pair counted.

    Parameters
    ----------
    x, y : Samples
        Rows of P, shape (n, d), and of Q, shape (m, d), weighted or not.
    kernel : str
        gaussian, laplace, imq, matern[:0.5|1.5|2.5], rq, riesz:R, poly or mix, as for mmd.
    bandwidth : float or str
        s, a number; median: of the pooled rows' distances; reference: of those of P alone.
    max_weight : float
        B, the largest wᵢ/qᵢ, above 1, or inf.
    ridge : float
        Added to K's diagonal, as a share of the mean squared distance of P's rows from their mean in
        the kernel's space.
    tol : float
        The squared MMD is at most so much above its minimum, as such a share; certified by the gap.
    watch : Watch
        Is told the gap of every step, as such a share.

    Returns
    -------
    Fit
        Weights, sum 1; `mmd2` before and after on these rows, the `gap` to the minimum.

    Raises
    ------
    SettingError
        For a bandwidth out of proportion.

    Notes
    -----
    Cost: about 15 steps of O(n r²) for a kernel whose factor of rank r is as exact as ``tol`` asks, r up
    to n/2; else of O(n³ / 3), with n² numbers in memory. Where these do not fit (--max-memory) the
    largest factor that fits stands for the kernel, with a warning.

    Source: Huang, Smola, Gretton, Borgwardt & Schölkopf 2006, Correcting sample selection bias by
    unlabeled data, NIPS 19, eq. (5), with Σ w = 1; Huling & Mak 2024, J. Causal Inference 12 (riesz:1).

    Examples
    --------
    >>> import divmatch
    >>> x, y = [-1.0, 0.0, 1.0], [-1.0, -1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    >>> found = divmatch.match.weights(x, y, method="kmm", bandwidth=1.0, ridge=0, metric="none")
    >>> found.weights.round(3).tolist()
    [0.2, 0.3, 0.5]
    """
    q = x.masses()
    rows = np.flatnonzero(q > 0)
    kept, base = np.ascontiguousarray(x.points[rows]), q[rows]
    profile, sign, scale, notes = resolved_kernel(kernel, bandwidth, x, y)
    of = Rows(profile, sign, kept)
    target = target_of(of, y)
    spread = spread_of(of, base)
    problem, more = _kernel(of, tol * spread)
    found = minimum(
        _Ridged(problem, ridge * spread),
        target.mu,
        np.minimum(max_weight * base, 2.0),  # above 1 there is no bound
        base,
        tolerance=tol * spread,
        told=lambda step, gap: watch.step(step, gap=gap / spread),
    )
    return _fit(x, rows, base, problem, target, found, scale, (*notes, *more))


def resolved_kernel(
    kernel: str, bandwidth: float | str, x: Samples, y: Samples
) -> tuple[Profile, float, float | None, tuple[Note, ...]]:
    """The kernel as sign times a profile, its scale."""
    name = kernel_named(kernel)
    scale, notes = None, tuple[Note, ...]()
    if name.scaled:
        scale, notes = resolved(bandwidth, x, y)
    elif bandwidth != "median":
        check_unscaled(name, float(bandwidth) if not isinstance(bandwidth, str) else "agg", x, y)
    form = form_of(name, 1.0 if scale is None else scale)
    return form.profile, -form.sign, scale, notes


@dataclass(frozen=True, eq=False)
class Target:
    """Mean kernel of every row with Q, and of Q with itself."""

    mu: Array
    own: float

    def mmd2(self, kernel: Dense | LowRank, w: Array) -> float:
        """The squared MMD between the weighted rows and Q, without a ridge."""
        return max(float(w @ kernel.times(w) - 2.0 * w @ self.mu) + self.own, 0.0)


def target_of(of: Rows, y: Samples) -> Target:
    """Sums over the rows of Q, streamed."""
    b = y.masses()
    mu, _ = cross_sums(of.profile, of.points, y.points, np.full(len(of.points), 1.0), b)
    own, _ = cross_sums(of.profile, y.points, y.points, b, b)
    return Target(of.sign * mu + of.offset, of.sign * float(b @ own))


def spread_of(of: Rows, base: Array) -> float:
    """Mean squared distance of the rows from their mean in the kernel's space."""
    sums, _ = cross_sums(of.profile, of.points, of.points, base, base)
    diagonal = of.sign * of.profile.own(of.points)
    return max(float(base @ diagonal) - of.sign * float(base @ sums), 1e-300)


def _kernel(of: Rows, error: float) -> tuple[Dense | LowRank, tuple[Note, ...]]:
    """All pairs of few rows; a factor of low rank if it is as good as all pairs, or they do not fit."""
    n, room = len(of.points), execution().memory
    if n <= SMALL and 8 * n * n <= room:
        return Dense(of), ()
    fits = 8 * n * n <= room
    found, left = low_rank(of, error, n // 2 if fits else max(BLOCK, room // (24 * n)))
    if left <= error:
        return found, ()
    if fits:
        return Dense(of), ()
    return found, (
        Note(
            "W72",
            f"the kernel of {counted(n, 'row')} needs {8 * n * n >> 20} MiB (at most {room >> 20}): a factor "
            f"of {counted(found.factor.shape[1], 'column')} stands for it, off by up to {left:.2g}; raise "
            "--max-memory",
        ),
    )


@dataclass(frozen=True, eq=False)
class _Ridged:
    """A kernel with a ridge on its diagonal."""

    kernel: Dense | LowRank
    ridge: float

    def times(self, v: Array) -> Array:
        return self.kernel.times(v) + self.ridge * v

    def solver(self, diagonal: Array) -> Callable[[Array], Array]:
        return self.kernel.solver(diagonal + self.ridge)


def _fit(
    x: Samples,
    rows: NDArray[np.intp],
    base: Array,
    kernel: Dense | LowRank,
    target: Target,
    found: Minimum,
    scale: float | None,
    notes: tuple[Note, ...],
) -> Fit:
    w = found.weights / found.weights.sum()
    weights = np.zeros(x.n)
    weights[rows] = w
    before, after = target.mmd2(kernel, base), target.mmd2(kernel, w)
    return Fit(
        weights=weights,
        converged=found.converged,
        facts={
            "mmd2_before": before,
            "mmd2_after": after,
            "gap": 2.0 * found.gap,
            "steps": found.steps,
        },
        params={} if scale is None else {"bandwidth": scale},
        notes=notes,
        figure=Figure("mmd2", before, after),
    )
