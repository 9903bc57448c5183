"""How good a mixture is: likelihoods of rows that its fit has not seen, distances of a reduction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divmatch.crossfit import combined
from divmatch.errors import InconclusiveError, SettingError
from divmatch.estimator import Estimator, parse_metric, se_of_terms
from divmatch.inference import infer
from divmatch.intervals import normal_quantile
from divmatch.matcher import Watch
from divmatch.mixture_fits import Made, Plan, made_of, unconverged
from divmatch.mixtures import Components, StoredMixture
from divmatch.randomness import stream
from divmatch.record import UNDECIDED, Interval, Note, Result
from divmatch.samples import Samples
from divmatch.transport.gaussian_mixture import shared
from divmatch.transport.mixture_barycentre import rooted
from divmatch.transport.mixture_reduction import Reduced, mixture_w2

Array = NDArray[np.float64]
LIKELIHOOD, NONE = "log-likelihood", "none"
FEWEST = 4  # rows of an input that can be halved
UNITS = {"kl": "nats", "jeffreys": "nats", "w2": "data unit^2"}

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
class Seen:
    """Rows that a fit has not seen, what it is compared with, what it is, what it has to say."""

    rows: Samples
    before: Components
    after: Components
    mass: float = 1.0  # beside that of other fits' rows
    notes: tuple[Note, ...] = ()


def measured(
    inputs: Sequence[Samples],
    plan: Plan,
    made: Made,
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


def _fold(inputs: Sequence[Samples], plan: Plan, shares: Array, seed: int, fold: int) -> Seen:
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
    made = made_of(known, plan, seed, f"half {fold}", Watch())
    even = bool((weights == weights[0]).all())
    rows = Samples(
        np.concatenate(points), None if even else weights / weights.sum(), "held-out rows",
        inputs[0].columns,
    )  # fmt: skip
    notes = () if made.converged else (unconverged("a fit to a half of the rows"),)
    return replace(_compared(made, plan, rows), mass=float(weights.sum()), notes=notes)


def _half(one: Samples, rows: NDArray[np.intp]) -> Samples:
    if not one.masses()[rows].sum() > 0:
        raise InconclusiveError(f"{one.name}: a half of the rows has no weight")
    return one.take(rows)


def _compared(made: Made, plan: Plan, rows: Samples) -> Seen:
    """The whole mixture where it was reduced, else one Gaussian, against what was made."""
    first = made.whole
    if plan.reduce is None:
        mean = made.whole.mean
        first = Components(np.ones(1), mean[None], made.whole.spread(mean)[None])
    return Seen(rows, first, made.after)


def _likelihoods(seen: Sequence[Seen], level: float) -> list[Result]:
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
        made.append(warned(one, () if name == "before" else tuple(notes.values())))
    return made


def _divergences(
    seen: Sequence[Seen], measure: Estimator, settings: Mapping[str, Any], level: float, seed: int
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
            parts.append(warned(found, () if name == "before" else one.notes))
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
    roots, _ = rooted(mixture.covariances)
    made = mixture.means[places]
    for k, root in enumerate(roots):
        mine = places == k
        made[mine] += normal[mine] @ root
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


def distances(made: Made, found: Reduced, plan: Plan) -> list[Result]:
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


def counted_components(made: Made) -> Result:
    """What there is to report where nothing was measured."""
    count, n = float(len(made.after.shares)), (sum(made.rows),)
    one = Result("components", "mixture", count, "1", "P", n, made.whole.d, id="components")
    return warned(one, made.notes)


def warned(result: Result, notes: Sequence[Note]) -> Result:
    """The result with more warnings, each code once."""
    known = {note.code for note in notes}
    kept = (*notes, *(note for note in result.warnings if note.code not in known))
    undecided = result.status == "inconclusive" or any(note.code in UNDECIDED for note in kept)
    status = "inconclusive" if undecided else ("warn" if kept else result.status)
    return replace(result, warnings=kept, status=status)
