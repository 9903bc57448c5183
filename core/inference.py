"""Results of any estimator: the estimate with its interval, its test and its warnings.

No estimator resamples by itself. All numbers follow from the seed, whatever the number of threads.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from divmatch.cautions import (
    advised,
    doubts,
    group_notes,
    infinite_notes,
    test_notes,
    weight_notes,
)
from divmatch.designs import Design, Exchange
from divmatch.errors import InconclusiveError, SettingError
from divmatch.estimator import Estimate, Estimator, Quantity, quantity
from divmatch.intervals import Subsampled, interval_of, subsampled
from divmatch.kernels.execution import one_blas_thread
from divmatch.permutations import (
    ALPHA,
    BETTER,
    exchanged,
    null_of,
    permuted,
    shuffled_pool,
    with_power,
)
from divmatch.randomness import stream
from divmatch.record import UNDECIDED, Note, Result, Test
from divmatch.samples import (
    Samples,
    as_samples,
    check_partners,
    with_beside,
    with_densities,
)


def infer(
    estimator: Estimator,
    x: Samples,
    y: Samples | None,
    settings: Mapping[str, Any],
    **options: Any,
) -> Result:
    """Estimate, interval and, for ``permutations`` > 0, p-value, as one result: see `infer_all`."""
    return infer_all(estimator, x, y, [settings], **options)[0]


def infer_all(
    estimator: Estimator,
    x: Samples,
    y: Samples | None,
    several: Sequence[Mapping[str, Any]],
    *,
    level: float = 0.95,
    permutations: int = 0,
    seed: int = 0,
    design: Design | None = None,
    precision: float | None = None,
    alpha: float = ALPHA,
    kept: list[tuple[Estimate, Subsampled | None]] | None = None,
) -> list[Result]:
    """One result for each set of settings; they share subsamples, splits and neighbour searches.

    Parameters
    ----------
    estimator : Estimator
        The method of a quantity.
    x, y : Samples
        The reference P and the candidate Q, with the same columns; y is None for an estimator of P
        alone.
    several : sequence of mappings
        Checked settings of the estimator.
    level : float
        Confidence level of the interval, in (0, 1).
    permutations : int
        B; the p-value is (1 + #{T_b >= T}) / (B + 1), exact in level for any n and m.
    seed : int
        Seed of all randomness.
    design : Design, optional
        How the rows belong together: what may be exchanged, and what is independent.
    precision : float, optional
        Stop permuting as soon as the Monte Carlo error of the p-value is at most this.
    alpha : float
        Level of the test that the detectable effect is for.
    kept : list, optional
        Is given every estimate with its subsamples, for those who compare results.

    Returns
    -------
    list of Result
        Value, standard error, interval, test and coded warnings.
    """
    check_partners(x, y)
    if permutations and y is None and not estimator.quantity.alone:
        raise SettingError("--permutations: rows of Q are needed, --log-q has none; leave it out")
    if not 0 < level < 1:
        raise SettingError(f"--level {level}: expected a number above 0, below 1")
    if permutations < 0 or seed < 0:
        name, value = ("permutations", permutations) if permutations < 0 else ("seed", seed)
        raise SettingError(f"--{name} {value}: expected a whole number, at least 0")
    with one_blas_thread(), np.errstate(all="ignore"):  # what is undefined is refused below
        seeded = [{**settings, **seed_of(estimator, seed)} for settings in several]
        brief = design is None and kept is None  # others need the influence of every row
        evaluate = estimator.summary if brief else estimator
        estimates = [estimate_of(evaluate, estimator, x, y, settings) for settings in seeded]
        subsamples: list[Subsampled | None] = [None] * len(several)
        if estimator.interval == "subsampling":
            subsamples = subsampled(estimator, x, y, seeded, seed, design, estimator.fraction)
        if kept is not None:
            kept += zip(estimates, subsamples, strict=True)
        if permutations:
            held = [
                {**settings, **_held(estimate, settings)}
                for estimate, settings in zip(estimates, seeded, strict=True)
            ]
            tested = _tested(estimator, x, y, held, permutations, seed, design, precision, alpha)
            estimates = [
                replace(estimate, test=test, notes=(*estimate.notes, *said))
                for estimate, (test, said) in zip(estimates, tested, strict=True)
            ]
    made = []
    for settings, estimate, found in zip(several, estimates, subsamples, strict=True):
        result = result_of(estimator, x, y, settings, estimate, found, level, design)
        test = estimate.test
        notes = tuple(advised(note, tested=test is not None) for note in result.warnings)
        notes += test_notes(test, permutations, precision, alpha)
        if test is not None and permutations and estimator.quantity.better == "lower":
            test = with_power(test, result, alpha, degenerate=estimator.quantity.degenerate)
        status = "warn" if notes and result.status == "ok" else result.status
        id = metric_id(estimator, settings, len(several))
        made.append(replace(result, test=test, warnings=notes, status=status, id=id))
    return made


def _tested(
    estimator: Estimator,
    x: Samples,
    y: Samples | None,
    several: Sequence[Mapping[str, Any]],
    permutations: int,
    seed: int,
    design: Design | None,
    precision: float | None,
    alpha: float,
) -> Iterator[tuple[Test, tuple[Note, ...]]]:
    """The permutation test of each of several settings, which share the splits; and what it says."""
    pool, labels = (x, None) if y is None else shuffled_pool(x, y, seed)
    observed = None if labels is None else Exchange.of_rows(labels)
    if design is not None:
        observed = exchanged(design, seed)
    of = estimator.quantity
    for held in several:
        own = None
        if y is not None and design is None:
            own = estimator.own_test(x, y, permutations, seed, held)
        if own is not None:
            null = null_of(own.values, alpha)
            yield Test(own.p_value, own.method, permutations, null), own.notes
            continue
        plan = estimator.plan(pool, **held)
        test = permuted(
            plan, pool.n, observed, permutations, seed, of.name,
            precision=precision, alpha=alpha,
            sign=1.0 if plan.draws == "orders" else BETTER[of.better],
        )  # fmt: skip
        yield replace(test, design=None if design is None else design.name), ()


def estimate_of(
    evaluate: Callable[..., Estimate],
    estimator: Estimator,
    x: Samples,
    y: Samples | None,
    settings: Mapping[str, Any],
) -> Estimate:
    """The estimate, if there is one: of the estimator itself or of its summary."""
    estimate = evaluate(x, y, **settings)
    if math.isnan(estimate.value):
        names = x.name if y is None else f"{x.name} and {y.name}"
        raise InconclusiveError(
            f"{estimator.quantity.name}: undefined for {names}; too few rows carry weight, or numbers are "
            "too large for their products"
        )
    return estimate


def metric_id(estimator: Estimator, settings: Mapping[str, Any], several: int) -> str:
    """The metric as --metrics would name it, where one command gives several results."""
    if several == 1:
        return ""
    own = [f"{s.name}={settings[s.name]}" for s in estimator.settings if s.many]
    return f"{estimator.quantity.name}:{','.join(own)}"


def result_of(
    estimator: Estimator,
    x: Samples,
    y: Samples | None,
    settings: Mapping[str, Any],
    estimate: Estimate,
    found: Subsampled | None,
    level: float,
    design: Design | None = None,
) -> Result:
    """Estimate and subsamples, dressed as a result without a test."""
    se, interval, bias, notes = interval_of(estimator, estimate, found, x, y, level, design)
    notes = (
        *estimate.notes,
        *group_notes(design),
        *infinite_notes(estimate),
        *weight_notes(x, y),
        *doubts(estimator, x, y, settings),
        *notes,
    )
    of = estimator.quantity
    return Result(
        metric=of.name,
        method=estimator.method,
        value=estimate.value + 0.0,  # no minus zero
        unit=estimator.unit_of(settings),
        direction=of.direction_of(settings),
        n=(x.n,) if y is None else (x.n, y.n),
        d=x.d,
        se=se,
        ci=interval,
        error=None if estimate.error is None else {"monte_carlo_se": estimate.error},
        bias={"estimate": bias, "corrected": "interval"} if bias else None,
        params={**settings, **estimate.params},
        better=of.better,
        exact=estimate.exact,
        status=_status(estimate.value, notes),
        warnings=notes,
    )


def _status(value: float, notes: tuple[Note, ...]) -> str:
    if any(note.code in UNDECIDED for note in notes):
        return "inconclusive"
    return "ok" if math.isfinite(value) and not notes else "warn"


def seed_of(estimator: Estimator, seed: int) -> dict[str, Any]:
    """The hidden setting of methods that draw random numbers."""
    return {"rng": stream(seed, estimator.quantity.name, "method")} if estimator.random else {}


def _held(estimate: Estimate, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Automatic settings as they came out on the pooled data: the same for every split."""
    return {name: estimate.params[name] for name in settings if name in estimate.params}


# --------------------------------------------------------------------------- Python functions


def function_of(name: str) -> Any:
    """The Python function of a quantity: `divmatch.energy(x, y, power=1, permutations=999)`.

    Where Q may be known by its density, ``log_q`` holds ln q at the rows of x in the place of y.
    """
    wanted = quantity(name)
    if wanted.packed is not None:
        return _function_of_packed(wanted)
    if wanted.alone:
        return _function_of_one(wanted)

    def measure(
        x: Any,
        y: Any = None,
        *,
        log_q: Any = None,
        method: str | None = None,
        weights_x: Any = None,
        weights_y: Any = None,
        level: float = 0.95,
        permutations: int = 0,
        seed: int = 0,
        **settings: Any,
    ) -> Result:
        p, q = as_samples(x, "x", weights_x), None
        if (y is None) == (log_q is None):
            raise SettingError(
                f"{name}: expected the rows y of Q{', or log_q' * bool(wanted.known)}"
            )
        if log_q is None:
            chosen, q = wanted.chosen(method, settings), as_samples(y, "y", weights_y)
        else:
            chosen, p = wanted.chosen_for_density(method), with_densities(p, log_q)
            if weights_y is not None:
                raise SettingError("weights_y: rows of Q are needed, log_q has none; leave it out")
        return infer(
            chosen,
            p,
            q,
            chosen.checked(settings),
            level=level,
            permutations=permutations,
            seed=seed,
        )

    measure.__name__ = measure.__qualname__ = name
    measure.__doc__ = wanted.methods[wanted.default].doc
    return measure


def _function_of_one(wanted: Quantity) -> Any:
    """The Python function of a quantity of one sample: `divmatch.ksd(x, target="gaussian:0,1")`."""

    def measure(
        sample: Any,
        /,
        *,
        method: str | None = None,
        weights: Any = None,
        level: float = 0.95,
        permutations: int = 0,
        seed: int = 0,
        **settings: Any,
    ) -> Result:
        chosen = wanted.chosen(method, settings)
        x = as_samples(sample, "x", weights)
        for setting in chosen.settings:
            if setting.per_row and settings.get(setting.name) is not None:
                x = with_beside(x, setting.name, settings[setting.name])
                settings = {**settings, setting.name: "given"}
        checked = chosen.checked(settings)
        return infer(chosen, x, None, checked, level=level, permutations=permutations, seed=seed)

    measure.__name__ = measure.__qualname__ = wanted.name
    measure.__doc__ = wanted.methods[wanted.default].doc
    return measure


def _function_of_packed(wanted: Quantity) -> Any:
    """The Python function of a quantity with inputs of its own: `divmatch.align(a, b, k=10)`."""
    from inspect import signature

    packed: Any = wanted.packed

    def measure(
        *inputs: Any,
        method: str | None = None,
        level: float = 0.95,
        permutations: int = 0,
        seed: int = 0,
        **rest: Any,
    ) -> Result:
        own = {name: rest.pop(name) for name in signature(packed).parameters if name in rest}
        x, y = packed(*inputs, **own)
        chosen = wanted.chosen(method, rest)
        checked = chosen.checked(rest)
        return infer(chosen, x, y, checked, level=level, permutations=permutations, seed=seed)

    measure.__name__ = measure.__qualname__ = wanted.name
    measure.__doc__ = wanted.methods[wanted.default].doc
    return measure


def in_bits(result: Result) -> Result:
    """A result in nats, divided by ln 2."""
    if result.unit != "nats":
        raise SettingError(f"--unit bits: {result.metric} is not measured in nats")
    scale = 1 / math.log(2)
    ci, test = result.ci, result.test
    if ci:
        ci = replace(ci, low=ci.low * scale, high=ci.high * scale)
    if test:
        test = replace(test, null={key: value * scale for key, value in test.null.items()})
    bias = result.bias
    if bias:
        bias = {**bias, "estimate": bias["estimate"] * scale}
    return replace(
        result,
        bias=bias,
        value=result.value * scale,
        unit="bits",
        se=None if result.se is None else result.se * scale,
        ci=ci,
        test=test,
    )
