"""Sliced Wasserstein distance."""

import math
from copy import deepcopy
from dataclasses import replace
from typing import Annotated, Any, Literal

import numpy as np

from divmatch.errors import SettingError, counted
from divmatch.estimator import Array, Estimate, Labels, Pooled, Quantity
from divmatch.kernels.directions import Directions, controlled, directions
from divmatch.kernels.slices import Influences, Pool
from divmatch.record import Note
from divmatch.samples import Samples
from divmatch.settings import Setting
from divmatch.transport import sliced_riesz
from divmatch.transport.slicing import (
    Order,
    Projections,
    Sliced,
    check_told,
    near_null,
    parse_slices,
    slicing_of,
)

Error = Annotated[
    float | None,
    Setting(
        "double the directions until the Monte Carlo error is below this share of the value",
        above=0,
        below=1,
        percent=True,
    ),
]
Control = Annotated[
    Literal["none", "lower", "quadratic"],
    Setting("control variates on independent directions; none: directions that are spread evenly"),
]
Shape = Annotated[
    str,
    Setting(
        "what the slices are level sets of",
        parse=parse_slices,
        shown="linear|circular:R|polynomial:K",
    ),
]

DOUBLINGS = 6  # 64 times the first number of directions, then the error asked for is given up
# directions whose potentials make the rows' influences; fewer would widen the interval: with these
# by 1 % for p = 2 and 8 % for p = 1 at the most, against all, for shifts of up to 100 columns
FOR_INFLUENCE = {2.0: 64}
FOR_INFLUENCE_ELSE = 128
FOR_TEST = 100  # directions of the permutation test of a large pool
TEST_WORK = 8_000_000  # rows times directions up to which the test takes the estimate's own


def title_of(settings: Any) -> str:
    """The name of the number that these settings give."""
    if settings.get("p") == "riesz":
        return "sliced energy distance"
    kind = "sliced"
    if "starts" in settings:
        kind = "distributional sliced" if "cosine" in settings else "max-sliced"
    elif settings.get("slices", "linear") != "linear":
        kind = "generalised sliced"
    return f"{kind} Wasserstein distance"


def unit_of(settings: Any) -> str:
    """The data's unit, to the power of a polynomial's degree."""
    name, _, degree = str(settings.get("slices", "linear")).partition(":")
    return f"data unit^{degree}" if name == "polynomial" else "data unit"


SLICED = Quantity(
    "sliced",
    title=title_of,
    unit=unit_of,
    direction="symmetric",
    default="w",
    degenerate=True,
    unplanned="a sliced distance has a plan for each direction and none of the rows; divmatch ot and "
    "divmatch sinkhorn save one",
    examples=(
        "divmatch sliced real.npy gen.npy",
        "divmatch sliced real.npy gen.npy -p 1 --projections 500",
        "divmatch sliced real.npy gen.npy --error 1% -f json",
        "divmatch sliced real.npy gen.npy -p riesz",
        "divmatch sliced real.npy gen.npy --method max",
        "divmatch sliced real.npy gen.npy --method distributional",
        "divmatch sliced real.npy gen.npy --slices polynomial:3",
    ),
)


@SLICED.estimator(
    "w", source="Rabin, Peyré, Delon & Bernot 2012, SSVM; Bonneel et al. 2015, JMIV 51"
)
def sliced(
    x: Samples,
    y: Samples,
    *,
    p: Order = 2,
    projections: Projections = "auto",
    error: Error = None,
    control: Control = "none",
    slices: Shape = "linear",
    rng: "np.random.Generator",
) -> Estimate:
    """Sliced Wasserstein distance between two samples.

    SW_p = (E W_p^p(θ·X, θ·Y))^(1/p), θ uniform on the unit sphere: the root of the mean over
    directions of the transport distance between the projections, each exact by sorting. A metric:
    zero if and only if the two distributions agree. Never negative and biased upward: samples of n
    and m rows of one distribution are about `noise` apart, of the order of (1/n + 1/m)^(1/2), which
    the result states. With many columns that is many standard errors, so a value near it is marked
    (W04) and only a permutation test can tell. For p = 2, SW² is too large by about noise² whatever
    the distributions: the result states the bias SW − (SW² − noise²)^(1/2), and the interval, which
    is for the distance of the distributions, is moved down by it.

    Use it for large samples and many columns, where it costs a sort per direction. It shrinks with
    the number of columns: a shift by Δ of all rows counts as |Δ| / d^(1/2) for p = 2; the method max
    looks along the one direction that shows most, distributional at many near it. Columns count by
    their scale: standardise them (--scale) unless they share a unit.

    One column needs no random direction and is exact. Two columns take equal angles with a random
    start, three take four spirals around the sphere, each turned at random; more take blocks of
    orthonormal directions. The last two are exact for all quadratic forms. The Monte Carlo error
    comes from the spread between blocks or spirals (two columns: between four interleaved grids, an
    upper estimate) and is part of the standard error. The influence of a row is its Kantorovich
    potential averaged over whole blocks of at least 64 directions (p other than 2: 128), or all
    where there are fewer. A permutation test of more than 8,000,000 / L rows takes only about 100
    directions.

    With -p riesz it is another quantity: the energy distance 2 E|X − Y| − E|X − X'| − E|Y − Y'|, the
    MMD² of the kernel −|x − y|, as c times the mean of the energy distances of the projections,
    c = π^(1/2) Γ((d + 1)/2) / Γ(d/2). Not its root, and not half of it, as in gradient flows. Every
    pair counts (V-statistic): biased upward, which the result states, and the interval is moved down.

    With --slices it is a generalised sliced distance: in the place of θ·x stand distances |x − R θ|,
    or a sum of all monomials of odd degree K, weighted by a direction in as many dimensions. These
    depend on where zero is: a common shift of both samples changes them.

    Parameters
    ----------
    x, y : Samples
        Rows of shape (n, d) and (m, d), weighted or not.
    p : float or str
        Order, at least 1; or riesz, for the energy distance.
    projections : int or str
        L, at least 4, or auto: whole blocks of d directions, at least 100 and at least 4 d of them.
        Two columns round it up to a multiple of 4, as three do from 40 on; one column needs one.
    error : float, optional
        Share of the value, in (0, 1): directions are doubled, six times at the most, until the
        Monte Carlo error is below it.
    control : str
        lower or quadratic: independent directions, and the intercept of a regression of the costs
        on (θ·Δ)², Δ the difference of the means, or on all quadratic forms of θ; auto then takes at
        least twice as many directions as there are forms. A permutation test takes no lower control.
    slices : str
        linear; circular:R, R in data units, about the length of the rows; or polynomial:K.
    rng : numpy.random.Generator
        Its state decides the directions and is left as it was: a test takes the same directions.

    Returns
    -------
    Estimate
        Value in data units (polynomial: to the power K), finite, at least 0, with the influence of
        every row.

    Raises
    ------
    SettingError
        When there are too many monomials, or too few directions for the control variates.

    Notes
    -----
    Cost: O(L (n + m)(d + log(n + m))) time, O(n + m) memory.

    Source: Rabin, Peyré, Delon & Bernot 2012 (SSVM); Bonneel, Rabin, Peyré & Pfister 2015 (JMIV
    51); orthonormal directions: Rowland et al. 2019 (arXiv 1903.03784); spirals: Nguyen, Bariletto &
    Ho 2024 (arXiv 2309.11713); control variates: Nguyen & Ho 2023 (arXiv 2305.00402), Leluc et al.
    2024 (arXiv 2402.01493); slices: Kolouri et al. 2019 (arXiv 1902.00434); riesz: Hertrich, Wald,
    Altekrüger & Hagemann 2024 (ICLR, arXiv 2305.11463).

    Examples
    --------
    >>> import divmatch
    >>> divmatch.sliced([0.0, 1.0], [2.0, 3.0]).value
    2.0
    """
    rng = deepcopy(rng)
    apart = x.masses() @ x.points - y.masses() @ y.points if control == "lower" else None
    slicing = slicing_of(slices, x, y)
    drawing = Drawing(slicing.columns(x.d), slicing.even, control, apart)
    if isinstance(p, str):
        if slices != "linear":
            raise SettingError(f"--slices {slices}: -p riesz takes linear slices only")
        return _riesz(x, y, drawing, drawing.first_count(projections), error, rng)
    of = Sliced.of(x, y, p, slicing)
    drawn = drawing.drawn(drawing.first_count(projections), rng)
    costs, about = _evaluated(of, drawn)
    if error is not None:
        costs, drawn = _refined(of, costs, drawn, drawing, error, rng)
    cost = drawn.mean(costs)
    check_told(of, cost, drawn.vectors)
    value, exact = of.root(cost), of.d == 1
    se = of.unit * drawn.error(costs) / of.slope(cost) if cost > 0 else 0.0
    noise = _noise(of, about, drawn, rng)
    return Estimate(
        value,
        terms_x=of.influence(about.rows_x, x, cost),
        terms_y=of.influence(about.rows_y, y, cost),
        error=None if exact else se,
        bias=value - of.root(cost - noise) if p == 2 else 0.0,
        params={"projections": len(costs), "noise": of.root(noise)},
        notes=(*_missed(value, se, error, len(costs)), *near_null(of, cost, noise)),
        exact=exact,
    )


class Drawing:
    """How directions are drawn for these columns, control variates and slices."""

    def __init__(self, d: int, even: bool, control: str, apart: Array | None) -> None:
        self.d, self.even, self.apart = d, even, apart
        self.control = control if d > 1 else "none"
        if apart is not None and len(apart) != d:
            raise SettingError("--control lower: cannot be combined with --slices polynomial:K")

    def first_count(self, projections: int | str) -> int:
        """The number asked for, or enough."""
        d = self.d
        if isinstance(projections, str):
            forms = d * (d + 1) if self.control == "quadratic" else 0
            return d * math.ceil(max(100, 4 * d, forms) / d)
        forms = d * (d + 1) // 2 if self.control == "quadratic" else 1
        if self.control != "none" and projections < forms + 4:
            raise SettingError(
                f"--projections {projections}: --control {self.control} needs at least {forms + 4} "
                f"for {counted(d, 'column')}"
            )
        return projections

    def drawn(self, count: int, rng: "np.random.Generator") -> Directions:
        """About ``count`` directions."""
        if self.control == "none":
            return directions(self.d, count, rng, whole=not self.even)
        return controlled(self.d, count, rng, self.apart)

    def doubled(self, drawn: Directions, rng: "np.random.Generator") -> tuple[Directions, int]:
        """About twice as many, and how many of the first ones are among them, at the front."""
        more = self.drawn(2 * len(drawn.vectors), rng)
        if self.control != "none" or self.d <= 3:
            return more, 0  # a finer grid, not a second one
        return drawn.joined(directions(self.d, len(drawn.vectors), rng)), len(drawn.vectors)


def _riesz(
    x: Samples,
    y: Samples,
    drawing: Drawing,
    count: int,
    error: float | None,
    rng: "np.random.Generator",
) -> Estimate:
    """The energy distance; twice the directions until their error is what was asked for."""
    for _ in range(DOUBLINGS + 1):
        found = sliced_riesz.estimate(x, y, drawing.drawn(count, deepcopy(rng)))
        if error is None or x.d == 1 or (found.error or 0.0) <= error * found.value:
            break
        count *= 2
    notes = _missed(found.value, found.error or 0.0, error, found.params["projections"])
    return replace(found, notes=notes)


def _evaluated(of: Sliced, drawn: Directions) -> tuple[Array, Influences]:
    """Costs along all directions; influences and noise from enough of them."""
    slices, vectors = of.slices(), drawn.vectors
    chosen = drawn.places(FOR_INFLUENCE.get(of.p, FOR_INFLUENCE_ELSE))
    rest = np.delete(np.arange(len(vectors)), chosen)
    costs = np.empty(len(vectors))
    about = slices.influences(vectors[chosen])
    costs[chosen] = about.costs
    if len(rest):
        costs[rest] = slices.costs(vectors[rest])
    return costs, about


def _noise(of: Sliced, about: Influences, drawn: Directions, rng: "np.random.Generator") -> float:
    """What equal distributions make of the p-th power: known for p = 1 and 2, else from halves."""
    if of.p in (1, 2):
        return float(about.noise.mean())
    some = drawn.some(FOR_INFLUENCE_ELSE)
    return of.chance(lambda halves: some.mean(halves.slices().costs(some.vectors)), rng) or 0.0


def _refined(
    of: Sliced,
    costs: Array,
    drawn: Directions,
    drawing: Drawing,
    error: float,
    rng: "np.random.Generator",
) -> tuple[Array, Directions]:
    """Twice the directions, again and again, until their error is below its share of the value."""
    slices = of.slices()
    for _ in range(DOUBLINGS if of.d > 1 else 0):
        # the error of the root is that of the mean divided by p times the (p − 1)-th power
        if drawn.error(costs) <= error * of.p * drawn.mean(costs):
            break
        drawn, kept = drawing.doubled(drawn, rng)
        costs = np.concatenate([costs[:kept], slices.costs(drawn.vectors[kept:])])
    return costs, drawn


def _missed(value: float, se: float, error: float | None, count: int) -> tuple[Note, ...]:
    if error is None or se <= error * value:
        return ()
    return (
        Note(
            "W06",
            f"the Monte Carlo error is {100 * se / value:.3g}% of the value after "
            f"{counted(count, 'projection')}, {100 * error:.3g}% was asked for; raise --projections",
        ),
    )


@sliced.pooled
def sliced_plan(
    pool: Samples,
    *,
    p: float | str,
    projections: int | str,
    control: str,
    slices: str,
    rng: "np.random.Generator",
    **_: Any,
) -> Pooled:
    """Every direction sorted once; a split is then a walk along the sorted pool."""
    slicing = slicing_of(slices, pool)
    control = "none" if control == "lower" else control  # it depends on the split
    drawing = Drawing(slicing.columns(pool.d), slicing.even, control, None)
    drawn = drawing.drawn(drawing.first_count(projections), deepcopy(rng))
    drawn = drawn.some(max(FOR_TEST, TEST_WORK // pool.n))
    if isinstance(p, str):
        return sliced_riesz.plan(pool, drawn)
    of = Sliced.of(pool, pool, p, slicing)
    scaled = of.slices()
    splits = Pool(scaled.x, pool.weights, drawn.vectors, drawn.weights, p, scaled.slicing)

    def statistic(labels: Labels) -> Array:
        return np.asarray(of.unit * np.maximum(splits.costs(labels), 0.0) ** (1 / p))

    return Pooled(statistic, lambda: 64 * 2.0**-52 * pool.n**0.5 * of.unit * splits.reach)
