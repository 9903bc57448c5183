"""Particles that follow the gradient of a divergence, with steps that nobody has to tune."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import counted
from divmatch.kernels.execution import steps_of
from divmatch.matcher import Figure, Fit, Watch
from divmatch.record import Note
from divmatch.samples import Samples
from divmatch.transport.flow_state import HALVINGS, State, restored, stored
from divmatch.transport.frame import Frame, parted, rms
from divmatch.transport.inertia import Bath, drifted

Array = NDArray[np.float64]
Draw = Callable[[], "np.random.Generator"]

FAR = 10.0  # spreads between the means from which the flow begins with a translation
PATIENCE = 50  # looks at the objective without a lower one, after which steps are halved
FLAT = 1e-9  # of the first objective: the goal where sampling noise is unknown
LOOK = 10  # steps between two looks at the objective where velocities are taken elsewhere
FEWEST = 4  # rows that can be halved
BAND = 1 << 15  # numbers that stay in the cache with what is made of them


class Objective(Protocol):
    """A divergence from Q as a function of the particles: its value, and its gradient anywhere.

    The gradient is that of the first variation: by a particle, divided by the particle's weight.
    ``reach`` is the distance over which it changes.
    """

    reach: float

    def at(self, points: Array, where: Array, rng: Draw) -> tuple[float, Array]:
        """The value of these particles, undefined unless they are ``where``, and the gradient there."""
        ...


Make = Callable[[Array, Array | None, Array | None], Objective]  # from Q's rows, its weights, P's
Family = Callable[
    [Array, Array, float], tuple[Make, ...]
]  # from first particles, Q's rows, the unit


@dataclass(frozen=True)
class Kind:
    """A divergence: its name in the record, the power of the data's unit, how it is made.

    A family of several is followed one after the other: the last is the divergence itself.
    """

    name: str
    unit: str
    degree: float
    family: Family


@dataclass(frozen=True)
class Pace:
    """How steps are taken and when they end.

    ``noise`` is how far off, in reaches, velocities are taken at first. With a ``bath`` rows have inertia.
    """

    steps: int
    step: float
    tol: float
    every: int | None
    momentum: float = 0.0
    noise: float = 0.0
    bath: Bath | None = None


# ------------------------------------------------------------------------------------------ flow


def flowed(
    x: Samples, y: Samples, kind: Kind, pace: Pace, rng: "np.random.Generator", watch: Watch
) -> Fit:
    """Move the rows of P down the gradient of a divergence until they are as near as sampling allows.

    The step is Polyak's, objective / |velocity|², which needs neither tuning nor unit; it is halved,
    and the best place taken up again, where the objective has not fallen for long. All numbers are in
    units of Q's spread around Q's mean.
    """
    frame, seed = Frame.of(x, y), int(rng.integers(2**62))
    start, notes = parted(frame.inward(x.points), np.random.default_rng([seed, 0]), x.name)
    target = frame.inward(y.points)
    draw = partial(_drawn, seed)
    near, moved = _met(start, target, x.masses(), y.masses())
    stages, unit = kind.family(near, target, frame.scale), frame.scale**kind.degree

    @cache
    def stage(k: int) -> tuple[Objective, float, float]:
        objective = stages[k](target, y.weights, x.weights)
        before = objective.at(near, near, draw(0))[0]
        noise = noise_of(stages[k], x, y, target, draw(0))
        return objective, before, pace.tol * noise or FLAT * before

    kept = watch.kept()
    first = near.copy()
    state = State(first, first, np.zeros_like(near), pace.step) if kept is None else restored(kept)
    for k, *row in state.curve:
        watch.step(int(k), objective=row[0], moved=row[1])
    while True:
        objective, before, goal = stage(state.stage)
        _run(state, objective, x.masses(), goal, pace, draw, watch, (unit, frame.scale))
        if state.stage == len(stages) - 1:
            break
        state.onward(pace.step)
    points = frame.outward(state.best if state.value > goal else state.x)
    reached = state.value <= goal
    value = unit * (state.value if reached else state.lowest)
    if not reached:
        notes = (*notes, _left(state, goal, pace))
    return Fit(
        points=points,
        converged=reached,
        facts={
            "steps": state.k,
            "objective_before": unit * before,
            "objective": value,
            "goal": unit * goal,
            "translation": frame.scale * moved,
            "moved": rms(points - x.points, x.masses()),
        },
        params={} if pace.bath is None else pace.bath._asdict(),
        arrays=_on_the_way(state, pace, frame),
        notes=notes,
        figure=Figure(kind.name, unit * before, value, kind.unit),
    )


def _drawn(seed: int, k: int, *purpose: int) -> Draw:
    """The generator of a step, made where numbers are drawn; what ``purpose`` tells apart is independent."""
    return lambda: np.random.default_rng([seed, 1 + k, *purpose])


def noise_of(make: Make, x: Samples, y: Samples, target: Array, draw: Draw) -> float:
    """What two samples of these sizes from one distribution would have: from the halves of Q.

    All divergences here fall as 1/n + 1/m there. 0 where Q cannot be halved, or has no spread.
    """
    if (target == target[0]).all():
        return 0.0
    b = y.masses()
    one, two = b[0::2], b[1::2]
    if y.n < FEWEST or not (one.sum() > 0 and two.sum() > 0):
        return 0.0
    one, two = one / one.sum(), two / two.sum()
    halves = make(target[1::2], *((None, None) if y.weights is None else (two, one)))
    apart = halves.at(target[0::2], target[0::2], draw)[0]
    sizes = 1 / x.effective_size() + 1 / y.effective_size()
    return max(apart, 0.0) * sizes / float(one @ one + two @ two)


def _met(start: Array, target: Array, a: Array, b: Array) -> tuple[Array, float]:
    """Particles that are many spreads away are first moved as a whole: mean onto mean."""
    gap = b @ target - a @ start
    apart = float(np.sqrt(gap @ gap))
    spreads = rms(start - a @ start, a) + rms(target - b @ target, b)
    if apart <= FAR * spreads:
        return start, 0.0
    return start + gap, apart


def _run(
    state: State,
    objective: Objective,
    a: Array,
    goal: float,
    pace: Pace,
    draw: Callable[..., Draw],
    watch: Watch,
    units: tuple[float, float],
) -> None:
    """Steps until the goal is reached, the particles rest, or the steps are used up."""
    patience = PATIENCE if not pace.noise else 2 * LOOK
    furthest = 2.0 * (rms(state.best, a) + 1.0)
    away = _length(state.x, a)
    while True:
        if not away <= furthest:
            state.returned()
            away = _length(state.x, a)
        rng, where = draw(state.k + 1), state.x
        looking = (
            not pace.noise
            or state.k % LOOK == 0
            or state.k >= pace.steps
            or not math.isfinite(state.value)
        )
        if not looking:
            shaken = rng().standard_normal(where.shape)
            where = where + pace.noise * objective.reach / math.sqrt(state.k + 1) * shaken
        value, velocity = objective.at(state.x, where, rng)
        back = looking and state.looked(value, patience)
        if state.resting or state.value <= goal or state.k >= pace.steps:
            return
        if back:
            away = _length(state.x, a)
            continue
        length, away = _advance(state, velocity, a, pace, away, draw(state.k + 1, 1))
        if not length > 0:
            state.halvings = HALVINGS
            return
        state.curve.append((state.k, units[0] * state.value, units[1] * length))
        watch.step(state.k, objective=state.curve[-1][1], moved=state.curve[-1][2])
        if pace.every and state.k % pace.every == 0:
            state.snapshots.append(state.x.copy())
        watch.keep(partial(stored, state))


def _advance(
    state: State, velocity: Array, a: Array, pace: Pace, away: float, kicks: Draw
) -> tuple[float, float]:
    """One step; its length, and the particles' distance from Q's mean after it.

    It is not longer than that distance before it, and Q's spread.
    """
    momentum = 0.0 if pace.bath is not None else pace.momentum
    size, length = _gathered(state.direction, velocity, a, momentum)
    if not (size > 0 and math.isfinite(size)):
        return 0.0, away
    share, most = state.step * state.value / size**2, away + 1.0
    state.k += 1
    if pace.bath is not None:
        length = _thrown(state, velocity, a, pace.bath, share, most, kicks)
        return length, _length(state.x, a)
    share = min(share, most / length) if length > 0 else share
    direction = state.direction if momentum > 0 else velocity
    made = np.empty_like(state.x) if state.spare is None else state.spare
    state.spare = None
    away = _moved(state.x, direction, share, a, made)
    state.come(made)
    return share * length, away


def _gathered(direction: Array, velocity: Array, a: Array, momentum: float) -> tuple[float, float]:
    """The lengths of the velocity and of the direction, to which it is added in its place."""
    squares = np.empty((2, len(velocity)))
    for rows in _bands(velocity):
        fresh = velocity[rows]
        np.vecdot(fresh, fresh, out=squares[0, rows])
        if momentum > 0:
            part = direction[rows]
            part *= momentum
            part += fresh
            np.vecdot(part, part, out=squares[1, rows])
    size, length = (math.sqrt(float(a @ one)) for one in (squares[0], squares[int(momentum > 0)]))
    return size, length


def _moved(x: Array, direction: Array, share: float, a: Array, made: Array) -> float:
    """The rows of x less a share of the direction, into ``made``; the root mean square of their lengths."""
    squares = np.empty(len(x))
    for rows in _bands(x):
        part = made[rows]
        np.multiply(direction[rows], share, out=part)
        np.subtract(x[rows], part, out=part)
        np.vecdot(part, part, out=squares[rows])
    return math.sqrt(float(a @ squares))


def _bands(rows: Array) -> Iterator[slice]:
    """Rows that stay in the cache while something is done to them."""
    return steps_of(len(rows), max(1, BAND // rows.shape[1]))


def _thrown(
    state: State, velocity: Array, a: Array, bath: Bath, share: float, most: float, kicks: Draw
) -> float:
    """The objective is taken for a parabola of this height and slope: its period sets time and friction."""
    friction = 2.0 * bath.friction * math.sqrt(state.step / (2.0 * share))
    heat = 2.0 * bath.temperature * state.value / state.x.shape[1]
    move, state.direction = drifted(
        state.direction, -velocity, math.sqrt(2.0 * share), friction, heat, kicks()
    )
    length = _length(move, a)
    if length > most:
        move, state.direction = (rows * (most / length) for rows in (move, state.direction))
    state.come(state.x + move)
    return min(length, most)


def _length(rows: Array, a: Array) -> float:
    """The root mean square of the rows' lengths, of numbers whose squares are numbers."""
    return math.sqrt(float(a @ np.vecdot(rows, rows)))


def _left(state: State, goal: float, pace: Pace) -> Note:
    """Why the goal was not reached."""
    times = state.lowest / goal if goal > 0 else math.inf
    far = f"the objective is {times:.3g} times the one at which it would stop (--tol {pace.tol:g})"
    if state.resting:
        return Note("W87", f"the particles came to rest after {counted(state.k, 'step')}: {far}")
    return Note("W86", f"{counted(state.k, 'step')} were not enough: {far}; raise --steps or --tol")


def _on_the_way(state: State, pace: Pace, frame: Frame) -> dict[str, NDArray[Any]]:
    """Rows that were kept, and after which steps."""
    if not pace.every:
        return {}
    rows = [frame.outward(points) for points in state.snapshots]
    places = pace.every * (1 + np.arange(len(rows)))
    shape = (len(rows), *state.x.shape)
    return {"snapshots": np.array(rows).reshape(shape), "snapshot_steps": places}
