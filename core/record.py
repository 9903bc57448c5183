"""The record: one frozen result, and the JSON that scripts may rely on."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SCHEMA = "divmatch/result/1"

CODES = {
    "W01": "an unbiased estimate of a non-negative quantity came out negative",
    "W02": "the quantity is infinite, or suspected to be",
    "W03": "tied rows",
    "W04": "the estimate is not clearly above what equal distributions give: the interval is not valid",
    "W05": "a cap on the number of neighbours was hit",
    "W06": "the Monte Carlo error asked for was not reached",
    "W07": "the samples hardly overlap: the divergence may be far larger, or inf",
    "W08": "a few rows carry most of the weight",
    "W09": "the median distance is zero; the mean of the non-zero ones was taken as bandwidth",
    "W10": "too few rows for a standard error",
    "W11": "rows were jittered",
    "W12": "tied rows were left out",
    "W13": "the interval rests on a bias extrapolated from subsamples; it is not reliable",
    "W14": "a density estimate is unreliable: bandwidth at the grid's end, or rows beyond the kernels",
    "W15": "the maximum of the ratio depends on the few rows where it is largest",
    "W16": "the rows are not invariant under the group that --invariant names",
    "W17": "the critic fits its own rows far better than held-out ones",
    "W18": "an optimisation was not converged",
    "W19": "clipping moved the value: no lower bound",
    "W20": "a column has no interquartile range in the reference",
    "W21": "a column is constant in the reference and was not scaled",
    "W22": "missing values were filled in with the reference's mean",
    "W23": "categories that the reference does not have",
    "W24": "the automatic choice is not reliable: methods disagree, or there are too many columns",
    "W25": "many cells hold too few rows for the plug-in's corrections",
    "W26": "whole numbers beyond 2^53 were rounded",
    "W27": "fitted density ratios were too small for a logarithm or power and were raised",
    "W28": "the estimate is near the largest one that so many negatives allow",
    "W29": "rows have no neighbour of their own sample: the estimate is too large",
    "W30": "generated rows are nearer to the training rows than to the test rows: memorisation",
    "W31": "numbers of samples of unequal sizes are compared, and their bias is not the same",
    "W32": "the scores do not look like gradients of a logarithm of a density",
    "W33": "a group of columns is constant: it depends on nothing",
    "W34": "balls of radius zero: rows with many copies",
    "W35": "missing values were left out of a column's statistics",
    "W36": "a p-value is rough: categories with few expected rows",
    "W37": "too few permutations for a test of many kernels",
    "W38": "too few rows for a bias to be known",
    "W39": "rows without a partner were left out",
    "W40": "so few groups or splits that the interval is rough or no p-value can be small",
    "W46": "a list of a plan's pairs lacks some of the mass",
    "W47": "an iteration was not converged: the value decides no limit",
    "W48": "most of the mass was not transported",
    "W49": "an Orlicz distance rests on a few pairs of far rows",
    "W52": "a component of a mixture collapsed, and covariances were kept from it",
    "W41": "what was left to the data came out differently for samples that are compared",
    "W42": "rows that a method takes for Gaussian are plainly not",
    "W43": "the fitted ratio does not carry Q over to P: the value falls short",
    "W44": "columns differ so much in scale that distances see only some of them",
    "W50": "the Monge gap of a map comes from a part of the rows",
    "W51": "rows are so few that covariances were drawn towards their diagonal",
    "W53": "with many columns samples are further apart than their distributions",
    "W54": "the distance is sliced, since rows are many: smaller than the exact one",
    "W55": "an upper bound: parties that keep their rows may end above the distance",
    "W57": "the steps of a sampler were used up before its particles came to rest",
    "W56": "mixtures without their number of rows count as if all had as many",
    "W58": "a good part of the value is the bias of few rows",
    "W59": "fewer rows than columns: the covariance is singular, and the interval rough",
    "W60": "stored moments without their number of rows, or a stored mixture, are taken as exact",
    "W61": "a component of a mixture rests on few rows",
    "W62": "few rows lie in the tails",
    "W63": "prototypes of classes with a single row",
    "W64": "ties among the nearest neighbours were broken at random",
    "W65": "the value is not above what two halves of the oracle models give",
    "W66": "bias and standard error come from a part of the rows",
    "W67": "margins were clipped, as KLoM is defined",
    "W68": "a match was not converged: the figure after decides no limit",
    "W69": "particles are narrower than their target",
    "W70": "no figure after a match: no rows could be held out",
    "W71": "rows of P got no weight: a constraint is at the end of what they have",
    "W72": "a few columns stand for a kernel matrix that does not fit into memory, or takes too long",
    "W73": "importance weights have so heavy a tail that their means do not settle",
    "W74": "weights are worth so few rows that draws by them repeat themselves",
    "W75": "the target is not log-concave where it was looked at",
    "W86": "the steps of a flow were used up before P was as near to Q as sampling allows",
    "W87": "the particles of a flow came to rest before P was as near to Q as sampling allows",
    "W78": "rows of P got no weight: their fitted density ratio is negative",
    "W79": "strata are so rare that no row of them was chosen",
    "W76": "nothing to explain: samples of one distribution may differ as much",
    "W77": "the rarest categories were taken as one in the dependence",
    "W80": "rows were chosen more than once",
    "W81": "chosen rows are further from the whole than random ones",
    "W82": "equal masses stood on both sides of the cut: the first classes were kept",
    "W83": "rows met constraints only nearly",
    "E00": "a sample set could not be scored",
    "E01": "the data allow no number",
}

UNDECIDED = frozenset({"W47", "W68", "W70"})  # warnings with which a value decides no limit


@dataclass(frozen=True)
class Note:
    """A warning with a stable code: what the user should know and cannot see in the number."""

    code: str
    message: str


@dataclass(frozen=True)
class Interval:
    """A confidence interval, with the method that made it."""

    level: float
    low: float
    high: float
    method: str
    resamples: int = 0


@dataclass(frozen=True)
class Test:
    """A p-value in (0, 1] with its null distribution's mean, standard deviation and 95 % point.

    ``permutations`` is 0, and ``null`` empty, where ``method`` needs none. ``adjusted`` is the p-value
    where several tests of one run are taken together. ``error`` is the p-value's own Monte Carlo
    standard error, 0 where every possible split was taken. ``power`` is how often a test like this
    would reject if the true value were the estimate. ``design`` says what was exchanged with what,
    where that was not any row with any other.
    """

    p_value: float
    method: str
    permutations: int
    null: Mapping[str, float]
    error: float | None = None
    power: float | None = None
    design: str | None = None
    adjusted: float | None = None

    __test__ = False  # the name is the field's; pytest must not collect it


@dataclass(frozen=True)
class Result:
    """One estimate: value, uncertainty, test, and everything needed to repeat it."""

    metric: str
    method: str
    value: float
    unit: str
    direction: str
    n: tuple[int, ...]  # one for each sample
    d: int
    se: float | None = None
    ci: Interval | None = None
    test: Test | None = None
    error: Mapping[str, float] | None = None
    bias: Mapping[str, Any] | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    better: str = "lower"
    exact: bool = True
    status: str = "ok"
    sample: str | None = None
    id: str = ""
    warnings: tuple[Note, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The `result` object of the schema: no NaN or infinity, undefined is None."""
        made: dict[str, Any] = {
            "id": self.id or self.metric,
            "metric": self.metric,
            "method": self.method,
            "params": {key: _plain(value) for key, value in self.params.items()},
            "direction": self.direction,
        }
        if self.sample is not None:
            made["sample"] = self.sample
        made |= {
            "value": finite(self.value),
            "unit": self.unit,
            "better": self.better,
            "se": finite(self.se),
            "ci": self.ci and _interval(self.ci),
            "bias": self.bias,
            "error": None
            if self.error is None
            else {key: finite(value) for key, value in self.error.items()},
            "test": self.test and _test(self.test),
            "n": list(self.n),
            "exact": self.exact,
            "status": self.status,
            "warnings": [{"code": note.code, "message": note.message} for note in self.warnings],
        }
        return made | dict(self.extra)


def finite(value: float | None) -> float | None:
    """The number, or None where it is infinite or undefined."""
    return None if value is None or not math.isfinite(value) else float(value)


def _plain(value: Any) -> Any:
    return finite(value) if isinstance(value, float) else value


def _interval(ci: Interval) -> dict[str, Any]:
    return {
        "level": ci.level,
        "low": finite(ci.low),
        "high": finite(ci.high),
        "method": ci.method,
        "resamples": ci.resamples,
    }


def _test(test: Test) -> dict[str, Any]:
    known = {"monte_carlo_se": test.error, "power": test.power, "design": test.design}
    return {
        "p_value": test.p_value,
        "p_adjusted": test.adjusted,
        "method": test.method,
        "permutations": test.permutations,
        "null": {key: finite(value) for key, value in test.null.items()},
        **{key: value for key, value in known.items() if value is not None},
    }


def document(
    command: str,
    inputs: list[dict[str, Any]],
    settings: Mapping[str, Any],
    results: list[dict[str, Any]],
    *,
    verdict: Mapping[str, Any] | None = None,
    run: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The whole output document of a command."""
    from divmatch import __version__

    made: dict[str, Any] = {
        "schema": SCHEMA,
        "tool": {"name": "divmatch", "version": __version__},
        "command": command,
        "inputs": inputs,
        "settings": dict(settings),
        "results": results,
    }
    if verdict is not None:
        made["verdict"] = dict(verdict)
    if run is not None:
        made["run"] = dict(run)
    return made
