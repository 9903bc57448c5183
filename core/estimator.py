"""Declare an estimator once; the function, the command, the manual page and the record follow."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from divmatch.catalogue import QUANTITIES, SHAPED, SINGLES, STATISTICS
from divmatch.declaration import Family, Method
from divmatch.errors import InconclusiveError, SettingError, suggestion
from divmatch.record import Note, Test
from divmatch.samples import Samples
from divmatch.settings import Setting, settings_of

Array = NDArray[np.float64]
Labels = NDArray[np.bool_]  # (N, B): True where a row of the pool belongs to P, one column a split

IntervalName = Literal["influence", "subsampling", "blocks", "two-way"]

REGISTRY: dict[str, "Quantity"] = {}


@dataclass(frozen=True, eq=False)
class Estimate:
    """What an estimator computed, before inference dresses it as a result.

    ``terms_x`` and ``terms_y`` hold each row's first-order influence on the value: the variance of
    their weighted means is the variance of the value; none at all, an empty array, where the rows are
    known and no draw. ``error`` is the standard error of a Monte Carlo approximation inside the method.
    ``bias`` is what the estimate is expected to be above the truth; the value keeps it, the interval is
    moved by it, and widened by ``doubt`` on either side. ``params`` says what automatic settings came
    out as. ``test`` is a p-value that costs nothing, such as a chi-square approximation; permutations
    take its place. ``se`` is the standard error where it is not of the influences of single rows: of a
    summary, of rows and columns that are both samples, or of enough rows for all; ``blocks`` are the
    influences of independent blocks. The interval of a ``share`` stays in [0, 1]. ``plan`` makes the
    transport plan behind the value, where there is one.
    """

    value: float
    terms_x: Array | None = None
    terms_y: Array | None = None
    error: float | None = None
    bias: float = 0.0
    doubt: float = 0.0
    params: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()
    exact: bool = True
    test: Test | None = None
    se: float | None = None
    blocks: "Blocks | None" = None
    share: bool = False
    plan: Callable[[], Any] | None = None


@dataclass(frozen=True, eq=False)
class Blocks:
    """The influences of independent blocks, of mean 0, and the rows of x in the order of the blocks."""

    influences: Array
    rows: NDArray[np.intp]

    @property
    def se(self) -> float | None:
        """The standard error of their mean."""
        if len(self.influences) < 2:
            return None
        return float(self.influences.std(ddof=1)) / math.sqrt(len(self.influences))


@dataclass(frozen=True, eq=False)
class Pooled:
    """A plan: the statistic of any draw from the null hypothesis, and the size of its rounding errors.

    ``draws`` says what a test draws, one column of an (N, B) array each: the two samples' labels on
    the pooled rows; of one sample, a sign for every row (the observed one is +1), or an order of the
    rows for each of the ``moved`` groups of columns, one below the other.

    Two values that differ by no more than ``rounding()`` count as equal, and ties count against us.
    It is asked after the statistic, which may learn the size of its terms on the way.
    """

    statistic: Callable[[NDArray[Any]], Array]
    rounding: Callable[[], float] = lambda: 0.0
    draws: Literal["labels", "signs", "orders"] = "labels"
    moved: int = 1


@dataclass(frozen=True, eq=False)
class OwnTest:
    """What a test of an estimator's own found: p-value, name, null draws of the value, warnings."""

    p_value: float
    method: str
    values: Array
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, eq=False)
class Estimator(Method):
    """One method of a quantity: a typed function of its samples, with its settings and source.

    ``interval`` says where the interval comes from: the influence terms, subsampling, or the
    estimate's own standard error: of the spread of blocks, which is as valid where P = Q, or two-way,
    where both the rows and the columns are samples. With a ``rate``, the ``subsamples`` also tell the
    bias: rate(d) is the power of 1/n that it falls with. ``standard_error`` of (estimate, subsampled,
    x, y) replaces the plain one of subsampling.
    ``assumption`` of (x, y, **settings) returns warnings where the data speak against what the method
    takes for granted; inference asks it once.
    """

    quantity: "Quantity"
    method: str
    function: Callable[..., Estimate]
    settings: tuple[Setting, ...]
    source: str
    interval: IntervalName
    rate: Callable[[int], float] | None = None
    standard_error: Callable[..., float | None] | None = None
    biased: float | None = None  # the power of 1/n of a bias that no interval knows of
    assumption: Callable[..., tuple[Note, ...]] | None = None
    fraction: float | None = None  # of the rows in a subsample, where the usual one is too small
    own_title: str = ""  # where the method does not measure what its quantity is called after
    own_unit: str = ""
    subsamples: int = 100
    _summary: list[Callable[..., Estimate | None]] = field(default_factory=list)
    _plan: list[Callable[..., Pooled]] = field(default_factory=list)
    _contrast: list[Callable[..., Pooled]] = field(default_factory=list)
    _test: list[Callable[..., OwnTest | None]] = field(default_factory=list)

    @property
    def family(self) -> "Quantity":
        """The quantity that it estimates."""
        return self.quantity

    @property
    def flag(self) -> str:
        """How the command line asks for it."""
        density = self in self.quantity.known.values()
        return "--log-q" if density else f"--method {self.method}"

    def titled(self, settings: Mapping[str, Any]) -> str:
        """What the number is called, with its settings filled in."""
        return self.own_title or self.quantity.titled(settings)

    def unit_of(self, settings: Mapping[str, Any]) -> str:
        """The unit, with its settings filled in."""
        return self.own_unit or self.quantity.unit_of(settings)

    def __call__(self, x: Samples, y: Samples | None = None, /, **settings: Any) -> Estimate:
        """Evaluate on one or two checked samples with checked settings."""
        return self.function(x, **settings) if y is None else self.function(x, y, **settings)

    def summarised(self, summary: Callable[..., Estimate | None]) -> Callable[..., Estimate | None]:
        """Register a summary: value and standard error without the influence of every row, or None."""
        self._summary.append(summary)
        return summary

    def summary(self, x: Samples, y: Samples | None = None, /, **settings: Any) -> Estimate:
        """The estimate, without the influence of every row where it is faster without."""
        found = self._summary[0](x, y, **settings) if self._summary else None
        return self(x, y, **settings) if found is None else found

    def pooled(self, plan: Callable[..., Pooled]) -> Callable[..., Pooled]:
        """Register a plan: work done once on the pooled sample that makes every split cheap."""
        self._plan.append(plan)
        return plan

    def plan(self, pool: Samples, /, **settings: Any) -> Pooled:
        """The statistic as a function of splits; without a plan, the estimator called afresh."""
        if self._plan:
            return self._plan[0](pool, **settings)
        if self.quantity.alone:
            raise SettingError(f"--permutations: {self.quantity.name} has no test")

        def value(split: NDArray[np.bool_]) -> float:
            return self(pool.take(split), pool.take(~split), **settings).value

        return _afresh(value)

    def tested(self, test: Callable[..., OwnTest | None]) -> Callable[..., OwnTest | None]:
        """Register a test of its own: of both samples, B, the seed and the settings, or None."""
        self._test.append(test)
        return test

    def own_test(
        self, x: Samples, y: Samples, permutations: int, seed: int, settings: Mapping[str, Any]
    ) -> OwnTest | None:
        """Its own test, where the settings ask for it in the place of the permutation test."""
        return self._test[0](x, y, permutations, seed, **settings) if self._test else None

    def contrasted(self, plan: Callable[..., Pooled]) -> Callable[..., Pooled]:
        """Register a plan for `contrast` that makes every split cheap."""
        self._contrast.append(plan)
        return plan

    def contrast(self, pool: Samples, y: Samples, **settings: Any) -> Pooled:
        """D(rest, y) − D(part, y) as a function of the splits of ``pool`` into part and rest."""
        if self._contrast:
            return self._contrast[0](pool, y, **settings)

        def value(split: NDArray[np.bool_]) -> float:
            parts = (pool.take(rows) for rows in (~split, split))
            rest, part = (self(samples, y, **settings).value for samples in parts)
            return rest - part

        return _afresh(value)


def _afresh(value: Callable[[NDArray[np.bool_]], float]) -> Pooled:
    """Every split by itself; one without a number counts against us."""

    def each(labels: Labels) -> Array:
        return np.array([one(labels[:, b]) for b in range(labels.shape[1])])

    def one(split: NDArray[np.bool_]) -> float:
        try:
            return value(split)
        except InconclusiveError:
            return math.nan

    return Pooled(each)


def influence_se(estimate: Estimate, x: Samples, y: Samples | None) -> float | None:
    """sqrt(Σ aᵢ² (ψᵢ − ψ̄)² / (1 − Σ aᵢ²) + the same for y): s²/n + s²/m for equal weights.

    A summary has no influences, but their standard error.
    """
    if estimate.terms_x is None and estimate.terms_y is None:
        return estimate.se
    parts = [(x, estimate.terms_x)] if y is None else [(x, estimate.terms_x), (y, estimate.terms_y)]
    known = [(samples, terms) for samples, terms in parts if terms is not None]
    return se_of_terms(*known) if len(known) == len(parts) else None


def se_of_terms(*parts: tuple[Samples, Array]) -> float | None:
    """Standard error of a number from the influences of the rows of independent samples."""
    variance = 0.0
    for samples, terms in (part for part in parts if len(part[1])):
        weights = samples.masses()
        left = 1.0 - float(weights @ weights)
        if samples.n < 2 or left <= 0:
            return None
        centred = terms - weights @ terms
        with np.errstate(over="ignore"):  # infinite, which is no standard error
            variance += float(np.sum((weights * centred) ** 2)) / left
    return math.sqrt(variance)


@dataclass(frozen=True, eq=False)
class Quantity(Family[Estimator]):
    """One command: a number between two samples, or of one, with the methods that estimate it.

    The direction says of how many: P alone is a quantity of one sample, and the first parameter of
    its estimators is the only one that is no setting. ``scales`` are the values of --scale that a
    quantity of one sample allows. ``unplanned`` says of settings why there is no one transport plan
    behind the number, nothing where there is; a text why there never is. ``nats``: units may be. With
    settings that ``directed`` confirms a symmetric quantity is one from P to Q. Where the inputs have a
    shape of their own, ``packed`` makes the samples of them; ``paired`` rows stand in two files.
    """

    name: str
    title: str | Callable[[Mapping[str, Any]], str]
    unit: str | Callable[[Mapping[str, Any]], str]
    direction: Literal["P||Q", "symmetric", "P"]
    default: str
    examples: tuple[str, ...]
    when_scoring: Mapping[str, Any] = field(default_factory=dict)
    on_command: Mapping[str, str] = field(default_factory=dict)  # defaults of the command alone
    better: Literal["lower", "higher"] = "lower"
    degenerate: bool = False  # at P = Q influences vanish, and the validity of intervals with them
    nats: bool = False
    moments: bool = False  # P and Q may be given by mean and covariance
    scales: tuple[str, ...] = ("none",)
    packed: Callable[..., tuple[Samples, Samples | None]] | None = None
    paired: bool = False
    unplanned: Callable[[Mapping[str, Any]], str] | str | None = None
    directed: Callable[[Mapping[str, Any]], bool] | None = None
    told: bool = False  # large inputs take long, and its estimators say how far they are
    methods: dict[str, Estimator] = field(default_factory=dict)
    known: dict[str, Estimator] = field(default_factory=dict)  # methods for a known density of Q

    def __post_init__(self) -> None:
        if self.name in REGISTRY:
            raise ValueError(f"two quantities are called {self.name}")
        REGISTRY[self.name] = self

    @property
    def alone(self) -> bool:
        """Whether it is a quantity of one sample."""
        return self.direction == "P" or self.paired

    def estimator(
        self,
        method: str,
        *,
        source: str,
        interval: IntervalName = "influence",
        rate: Callable[[int], float] | None = None,
        standard_error: Callable[..., float | None] | None = None,
        biased: float | None = None,
        known_density: bool = False,
        assumption: Callable[..., tuple[Note, ...]] | None = None,
        fraction: float | None = None,
        title: str = "",
        unit: str = "",
        subsamples: int = 100,
    ) -> Callable[[Callable[..., Estimate]], Estimator]:
        """Turn a typed function into the estimator of this quantity called ``method``.

        With a ``known_density`` of Q it is a function of P alone, with ln q beside the rows.
        """

        def declare(function: Callable[..., Estimate]) -> Estimator:
            made = Estimator(
                self, method, function, settings_of(function), source, interval, rate,
                standard_error, biased, assumption, fraction, title, unit, subsamples,
            )  # fmt: skip
            (self.known if known_density else self.methods)[method] = made
            return made

        return declare

    def manual(self) -> dict[str, Estimator]:
        """The methods, and those for a known density of Q."""
        return self.methods | {f"{name} WITH --log-q": e for name, e in self.known.items()}

    def unit_of(self, settings: Mapping[str, Any]) -> str:
        """The unit with its settings filled in: data unit^1.5."""
        if callable(self.unit):
            return self.unit(settings)
        return self.unit.format(**settings).removesuffix("^1")

    def direction_of(self, settings: Mapping[str, Any]) -> str:
        """The direction with its settings: whether P and Q may change places."""
        return "P||Q" if self.directed and self.directed(settings) else self.direction

    def titled(self, settings: Mapping[str, Any]) -> str:
        """The title with its settings filled in: Renyi(2)."""
        return self.title(settings) if callable(self.title) else self.title.format(**settings)

    def chosen_for_density(self, method: str | None) -> Estimator:
        """The estimator called ``method`` for a known density of Q; without one, the first."""
        if not self.known:
            raise SettingError(f"{self.name} has no setting 'log_q'; give the rows of Q")
        if method is None:
            return next(iter(self.known.values()))
        if method not in self.known:
            raise SettingError(
                f"{self.name} --method {method}: cannot be combined with --log-q, expected "
                f"{' or '.join(self.known)}"
            )
        return self.known[method]


def quantity(name: str) -> Quantity:
    """The quantity called ``name``; its module is imported on first use."""
    known = QUANTITIES | STATISTICS  # what a metric can name
    others = SINGLES | SHAPED
    if name in known | others:
        # all of its methods, whoever loaded some of them before
        import_module((known | others)[name][0])
    elif name not in REGISTRY:
        raise SettingError(
            f"no quantity is called '{name}'{suggestion(name, known)} (known: {', '.join(known)})"
        )
    return REGISTRY[name]


def parse_metric(text: str, *, scoring: bool = True) -> tuple[Estimator, dict[str, Any]]:
    """`name[:key=value,...]` as estimator and checked settings: mmd:kernel=laplace, kl:k=5.

    ``scoring`` takes the defaults that let many candidates share one reference.
    """
    name, colon, rest = text.partition(":")
    if colon and not rest.strip(" ,"):
        raise SettingError(f"metric '{text}': expected key=value after the colon")
    wanted = quantity(name.strip())
    if wanted.packed is not None:
        raise SettingError(
            f"metric '{text}': {wanted.name} takes inputs of its own; see divmatch {wanted.name} --help"
        )
    if wanted.alone:
        raise SettingError(
            f"metric '{text}': {wanted.name} looks at one sample, it compares no two"
        )
    given: dict[str, str] = {}
    for part in filter(None, rest.split(",")):
        key, equals, value = part.partition("=")
        if not equals:
            raise SettingError(f"metric '{text}': expected key=value, not '{part}'")
        key = key.strip().replace("-", "_")
        if key in given:
            raise SettingError(f"metric '{text}': '{key}' is given twice")
        given[key] = value.strip()
    chosen = wanted.chosen(given.pop("method", None), given)
    return chosen, chosen.checked((dict(wanted.when_scoring) if scoring else {}) | given)
