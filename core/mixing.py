"""Gaussian mixtures fitted to rows, merged and reduced; and how likely new rows are under them.

`mixture` is the function behind `divmatch match mixture`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from divmatch.crossfit import combined
from divmatch.errors import InconclusiveError, SampleError, SettingError, counted
from divmatch.estimator import Estimator, parse_metric, se_of_terms
from divmatch.inference import infer
from divmatch.intervals import normal_quantile
from divmatch.kernels.execution import one_blas_thread
from divmatch.matcher import Watch
from divmatch.mixtures import Components, StoredMixture, stored
from divmatch.moments import Moments
from divmatch.randomness import stream
from divmatch.record import UNDECIDED, Interval, Note, Result
from divmatch.samples import Samples, as_samples, check_squares
from divmatch.transport.gaussian_mixture import shared
from divmatch.transport.mixture_barycentre import COSTS, check_regular
from divmatch.transport.mixture_fit import Fitted, fitted
from divmatch.transport.mixture_reduction import Reduced, mixture_w2, pooled, reduced

Array = NDArray[np.float64]
LIKELIHOOD, NONE = "log-likelihood", "none"
FEWEST = 4  # rows of an input that can be halved
UNITS = {"kl": "nats", "jeffreys": "nats", "w2": "data unit^2"}


@dataclass(frozen=True)
class Plan:
    """What is to be made: mixtures of ``components`` for rows, then ``reduce`` for all together."""

    components: int | None = None
    reduce: int | None = None
    cost: str = "kl"
    starts: int = 10
    steps: int = 1000

    def __post_init__(self) -> None:
        for name in ("components", "reduce", "starts", "steps"):
            value = getattr(self, name)
            if value is not None and (value != int(value) or value < 1):
                raise SettingError(f"--{name} {value}: expected a whole number, at least 1")
        if self.cost not in COSTS:
            raise SettingError(f"--cost {self.cost}: expected one of {', '.join(COSTS)}")


@dataclass(frozen=True, eq=False)
class Mixed:
    """The mixture that was made, and what is known of it.

    ``whole`` is what was there before a reduction: the fit to the rows, or all mixtures together.
    ``results`` are the mean log-likelihood of held-out rows before (one Gaussian, or the whole
    mixture where it was reduced), after, and the gain, or their divergence from draws before and
    after; the divergence of a reduction and its MW2.
    """

    mixture: StoredMixture
    whole: StoredMixture
    plan: Plan
    results: tuple[Result, ...]
    held_out: str
    converged: bool
    facts: Mapping[str, float | int]
    places: NDArray[np.intp] | None = None
    curve: tuple[Mapping[str, float], ...] = field(default=(), repr=False)

    def of(self, name: str) -> Result | None:
        """The result called before, after, gain, divergence or mw2."""
        return next((result for result in self.results if result.id == name), None)


def mixture(
    *inputs: ArrayLike | Samples,
    components: int | None = None,
    reduce: int | None = None,
    cost: str = "kl",
    starts: int = 10,
    steps: int = 1000,
    weights: ArrayLike | None = None,
    held_out: ArrayLike | Samples | None = None,
    metric: str = LIKELIHOOD,
    level: float = 0.95,
    seed: int = 0,
) -> Mixed:
    """Gaussian mixtures fitted to rows, merged and reduced to fewer components.

    Parameters
    ----------
    inputs : arrays or StoredMixture
        Rows, shape (n, d), and mixtures of `divmatch.mixtures.read_mixture` or `as_mixture`. Several are
        merged, each with the share of its rows.
    components : int
        K, for every input of rows.
    reduce : int
        k, the number of components in the end.
    cost : str
        kl, w2 or jeffreys: what replacing one Gaussian by another costs.
    starts : int
        Random starts of every fit and of the reduction; the best is kept.
    steps : int
        Iterations of either at most.
    weights : array
        Of the rows of the only input.
    held_out : array
        Rows of which the log-likelihood is told; without them halves of the inputs' rows.
    metric : str
        What is measured: log-likelihood; a divergence of rows from draws, ``name[:key=value,...]``; none.
    level : float
        Confidence level of the intervals.
    seed : int
        Seed of all randomness.

    Returns
    -------
    Mixed
        The mixture, its results, whether the fits converged.

    Examples
    --------
    >>> import divmatch
    >>> rows = [-2.1, -2.0, -1.9, 1.9, 2.0, 2.1]
    >>> divmatch.match.mixture(rows, components=2).mixture.components.shares.tolist()
    [0.5, 0.5]
    """
    if weights is not None and len(inputs) != 1:
        raise SettingError("weights: are of the only input; give Samples with weights")
    names = ["x"] if len(inputs) == 1 else [f"x{k}" for k in range(len(inputs))]
    given = [as_samples(one, name, weights) for one, name in zip(inputs, names, strict=True)]
    rows = None if held_out is None else as_samples(held_out, "held_out")
    plan = Plan(components, reduce, cost, starts, steps)
    return mixed(given, plan, held_out=rows, metric=metric, level=level, seed=seed)


def mixed(
    inputs: Sequence[Samples],
    plan: Plan,
    *,
    held_out: Samples | None = None,
    metric: str = LIKELIHOOD,
    level: float = 0.95,
    seed: int = 0,
    watch: Watch | None = None,
) -> Mixed:
    """Fit, merge, reduce; then say how likely rows are that the fits have not seen. See `mixture`."""
    if not 0 < level < 1:
        raise SettingError(f"--level {level}: expected a number above 0, below 1")
    plan, measure = _checked(inputs, plan, held_out), measuring(metric)
    watch = watch or Watch()
    with one_blas_thread(), np.errstate(all="ignore"):  # what is undefined is refused below
        made = _made(inputs, plan, seed, "all", watch)
        results, held = _measured(inputs, plan, made, held_out, measure, level, seed)
        results = [_warned(one, made.notes) if one.id != "before" else one for one in results]
        if made.reduced is not None:
            results += [_warned(one, made.notes) for one in _distances(made, made.reduced, plan)]
    if not results:
        results = [_count(made)]
    facts = {**made.facts, "components": len(made.after.shares)}
    total = sum(made.rows) if all(made.rows) else 0
    names = next(filter(None, map(_names, inputs)), ())
    known = (total, "mixture", names)
    places = None if made.reduced is None else made.reduced.places
    return Mixed(
        stored(made.after, *known), stored(made.whole, *known), plan, tuple(results), held,
        made.converged, facts, places, tuple(watch.curve),
    )  # fmt: skip


def _checked(inputs: Sequence[Samples], plan: Plan, held_out: Samples | None) -> Plan:
    """Refuse what does not go together; several mixtures are merged without being told to."""
    if not inputs:
        raise SettingError("expected rows or mixtures, got nothing")
    samples = [one for one in inputs if not isinstance(one, StoredMixture)]
    for one in samples:
        if isinstance(one, Moments):
            raise SampleError(f"{one.name}: holds one mean and covariance, no mixture and no rows")
    if samples and plan.components is None:
        raise SettingError(
            f"--components: {samples[0].name} holds rows; say how many Gaussians they are to have"
        )
    if not samples and plan.components is not None:
        raise SettingError("--components: there are no rows to fit; leave it out, or give --reduce")
    if not samples and plan.reduce is None and len(inputs) == 1 and held_out is None:
        raise SettingError(f"{inputs[0].name}: is a mixture already; give --reduce or --held-out")
    every = [*inputs] if held_out is None else [*inputs, held_out]
    first = inputs[0]
    for one in every:
        if one.d != first.d:
            raise SampleError(
                f"{one.name} has {counted(one.d, 'column')}, {first.name} has {first.d}; all need the "
                "same"
            )
    named = [one for one in every if _names(one)]
    for one in named:
        if one.columns != named[0].columns:
            raise SampleError(
                f"{one.name} has the columns {', '.join(one.columns)}, {named[0].name} has "
                f"{', '.join(named[0].columns)}; choose the same with --columns"
            )
    check_squares(*every)
    total = sum(
        len(one.components.shares) if isinstance(one, StoredMixture) else int(plan.components or 0)
        for one in inputs
    )
    if plan.reduce is not None and plan.reduce > total:
        raise SettingError(
            f"--reduce {plan.reduce}: there are {counted(total, 'component')}; give at most {total}"
        )
    merged = not samples and len(inputs) > 1 and plan.reduce is None
    return replace(plan, reduce=total) if merged else plan


def _names(one: Samples) -> tuple[str, ...]:
    """What the columns are called; those of a plain array have positions and no names."""
    return () if all(name.isdecimal() for name in one.columns) else one.columns


# --------------------------------------------------------------------------------- fit and reduce


@dataclass(frozen=True, eq=False)
class _Made:
    """The mixture of all inputs, what became of it, and what there is to say."""

    whole: Components
    after: Components
    shares: Array  # of the inputs
    rows: tuple[int, ...]  # behind each input, 0 where unknown
    reduced: Reduced | None
    converged: bool
    notes: tuple[Note, ...]
    facts: Mapping[str, float | int]


class _Part(Watch):
    """What a watch is told by one of several fits."""

    def __init__(self, outer: Watch, part: int, *, several: bool) -> None:
        self.outer, self.part, self.curve = outer, part, outer.curve
        self.label: dict[str, float] = {"part": part} if several else {}

    def step(self, iteration: int, **numbers: float) -> None:
        """One iteration of this fit."""
        self.outer.step(iteration, **self.label, **numbers)

    def kept(self) -> Mapping[str, NDArray[Any]] | None:
        """Where this fit stopped, if it was this one."""
        state = self.outer.kept()
        return state if state is not None and int(state["part"]) == self.part else None

    def keep(self, state: Callable[[], Mapping[str, NDArray[Any]]]) -> None:
        """The state of this fit."""
        self.outer.keep(lambda: {**state(), "part": np.array(self.part)})


def _made(inputs: Sequence[Samples], plan: Plan, seed: int, stage: str, watch: Watch) -> _Made:
    """All inputs as mixtures, merged, and reduced where that was asked for."""
    several = sum(not isinstance(one, StoredMixture) for one in inputs) > 1
    parts: list[Components] = []
    fits: list[Fitted] = []
    for k, one in enumerate(inputs):
        if isinstance(one, StoredMixture):
            parts.append(one.components)
            continue
        fits.append(_fit(one, plan, seed, (stage, k), _Part(watch, k, several=several)))
        parts.append(fits[-1].mixture)
    rows = tuple(map(_rows, inputs))
    shares = np.array(rows, dtype=float) if all(rows) else np.ones(len(rows))
    shares /= shares.sum()
    notes = [note for fit in fits for note in fit.notes]
    if len(inputs) > 1 and not all(rows):
        notes.append(_uncounted(inputs, rows))
    whole = pooled(parts, shares)
    found, after = None, whole
    if plan.reduce is not None:
        check_regular(whole, plan.cost, inputs[0].name if len(inputs) == 1 else "mixtures")
        found = reduced(
            whole, plan.reduce, plan.cost, starts=plan.starts, steps=plan.steps,
            rng=lambda: stream(seed, "match", "mixture", "reduce"), watch=watch,
        )  # fmt: skip
        after = found.mixture
    converged = all(fit.converged for fit in fits) and (found is None or found.converged)
    if not converged:
        notes.insert(0, _unconverged(f"within {plan.steps} --steps the mixture"))
    return _Made(
        whole, after, shares, rows, found, converged, tuple(notes), _facts(whole, fits, found)
    )


def _fit(one: Samples, plan: Plan, seed: int, stage: tuple[str, int], watch: Watch) -> Fitted:
    return fitted(
        one.points,
        one.masses(),
        int(plan.components or 1),
        starts=plan.starts,
        steps=plan.steps,
        name=one.name,
        rng=lambda: stream(seed, "match", "mixture", *stage),
        watch=watch,
    )


def _rows(one: Samples) -> int:
    """Rows with weight behind an input."""
    if isinstance(one, StoredMixture):
        return one.rows
    return one.n if one.weights is None else int(np.count_nonzero(one.weights))


def _uncounted(inputs: Sequence[Samples], rows: Sequence[int]) -> Note:
    unknown = next(one.name for one, count in zip(inputs, rows, strict=True) if not count)
    return Note(
        "W56",
        f"{unknown}: holds no n, the number of rows it was fitted to: all inputs count the same",
    )


def _facts(
    whole: Components, fits: Sequence[Fitted], found: Reduced | None
) -> dict[str, float | int]:
    facts: dict[str, float | int] = {}
    if fits:
        facts["fit_steps"] = max(fit.steps for fit in fits)
    if len(fits) == 1:
        facts["fit_log_likelihood"] = fits[0].log_likelihood
    if found is not None:
        facts["components_before"] = len(whole.shares)
        facts["reduction_steps"] = found.steps
    return facts


def _unconverged(what: str) -> Note:
    return Note("W68", f"{what} was not converged: the figures decide no limit; give more --steps")


# ------------------------------------------------------------------------------ before and after

Measure = tuple[Estimator, dict[str, Any]]  # a divergence with its settings


def measuring(metric: str) -> "Measure | str":
    """The divergence, or the word for what is none."""
    if metric in (LIKELIHOOD, NONE):
        return metric
    try:
        return parse_metric(metric, scoring=False)
    except SettingError as error:
        raise SettingError(f"--metric: {error}, nor {LIKELIHOOD} or {NONE}") from None


@dataclass(frozen=True, eq=False)
class _Seen:
    """Rows that a fit has not seen, what it is compared with, what it is, what it has to say."""

    rows: Samples
    before: Components
    after: Components
    mass: float = 1.0  # beside that of other fits' rows
    notes: tuple[Note, ...] = ()


def _measured(
    inputs: Sequence[Samples],
    plan: Plan,
    made: _Made,
    held_out: Samples | None,
    measure: "Measure | str",
    level: float,
    seed: int,
) -> tuple[list[Result], str]:
    """Figures of rows that the fits have not seen, and which rows those are."""
    samples = [one for one in inputs if not isinstance(one, StoredMixture)]
    if measure == NONE or (held_out is None and not samples):
        return [], "none"
    held = "both" if held_out is None else "file"
    try:
        if held_out is not None:
            seen = [_compared(made, plan, held_out)]
        elif min(one.n for one in samples) < FEWEST:
            raise InconclusiveError("too few rows to hold some out")
        else:
            seen = [_fold(inputs, plan, made.shares, seed, fold) for fold in range(2)]
        if isinstance(measure, str):
            return _likelihoods(seen, level), held
        return _divergences(seen, *measure, level, seed), held
    except InconclusiveError as error:
        note = Note("W70", f"no figure after: {error}")
        rows = samples if held_out is None else [held_out]
        return [_undecided(note, measure, rows, name) for name in ("before", "after")], held


def _fold(inputs: Sequence[Samples], plan: Plan, shares: Array, seed: int, fold: int) -> _Seen:
    """Fits to one half of every input's rows, with the other halves."""
    known: list[Samples] = []
    points, masses = [], []
    for k, (one, share) in enumerate(zip(inputs, shares, strict=True)):
        if isinstance(one, StoredMixture):
            known.append(one)
            continue
        order = stream(seed, "match", "halves", k).permutation(one.n)
        halves = np.sort(order[: one.n // 2]), np.sort(order[one.n // 2 :])
        rest = halves[1 - fold]
        known.append(_half(one, halves[fold]))
        points.append(one.points[rest])
        masses.append(share * one.masses()[rest])
    weights = np.concatenate(masses)
    if not weights.sum() > 0:
        raise InconclusiveError("a half of the rows has no weight")
    made = _made(known, plan, seed, f"half {fold}", Watch())
    even = bool((weights == weights[0]).all())
    rows = Samples(
        np.concatenate(points), None if even else weights / weights.sum(), "held-out rows",
        inputs[0].columns,
    )  # fmt: skip
    notes = () if made.converged else (_unconverged("a fit to a half of the rows"),)
    return replace(_compared(made, plan, rows), mass=float(weights.sum()), notes=notes)


def _half(one: Samples, rows: NDArray[np.intp]) -> Samples:
    if not one.masses()[rows].sum() > 0:
        raise InconclusiveError(f"{one.name}: a half of the rows has no weight")
    return one.take(rows)


def _compared(made: _Made, plan: Plan, rows: Samples) -> _Seen:
    """The whole mixture where it was reduced, else one Gaussian, against what was made."""
    first = made.whole
    if plan.reduce is None:
        held = stored(made.whole)
        first = Components(np.ones(1), held.mean[None], held.covariance[None])
    return _Seen(rows, first, made.after)


def _likelihoods(seen: Sequence[_Seen], level: float) -> list[Result]:
    """Mean log-likelihood before and after, and the gain, with intervals over the rows."""
    before = np.concatenate([_log_densities(one.before, one.rows.points) for one in seen])
    after = np.concatenate([_log_densities(one.after, one.rows.points) for one in seen])
    masses = np.concatenate([one.mass * one.rows.masses() for one in seen])
    masses /= masses.sum()
    rows, d = Samples(after[:, None], masses), seen[0].rows.d
    notes = {note.code: note for one in seen for note in one.notes}
    made = []
    for name, terms in (("before", before), ("after", after), ("gain", after - before)):
        value = float(masses @ terms)
        se = se_of_terms((rows, terms))
        half = None if se is None else normal_quantile(0.5 + level / 2) * se
        ci = None if half is None else Interval(level, value - half, value + half, "influence")
        metric = "log_likelihood_gain" if name == "gain" else "log_likelihood"
        status = "ok" if np.isfinite(value) else "inconclusive"
        one = Result(
            metric, "mixture", value, "nats", "P", (rows.n,), d, se=se, ci=ci, better="higher",
            status=status, id=name,
        )  # fmt: skip
        made.append(_warned(one, () if name == "before" else tuple(notes.values())))
    return made


def _divergences(
    seen: Sequence[_Seen], measure: Estimator, settings: Mapping[str, Any], level: float, seed: int
) -> list[Result]:
    """How far the rows are from as many draws, before and after."""
    made = []
    for name in ("before", "after"):
        parts = []
        for k, one in enumerate(seen):
            of = one.before if name == "before" else one.after
            draws = drawn(of, one.rows.n, stream(seed, "match", "mixture", "draws", k))
            other = Samples(draws, None, "draws", one.rows.columns)
            found = infer(measure, one.rows, other, settings, level=level, seed=seed)
            parts.append(_warned(found, () if name == "before" else one.notes))
        n = (sum(one.rows.n for one in seen),) * 2
        several = len(parts) > 1
        whole = combined(parts, level, n, shared=False, name=name) if several else parts[0]
        made.append(replace(whole, id=name))
    return made


def drawn(mixture: Components, count: int, rng: "np.random.Generator") -> Array:
    """Rows drawn from a mixture, (count, d)."""
    bounds = np.cumsum(mixture.shares)
    places = np.searchsorted(bounds / bounds[-1], rng.random(count), side="right")
    normal = rng.standard_normal((count, mixture.d))
    values, vectors = np.linalg.eigh(mixture.covariances)
    roots = vectors * np.sqrt(np.maximum(values, 0.0))[:, None, :]
    made = mixture.means[places]
    for k, root in enumerate(roots):
        mine = places == k
        made[mine] += normal[mine] @ root.T
    return made


def _log_densities(mixture: Components, points: Array) -> Array:
    try:
        return shared(points, mixture)[1]
    except np.linalg.LinAlgError:
        raise InconclusiveError(
            "a covariance is singular: rows have no log-likelihood under the mixture"
        ) from None


def _undecided(
    note: Note, measure: "Measure | str", samples: Sequence[Samples], name: str
) -> Result:
    n, d = (sum(one.n for one in samples),), samples[0].d
    metric, unit, better = "log_likelihood", "nats", "higher"
    if not isinstance(measure, str):
        of = measure[0].quantity
        metric, unit, better = of.name, of.unit_of(measure[1]), of.better
    return Result(
        metric, "mixture", np.nan, unit, "P", n, d, better=better, status="inconclusive", id=name,
        warnings=(note,) if name == "after" else (),
    )  # fmt: skip


# -------------------------------------------------------------------------------------- reduction


def _distances(made: _Made, found: Reduced, plan: Plan) -> list[Result]:
    """How far the reduced mixture is from the whole: by the cost it was reduced with, and by MW2."""
    n, d = (sum(made.rows),), made.whole.d
    return [
        Result(
            "composite_transport", plan.cost, found.divergence, UNITS[plan.cost], "P||Q", n, d,
            id="divergence",
        ),
        Result(
            "mw2", "w2", max(mixture_w2(made.whole, made.after), 0.0), "data unit^2", "symmetric", n,
            d, id="mw2",
        ),
    ]  # fmt: skip


def _count(made: _Made) -> Result:
    """What there is to report where nothing was measured."""
    count, n = float(len(made.after.shares)), (sum(made.rows),)
    one = Result("components", "mixture", count, "1", "P", n, made.whole.d, id="components")
    return _warned(one, made.notes)


def _warned(result: Result, notes: Sequence[Note]) -> Result:
    """The result with more warnings, each code once."""
    known = {note.code for note in notes}
    kept = (*notes, *(note for note in result.warnings if note.code not in known))
    undecided = result.status == "inconclusive" or any(note.code in UNDECIDED for note in kept)
    status = "inconclusive" if undecided else ("warn" if kept else result.status)
    return replace(result, warnings=kept, status=status)
