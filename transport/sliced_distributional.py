"""Distributional sliced Wasserstein distance."""

import math
from copy import deepcopy
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import SettingError
from divmatch.estimator import Array, Estimate, Labels, Pooled
from divmatch.kernels.ascent import unit
from divmatch.kernels.directions import Directions, directions
from divmatch.kernels.execution import in_order
from divmatch.samples import Samples
from divmatch.settings import Setting
from divmatch.transport.sliced import SLICED, Drawing
from divmatch.transport.sliced_max import Starts, bias_of, highest
from divmatch.transport.slicing import (
    Order,
    Projections,
    Sliced,
    check_told,
    near_null,
    refuse_riesz,
)

Cosine = Annotated[
    float | Literal["auto"],
    Setting("most that |cos| of two directions may be on average", above=0, most=1),
]

STEPS = 60
GAIN = 3e-4  # relative; two steps in a row that gain less are the end
HALVINGS = 6
ENOUGH = 1e-4  # share of the promised gain that a step must bring
NEAR = 2e-3  # the bound, within which no gradient leads across
FEW = 32  # directions of the ascent, or 4 d
FOR_COSINE = 100  # directions of either set that the mean |cos| is of
TRIALS = 8  # of how far the way to a law is allowed
ALONG = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the way to the best direction: where the ascent may begin
WORK = 1e5  # elementary operations a row for one ascent


@SLICED.estimator("distributional", source="Nguyen, Ho, Pham & Bui 2021, arXiv 2002.07367")
def sliced_distributional(
    x: Samples,
    y: Samples,
    *,
    p: Order = 2,
    projections: Projections = "auto",
    cosine: Cosine = "auto",
    starts: Starts = 10,
    rng: "np.random.Generator",
) -> Estimate:
    """Sliced Wasserstein distance over the distribution of directions that shows most.

    max (E W_p^p(θ·X, θ·Y))^(1/p) over laws of θ with E|θ·θ'| <= C, θ and θ' independent: between the
    sliced distance, where C is that of uniform directions, c = Γ(d/2) / (π^(1/2) Γ((d + 1)/2)), and
    the max-sliced one, C = 1. A metric for each C. Biased upward, as the method max is, and dealt
    with in the same way: the bias comes from halves of both samples, the interval is moved by it, and
    a value near `noise` is marked (W04); every permutation is fitted anew.

    Use it where a few directions, or a few columns of many, show the difference: the sliced distance
    averages it away, the largest one rests on a single direction.

    The laws are those of θ = M u / |M u|, u uniform and M a matrix (angular central Gaussian); others
    might reach higher. M begins on the way from the identity to the best single direction, and then
    climbs by steps that never lower the value, at a fixed set of u; the constraint is kept by drawing
    M back to the identity. Value, Monte Carlo error and influences are from directions of their own,
    so that the fit to the first set makes no difference, other than that the value may fall below
    the maximum. --cosine auto is half-way between c and 1.

    Parameters
    ----------
    x, y : Samples
        Rows of shape (n, d) and (m, d), weighted or not.
    p : float or str
        Order, at least 1.
    projections : int or str
        L, at least 4, or auto: whole blocks of d directions, at least 100 and at least 4 d of them.
    cosine : float or str
        C, at least c, at most 1; or auto.
    starts : int
        Number of directions from which the search for the best one begins.
    rng : numpy.random.Generator
        Draws directions, and the halves that tell bias and noise. Its state is left as it was.

    Returns
    -------
    Estimate
        Value in data units, finite, at least 0, with the influence of every row.

    Raises
    ------
    SettingError
        For the order riesz, and for a C below that of uniform directions.

    Notes
    -----
    Cost: O(L T (n + m)(d + log(n + m))) time for T steps, at most 60; a permutation costs as much.

    Source: Nguyen, Ho, Pham & Bui 2021 (ICLR, arXiv 2002.07367), with matrices in the place of
    networks and the constraint in the place of its penalty; laws: Tyler 1987 (Biometrika 74).

    Examples
    --------
    >>> import divmatch
    >>> divmatch.sliced([0.0, 1.0], [2.0, 3.0], method="distributional").value
    2.0
    """
    rng = deepcopy(rng)
    of = Sliced.of(x, y, refuse_riesz(p, "distributional"))
    search = Search.of(of.d, projections, cosine, rng)
    law = search.best(of, starts)
    drawn = search.judged(law)
    slices = of.slices()
    about = slices.influences(drawn.vectors)
    cost = drawn.mean(about.costs)
    check_told(of, cost, drawn.vectors)
    value = of.root(cost)
    chance = of.chance(lambda halves: search.cost(halves, search.best(halves, starts)), rng) or 0.0
    plain = search.judges.mean(slices.costs(search.judges.vectors))
    error = of.unit * drawn.error(about.costs) / of.slope(cost) if cost > 0 else 0.0
    exact = of.d == 1
    return Estimate(
        value,
        terms_x=of.influence(about.rows_x, x, cost),
        terms_y=of.influence(about.rows_y, y, cost),
        error=None if exact else error,
        bias=bias_of(of, value, lambda half: search.again(half, law), rng),
        params={
            "projections": len(drawn.vectors),
            "cosine": search.limit,
            "noise": of.root(chance),
            "sliced": of.root(plain),
        },
        notes=near_null(of, cost, chance),
        exact=exact,
    )


def uniform_cosine(d: int) -> float:
    """E|θ·θ'| of independent uniform directions."""
    return math.exp(math.lgamma(d / 2) - math.lgamma((d + 1) / 2)) / math.sqrt(math.pi)


@dataclass(frozen=True, eq=False)
class Search:
    """The directions u of the ascent and of the judgement, and two sets for the mean |cos|."""

    climbers: Directions
    judges: Directions
    pairs: tuple[Array, Array]
    limit: float

    @classmethod
    def of(
        cls, d: int, projections: int | str, cosine: float | str, rng: "np.random.Generator"
    ) -> "Search":
        """Drawn for these columns."""
        least = min(uniform_cosine(d), 1.0)
        limit = (1.0 + least) / 2 if isinstance(cosine, str) else cosine
        if limit < least:
            raise SettingError(
                f"--cosine {limit:g}: directions in {d} columns have at least {least:.4g} on average, "
                "the sliced distance; give a number above that, at most 1"
            )
        count = Drawing(d, True, "none", None).first_count(projections)
        judges = directions(d, count, rng)
        climbers = directions(d, max(FEW, 4 * d), rng)
        first, second = (directions(d, FOR_COSINE, rng).vectors for _ in range(2))
        return cls(climbers, judges, (first, second), limit)

    def judged(self, law: Array) -> Directions:
        """The directions of a law that no ascent has seen."""
        return self.judges._replace(vectors=unit(self.judges.vectors @ law.T))

    def cost(self, of: Sliced, law: Array) -> float:
        """The mean p-th power under a law, at directions that no ascent has seen."""
        drawn = self.judged(law)
        return drawn.mean(of.slices().costs(drawn.vectors))

    def again(self, of: Sliced, law: Array) -> float:
        """The value of other rows, from the law that was best for all."""
        return of.root(self.cost(of, self._climbed(of, law)))

    def best(self, of: Sliced, starts: int) -> Array:
        """The matrix M of the law that shows most."""
        if of.d == 1:
            return np.eye(1)
        of = of.ordered()
        point = highest(of, starts).point
        spike = np.outer(point, point)
        reach = self._share(spike)
        laws = [_blend(spike, reach * share) for share in ALONG]
        heights = [self._slopes(of, law, slopes=False)[0] for law in laws]
        return self._climbed(of, laws[int(np.argmax(heights))])

    def _climbed(self, of: Sliced, law: Array) -> Array:
        """Steps along the gradient, its part that would break the constraint taken out.

        As long as the last two gradients say (Barzilai & Borwein 1988), halved until they gain.
        """
        if of.d == 1:
            return law
        law = self._kept(law)
        value, slope = self._slopes(of, law)
        way, slow = self._allowed(law, slope), 0
        size = float((way * way).sum())
        length = 0.1 * math.sqrt(of.d / size) if size > 0 else 0.0
        for _ in range(STEPS if length > 0 else 0):
            promised = ENOUGH * float((way * way).sum())
            for _ in range(HALVINGS):
                tried = self._kept(law + length * way)
                height, slope = self._slopes(of, tried)
                if height >= value + length * promised:
                    break
                length *= 0.5
            else:
                return law
            slow = 0 if height - value > GAIN * value else slow + 1
            if slow == 2:
                return tried
            following = self._allowed(tried, slope)
            moved, change = tried - law, following - way
            bend = abs(float((moved * change).sum()))
            if bend > 0:
                length = float(np.clip((moved * moved).sum() / bend, 0.1 * length, 10 * length))
            law, value, way = tried, height, following
        return law

    def _slopes(self, of: Sliced, law: Array, *, slopes: bool = True) -> tuple[float, Array]:
        """The mean p-th power under a law, at the directions of the ascent, and its gradient by M."""
        drawn, slices = self.climbers, of.slices()
        moved = drawn.vectors @ law.T
        lengths = np.sqrt(np.einsum("ij,ij->i", moved, moved))
        vectors = moved / np.where(lengths > 0, lengths, 1.0)[:, None]
        if not slopes:
            return drawn.mean(slices.costs(vectors)), law
        costs, pulls = slices.slopes(vectors)
        return drawn.mean(costs), _by_matrix(drawn, vectors, lengths, pulls)

    def cosines(self, law: Array) -> float:
        """E|θ·θ'| under a law."""
        left, right = (unit(u @ law.T) for u in self.pairs)
        return float(np.abs(left @ right.T).mean())

    def _allowed(self, law: Array, slope: Array) -> Array:
        """The gradient where there is room; on the bound, what leaves the mean |cos| as it is."""
        if self.cosines(law) < self.limit - NEAR:
            return slope
        left, right = (u @ law.T for u in self.pairs)
        sizes = [np.sqrt(np.einsum("ij,ij->i", v, v)) for v in (left, right)]
        ends = [v / size[:, None] for v, size in zip((left, right), sizes, strict=True)]
        signs = np.sign(ends[0] @ ends[1].T) / (len(left) * len(right))
        normal = np.zeros_like(law)
        for own, pull, size, u in (
            (ends[0], signs @ ends[1], sizes[0], self.pairs[0]),
            (ends[1], signs.T @ ends[0], sizes[1], self.pairs[1]),
        ):
            along = np.einsum("ij,ij->i", own, pull)
            normal += ((pull - along[:, None] * own) / size[:, None]).T @ u
        outward = float((normal * slope).sum())
        if outward <= 0:
            return slope
        made: Array = slope - outward / float((normal * normal).sum()) * normal
        return made

    def _kept(self, law: Array) -> Array:
        """Of a fixed size, and drawn back to the identity until the constraint holds."""
        d = len(law)
        law = law * math.sqrt(d / float((law * law).sum()))
        return _blend(law, self._share(law))

    def _share(self, law: Array) -> float:
        """How far the way from the identity to ``law`` is allowed: by chords, from below."""
        if self.limit >= 1.0:
            return 1.0
        ends = [(u, u @ law.T - u) for u in self.pairs]

        def over(share: float) -> float:
            left, right = (unit(u + share * way) for u, way in ends)
            return float(np.abs(left @ right.T).mean()) - self.limit

        low, high, above = 0.0, 1.0, over(1.0)
        below = over(0.0)
        if above <= 0:
            return 1.0
        for _ in range(TRIALS if below < 0 else 0):
            share = low + (high - low) * below / (below - above)
            excess = over(share)
            if excess > 0:
                high, above, below = share, excess, 0.5 * below
            else:
                low, below, above = share, excess, 0.5 * above
        return low


def _blend(law: Array, share: float) -> Array:
    made: Array = share * law + (1.0 - share) * np.eye(len(law))
    return made


def _by_matrix(drawn: Directions, vectors: Array, lengths: Array, pulls: Array) -> Array:
    """Σ w (I − θ θᵀ) g uᵀ / |M u| from the gradients g by θ."""
    along = np.einsum("ij,ij->i", vectors, pulls)
    shares = drawn.weights / np.where(lengths > 0, lengths, np.inf)
    made: Array = ((pulls - along[:, None] * vectors) * shares[:, None]).T @ drawn.vectors
    return made


@sliced_distributional.pooled
def sliced_distributional_plan(
    pool: Samples,
    *,
    p: float | str,
    projections: int | str,
    cosine: float | str,
    starts: int,
    rng: "np.random.Generator",
) -> Pooled:
    """Another law for every split."""
    order = refuse_riesz(p, "distributional")
    search = Search.of(pool.d, projections, cosine, deepcopy(rng))

    def value(split: NDArray[np.bool_]) -> float:
        parts = pool.take(split), pool.take(~split)
        if any(one.weights is not None and not one.weights.max() > 0 for one in parts):
            return math.nan
        of = Sliced.of(*parts, order)
        return of.root(search.cost(of, search.best(of, starts)))

    def statistic(labels: Labels) -> Array:
        work = WORK * labels.size * len(search.climbers.vectors)
        return np.array(list(in_order(value, labels.T, work=work)))

    reach = float(np.ptp(pool.points, axis=0).sum())
    return Pooled(statistic, lambda: 64 * 2.0**-52 * pool.n**0.5 * reach)
