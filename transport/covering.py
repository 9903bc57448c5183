"""Rows whose kernels cover a density: lazy greedy for a submodular f-divergence."""

import math
from collections.abc import Callable
from typing import Annotated, Literal

import numpy as np

from divmatch.kernels import pairwise
from divmatch.kernels.backend import host_twin
from divmatch.kernels.execution import in_order, steps_of
from divmatch.matcher import Array, Fit, Watch
from divmatch.samples import Samples
from divmatch.settings import Setting
from divmatch.transport.selection import (
    SELECT,
    Bandwidth,
    Number,
    Rows,
    Weighted,
    Whole,
    chosen,
    whole_of,
)

Kind = Annotated[Literal["kl", "hellinger"], Setting("which divergence of the densities")]
Floor = Annotated[
    float, Setting("share of the density that is there before any row is chosen", above=0, below=1)
]
BATCH = 32  # rows whose gains are found at once
PROVEN = 1.0 - math.exp(-1.0)  # of the largest gain, whatever the data
COLUMNS = 4096  # target rows of a tile


@SELECT.method(
    "greedy",
    source="Tiulpin & Blaschko 2021 (arXiv 2105.14275); Nemhauser, Wolsey & Fisher 1978",
    candidate="optional",
    variant="kind",
)
def greedy(
    x: Samples,
    y: Samples | None,
    *,
    n: Number = None,
    kind: Kind = "kl",
    floor: Floor = 0.01,
    bandwidth: Bandwidth = "median",
    weighted: Weighted = False,
    rng: "np.random.Generator",
    watch: Watch,
) -> Fit:
    """K rows of P whose kernels cover the density of Q, or of P: greedy in an f-divergence.

    The kernel density p of the target T, with gaussians exp(−r²/(2s²)), is to be met by
    q = (1/K) Σₛ k(·, xₛ), whose 1/K stays the same while rows are added: only so is the divergence
    submodular. With r = ε + (1 − ε) q/p at as many draws from p as T has rows, kl minimises −mean ln r,
    hellinger 1 − mean √r. Each row chosen is the one with the largest gain; gains only fall, so that
    most need not be found again (lazy greedy).

    Use it where regions that are missed cost more than regions that are met twice: a larger --floor
    asks less of the far ends. Guarantee: the gain over no rows is at least 1 − 1/e (63 %) of the
    largest that any K rows could have; `share` is the part that is certain here, often more.

    Parameters
    ----------
    x, y : Samples
        Rows of P, shape (n, d), that are chosen from, and of Q, shape (m, d); y is None to represent P.
    n : int
        K, how many rows to choose.
    kind : str
        kl or hellinger.
    floor : float
        ε, between 0 and 1.
    bandwidth : float or str
        As for the method herding; half of the median or less sees finer shapes.
    weighted : bool
        As for the method herding.
    rng : Generator
        Draws from the density.
    watch : Watch
        Is told the divergence after every row.

    Returns
    -------
    Fit
        As for the method herding, with `divergence`, `share` and the number of `evaluations` of gains.

    Raises
    ------
    SettingError
        When there are fewer than K rows.

    Notes
    -----
    Cost: O(n m d) time for the first gains, O(m d) for each that is found again; O(n + m) memory.

    Source: Tiulpin & Blaschko 2021, arXiv 2105.14275 (the divergence of an ensemble); Nemhauser,
    Wolsey & Fisher 1978, Mathematical Programming 14 (the bound); Minoux 1978 (lazy gains).

    Examples
    --------
    >>> import divmatch
    >>> found = divmatch.match.select([0.0, 0.1, 0.2, 7.0], method="greedy", n=2, bandwidth=1)
    >>> 3 in found.rows
    True
    """
    whole = whole_of(x, y, "gaussian", bandwidth, n)
    cover = Cover(whole, n or 0, kind, floor, rng)
    rows = cover.choose(watch)
    facts: dict[str, float | int | None] = {
        "divergence": cover.divergence(),
        "share": cover.share(),
        "evaluations": cover.evaluations,
    }
    return chosen(whole, rows, None, weighted=weighted, facts=facts)


Concave = Callable[[Array], Array]
CONCAVE: dict[str, Concave] = {"kl": np.log, "hellinger": np.sqrt}


class Cover:
    """The ratio r of the rows chosen so far to the target, and bounds on what any row would gain."""

    def __init__(
        self, whole: Whole, number: int, kind: str, floor: float, rng: "np.random.Generator"
    ) -> None:
        self.whole, self.number, self.kind = whole, number, kind
        self.concave = CONCAVE[kind]
        carrying = whole.shares > 0
        target, self.shares = whole.target[carrying], whole.shares[carrying]
        profile = whole.form.profile
        self.places = target + profile.scale * rng.standard_normal(target.shape)
        density = pairwise.cross_sums(profile, self.places, target, self.shares, self.shares)[0]
        self.ratio = np.full(len(target), floor)
        self.height = (1.0 - floor) / (number * density)  # of a kernel, as part of the ratio
        self.empty = float(self.concave(np.array([floor]))[0])
        work = float(whole.n) * len(target) * (whole.points.shape[1] + 16)
        self.twin, self.work = host_twin(work, pairwise.COMPILED_FROM), work
        self.evaluations = 0
        self.bounds = np.empty(0)

    def kernel(self, rows: Rows, columns: slice) -> Array:
        """What rows would add to the ratio at some target rows."""
        whole, profile = self.whole, self.whole.form.profile
        made: Array = self.twin.tile(
            whole.points[rows], self.places[columns], profile.name, profile.scale, profile.scales
        )
        made *= self.height[columns]
        return made

    def gains(self, rows: Rows) -> Array:
        """By how much each row would raise the mean of the concave function of the ratio."""
        total = np.zeros(len(rows))
        for columns in steps_of(len(self.ratio), COLUMNS):
            ratio = self.ratio[columns]
            raised = self.concave(ratio + self.kernel(rows, columns))
            raised -= self.concave(ratio)
            total += raised @ self.shares[columns]
        return total

    def _all_gains(self) -> Array:
        self.evaluations += self.whole.n
        blocks = [np.arange(s.start, s.stop) for s in steps_of(self.whole.n, BATCH)]
        return np.concatenate(list(in_order(self.gains, blocks, work=self.work)))

    def choose(self, watch: Watch) -> Rows:
        """Lazy greedy: a gain of an earlier round bounds today's from above."""
        self.bounds = self._all_gains()
        fresh = np.ones(self.whole.n, dtype=bool)
        taken = np.zeros(self.whole.n, dtype=bool)
        rows = np.empty(self.number, dtype=np.intp)
        for place in range(self.number):
            best = self._best(fresh, taken)
            rows[place], taken[best], fresh[:] = best, True, False
            for columns in steps_of(len(self.ratio), COLUMNS):
                self.ratio[columns] += self.kernel(np.array([best]), columns)[0]
            watch.step(place + 1, divergence=self.divergence())
        return rows

    def _best(self, fresh: np.ndarray, taken: np.ndarray) -> int:
        """The first row of the largest gain; bounds are renewed from the largest on, until it is known."""
        while True:
            known = np.where(fresh & ~taken, self.bounds, -np.inf)
            best = int(known.argmax())
            stale = np.flatnonzero(~fresh & ~taken & (self.bounds >= known[best]))
            if len(stale) == 0:
                return best
            if len(stale) > BATCH:
                stale = stale[np.argpartition(-self.bounds[stale], BATCH)[:BATCH]]
            self.bounds[stale] = self.gains(stale)
            fresh[stale] = True
            self.evaluations += len(stale)

    def divergence(self) -> float:
        """−mean ln r, or 1 − mean √r."""
        value = float(self.shares @ self.concave(self.ratio))
        return (1.0 if self.kind == "hellinger" else 0.0) - value

    def share(self) -> float:
        """The gain over the largest possible one, which is at most this gain and the K largest left."""
        self.bounds = self._all_gains()
        gain = float(self.shares @ self.concave(self.ratio)) - self.empty
        most = np.sort(self.bounds)[-self.number :].sum()
        return max(float(gain / (gain + most)), PROVEN) if gain > 0 else PROVEN
