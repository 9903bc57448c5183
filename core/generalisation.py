"""Whether a generator has learned its training rows by heart: train, test and generated compared."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from divmatch.errors import SettingError
from divmatch.estimator import Estimate, Estimator, Quantity, parse_metric, se_of_terms
from divmatch.inference import infer, seed_of
from divmatch.intervals import normal_quantile
from divmatch.kernels.execution import one_blas_thread
from divmatch.permutations import permuted, shuffled_pool
from divmatch.record import Interval, Note, Result, Test
from divmatch.samples import Samples, as_samples, check_partners

STATISTIC = "energy:method=v"
GAP, RATIO = "D(gen, test) - D(gen, train)", "D(gen, test) / D(gen, train)"
ALPHA = 0.05
RESOLVED = 1e-12  # a divergence below this share of another one is rounding
UNEQUAL = 1.1  # sizes further apart than this are not compared without a word

MEMORISATION = Quantity(
    "memorisation",
    title="{number}",
    unit="1",
    direction="P||Q",
    default="compared",
    examples=(),
)


@dataclass(frozen=True)
class Memorisation:
    """Five numbers about test, generated and training rows, and what they say together.

    D(gen, train), D(gen, test), D(train, test), the gap D(gen, test) − D(gen, train) and the ratio
    of the same two.
    """

    gen_train: Result
    gen_test: Result
    train_test: Result
    gap: Result
    ratio: Result

    @property
    def results(self) -> tuple[Result, ...]:
        """All five, the ratio last."""
        return (self.gen_train, self.gen_test, self.train_test, self.gap, self.ratio)

    @property
    def memorised(self) -> bool:
        """Whether generated rows are clearly nearer to the training rows than to the test rows."""
        return any(note.code == "W30" for note in self.ratio.warnings)


def memorisation(
    test: ArrayLike,
    generated: ArrayLike,
    train: ArrayLike,
    *,
    statistic: str = STATISTIC,
    alpha: float = ALPHA,
    level: float = 0.95,
    permutations: int = 199,
    seed: int = 0,
) -> Memorisation:
    """Compare generated rows with the training rows of their generator and with test rows.

    Parameters
    ----------
    test, generated, train : array_like
        Rows of shape (n, d), (m, d) and (t, d); train is what the generator has seen.
    statistic : str
        The divergence D with its settings, such as energy:method=v or c2st:method=network.
    alpha : float
        A p-value up to it is memorisation; without permutations, an interval of the gap above 0.
    level : float
        Confidence level of the intervals.
    permutations : int
        B, for the p-value of the gap; 0 for none.
    seed : int
        Seed of all randomness.

    Returns
    -------
    Memorisation
        D(gen, train), D(gen, test), D(train, test), their gap and ratio.

    Examples
    --------
    >>> import divmatch, numpy as np
    >>> rng = np.random.default_rng(0)
    >>> train, test = rng.normal(size=(2, 100, 4))
    >>> divmatch.memorisation(test, train[rng.integers(0, 100, 500)], train).memorised
    True
    """
    estimator, settings = parse_metric(statistic, scoring=False)
    parts = (as_samples(test, "test"), as_samples(generated, "gen"), as_samples(train, "train"))
    options: dict[str, Any] = {
        "alpha": alpha,
        "level": level,
        "permutations": permutations,
        "seed": seed,
    }
    return compared(estimator, settings, *parts, **options)


def compared(
    estimator: Estimator,
    settings: Mapping[str, Any],
    test: Samples,
    generated: Samples,
    train: Samples,
    *,
    alpha: float,
    level: float,
    permutations: int,
    seed: int,
) -> Memorisation:
    """The five numbers of checked samples: see `memorisation`.

    The p-value is of the hypothesis that the generated rows know nothing of which real rows are the
    training rows: then labels train and test can be exchanged. It is exact for any statistic.
    """
    check_partners(test, generated)
    check_partners(train, generated)
    if permutations < 0:
        raise SettingError(f"--permutations {permutations}: expected a whole number, at least 0")
    pool, of_train = shuffled_pool(train, test, seed)
    with one_blas_thread(), np.errstate(all="ignore"):
        hidden = seed_of(estimator, seed)
        held = dict(settings) | _automatic(estimator, {**settings, **hidden}, pool, generated)
        pairs = {
            "gen, train": (train, generated),
            "gen, test": (test, generated),
            "train, test": (train, test),
        }
        numbers = [
            _labelled(infer(estimator, x, y, held, level=level, seed=seed), label)
            for label, (x, y) in pairs.items()
        ]
        estimates = [estimator(x, generated, **held, **hidden) for x in (train, test)]
        tested = None
        if permutations:
            plan = estimator.contrast(pool, generated, **held, **hidden)
            tested = permuted(plan, len(of_train), of_train, permutations, seed, "memorisation")
    contrast = _Contrast(test, generated, train, estimates[1], estimates[0], level)
    shared = {"statistic": estimator.quantity.name, "train_rows": train.n, **settings}
    gap = _gap(contrast, numbers[0], tested, shared)
    notes = (
        *contrast.doubts(numbers[:2]),
        *_unequal(estimator, test, train),
        *_finding(gap, alpha, test, generated, train),
    )
    return Memorisation(numbers[0], numbers[1], numbers[2], gap, _ratio(contrast, gap, notes))


def _gap(
    contrast: "_Contrast", number: Result, tested: Test | None, shared: Mapping[str, Any]
) -> Result:
    se, interval = contrast.of_gap()
    return Result(
        metric=MEMORISATION.name,
        method=MEMORISATION.default,
        value=contrast.gap,
        unit=number.unit,
        direction=number.direction,
        n=(contrast.test.n, contrast.generated.n),
        d=contrast.test.d,
        id=f"{MEMORISATION.name}:gap",
        params={"number": GAP, **shared},
        se=se,
        ci=interval,
        test=tested,
    )


def _ratio(contrast: "_Contrast", gap: Result, notes: tuple[Note, ...]) -> Result:
    """The ratio, with the p-value of the gap: both are of the same labels."""
    se, interval = contrast.of_ratio()
    return replace(
        gap,
        value=contrast.ratio,
        unit="1",
        se=se,
        ci=interval,
        id=f"{MEMORISATION.name}:ratio",
        params={**gap.params, "number": RATIO},
        test=gap.test and replace(gap.test, null={}),
        warnings=notes,
        status="warn" if notes else "ok",
    )


def _labelled(result: Result, label: str) -> Result:
    """The result with its pair; the p-value that its notes advise is that of the gap."""
    notes = tuple(
        replace(note, message=note.message.removesuffix("; use --permutations for a p-value"))
        for note in result.warnings
    )
    name = f"{result.metric}:{label.replace(', ', '-')}"
    return replace(result, sample=label, id=name, warnings=notes)


def _automatic(
    estimator: Estimator, settings: Mapping[str, Any], pool: Samples, generated: Samples
) -> dict[str, Any]:
    """Automatic settings as they come out on all real rows: the same for train and test."""
    words = [
        s.name
        for s in estimator.settings
        if isinstance(settings[s.name], str) and {int, float} & set(s.types)
    ]
    if not words:
        return {}
    params = estimator(pool, generated, **settings).params
    return {name: params[name] for name in words if name in params}


@dataclass(frozen=True, eq=False)
class _Contrast:
    """Gap and ratio of D(gen, test) and D(gen, train), which share the generated rows."""

    test: Samples
    generated: Samples
    train: Samples
    to_test: Estimate
    to_train: Estimate
    level: float

    @property
    def gap(self) -> float:
        return self.to_test.value - self.to_train.value

    @property
    def ratio(self) -> float:
        """The ratio; infinite at distance 0 from the training rows, NaN where it means nothing."""
        above, below = self.to_test.value, self.to_train.value
        if above > 0:
            return above / below if below > RESOLVED * above else math.inf
        return math.nan

    def se(self, of_test: float, of_train: float) -> float | None:
        """Standard error of of_test · D(gen, test) − of_train · D(gen, train), from influences."""
        one, other = self.to_test, self.to_train
        if one.terms_x is None or one.terms_y is None:
            return None
        if other.terms_x is None or other.terms_y is None:
            return None
        return se_of_terms(
            (self.test, of_test * one.terms_x),
            (self.train, of_train * other.terms_x),
            (self.generated, of_test * one.terms_y - of_train * other.terms_y),
        )

    def of_gap(self) -> tuple[float | None, Interval | None]:
        """Standard error and interval of the gap."""
        se = self.se(1.0, 1.0)
        if se is None or not math.isfinite(self.gap):
            return None, None
        half = normal_quantile(0.5 + self.level / 2) * se
        return se, Interval(self.level, self.gap - half, self.gap + half, "influence")

    def of_ratio(self) -> tuple[float | None, Interval | None]:
        """Standard error and interval of the ratio, by the delta method on its logarithm."""
        above, below = self.to_test.value, self.to_train.value
        if not (0 < below < math.inf and 0 < above < math.inf and self.ratio < math.inf):
            return None, None
        se = self.se(1.0 / above, 1.0 / below)
        if se is None:
            return None, None
        factor = math.exp(min(normal_quantile(0.5 + self.level / 2) * se, 700.0))
        low, high = self.ratio / factor, self.ratio * factor
        return self.ratio * se, Interval(self.level, low, high, "delta")

    def doubts(self, numbers: Sequence[Result]) -> Iterator[Note]:
        """Why the ratio or its interval should not be gone by."""
        if math.isnan(self.ratio):
            yield Note("W01", "D(gen, test) is not above 0: there is no ratio; go by the gap")
        elif math.isinf(self.ratio):
            yield Note(
                "W02", "D(gen, train) is not above rounding: the ratio is infinite; go by the gap"
            )
        elif any(note.code == "W04" for one in numbers for note in one.warnings):
            yield Note(
                "W04",
                "a divergence is not above two standard errors: the interval of the ratio is not "
                "valid there; go by the p-value of the gap",
            )


def _unequal(estimator: Estimator, test: Samples, train: Samples) -> Iterator[Note]:
    """Divergences that vanish slowly are larger for few rows: their ratio is not 1 by itself."""
    sizes = sorted([test.effective_size(), train.effective_size()])
    if estimator.quantity.degenerate and sizes[1] > UNEQUAL * sizes[0]:
        yield Note(
            "W31",
            f"{test.name} is worth {test.effective_size():.4g} rows and {train.name} "
            f"{train.effective_size():.4g}: divergences of fewer rows are larger; go by the p-value, "
            "or give as many rows of either",
        )


def _finding(
    gap: Result, alpha: float, test: Samples, generated: Samples, train: Samples
) -> Iterator[Note]:
    """Memorisation, by the p-value of the gap or else by its interval."""
    if gap.test is not None:
        clear, by = gap.test.p_value <= alpha, f"p = {gap.test.p_value:.3g}"
    elif gap.ci is not None:
        clear = gap.ci.low > 0.0
        by = f"{gap.ci.level * 100:g}% CI {gap.ci.low:.3g} .. {gap.ci.high:.3g}"
    else:
        return
    if clear:
        yield Note(
            "W30",
            f"{generated.name} is nearer to {train.name} than to {test.name} by {gap.value:.3g} "
            f"({by}): rows are memorised",
        )
