"""What `match mixture` makes of its inputs: fits to rows, merged with mixtures, reduced."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divmatch.cautions import weight_notes
from divmatch.errors import SampleError, SettingError, counted
from divmatch.matcher import Watch
from divmatch.mixtures import Components, StoredMixture
from divmatch.moments import Moments
from divmatch.randomness import stream
from divmatch.record import Note
from divmatch.samples import Samples, check_squares
from divmatch.transport.mixture_barycentre import COSTS, check_regular
from divmatch.transport.mixture_fit import Fitted, fitted
from divmatch.transport.mixture_reduction import Reduced, pooled, reduced

Array = NDArray[np.float64]


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


def checked(inputs: Sequence[Samples], plan: Plan, held_out: Samples | None) -> Plan:
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
    named = [one for one in every if names_of(one)]
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


def names_of(one: Samples) -> tuple[str, ...]:
    """What the columns are called; those of a plain array have positions and no names."""
    return () if all(name.isdecimal() for name in one.columns) else one.columns


@dataclass(frozen=True, eq=False)
class Made:
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

    def at(self, what: str) -> None:
        """Something on the way to it."""
        self.outer.at(what)

    def kept(self) -> Mapping[str, NDArray[Any]] | None:
        """Where this fit stopped, if it was this one."""
        state = self.outer.kept()
        return state if state is not None and int(state["part"]) == self.part else None

    def keep(self, state: Callable[[], Mapping[str, NDArray[Any]]]) -> None:
        """The state of this fit."""
        self.outer.keep(lambda: {**state(), "part": np.array(self.part)})


def made_of(inputs: Sequence[Samples], plan: Plan, seed: int, stage: str, watch: Watch) -> Made:
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
    notes += [note for one in inputs for note in weight_notes(one, None)]
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
        notes.insert(0, unconverged(f"within {plan.steps} --steps the mixture"))
    return Made(
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


def unconverged(what: str) -> Note:
    """Say that figures rest on a fit that had not come to rest."""
    return Note("W68", f"{what} was not converged: the figures decide no limit; give more --steps")
