"""Particles that follow the gradient of a divergence, with steps that nobody has to tune."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import counted
from divmatch.matcher import Figure, Fit, Watch
from divmatch.record import Note
from divmatch.samples import Samples
from divmatch.transport.frame import Frame, parted, rms
from divmatch.transport.inertia import Bath, drifted

Array = NDArray[np.float64]
Draw = Callable[[], "np.random.Generator"]

FAR = 10.0  # spreads between the means from which the flow begins with a translation
PATIENCE = 50  # looks at the objective without a lower one, after which steps are halved
LOWER = 0.99  # of the lowest objective so far: what counts as lower
HALVINGS = 3  # after which the particles rest
FLAT = 1e-9  # of the first objective: the goal where sampling noise is unknown
LOOK = 10  # steps between two looks at the objective where velocities are taken elsewhere
FEWEST = 4  # rows that can be halved
ROOM = 1 << 30  # bytes of rows that are kept on the way, at the most


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


@dataclass
class State:
    """Where a flow stands. ``best`` is where the objective was lowest, ``mark`` what it must undercut.

    ``direction`` is what a step keeps of those before: of descent the direction, of rows with inertia
    their velocities.
    """

    x: Array
    best: Array
    direction: Array
    step: float
    k: int = 0
    value: float = math.inf
    lowest: float = math.inf
    mark: float = math.inf
    since: int = 0
    halvings: int = 0
    stage: int = 0
    curve: list[tuple[float, float, float]] = field(default_factory=list)
    snapshots: list[Array] = field(default_factory=list)

    def looked(self, value: float, patience: int) -> bool:
        """Note the objective; whether it has not fallen for so long that the best place is taken up."""
        self.value = value if math.isfinite(value) else math.inf
        if value < self.lowest:
            self.lowest, self.best = value, self.x
        self.since += 1
        if value < LOWER * self.mark:
            self.mark, self.since = value, 0
        if self.since < patience and math.isfinite(value):
            return False
        self.returned()
        return True

    def returned(self) -> None:
        """Take up the best place with half the step."""
        self.x, self.direction = self.best, np.zeros_like(self.best)
        self.step, self.since, self.value = self.step / 2, 0, self.lowest
        self.halvings += 1

    def onward(self, step: float) -> None:
        """Begin with the next objective at the best place of this one."""
        self.x, self.direction, self.step = self.best, np.zeros_like(self.best), step
        self.value = self.lowest = self.mark = math.inf
        self.since = self.halvings = 0
        self.stage += 1

    @property
    def resting(self) -> bool:
        """Whether halving the steps has not helped."""
        return self.halvings >= HALVINGS


WHOLE = ("k", "since", "halvings", "stage")
NUMBERS = ("step", "value", "lowest", "mark", *WHOLE)


def stored(state: State) -> dict[str, Array]:
    """The state as arrays."""
    return {
        "x": state.x,
        "best": state.best,
        "direction": state.direction,
        "numbers": np.array([float(getattr(state, name)) for name in NUMBERS]),
        "curve": np.array(state.curve).reshape(-1, 3),
        "snapshots": np.array(state.snapshots),
    }


def restored(kept: Mapping[str, Any]) -> State:
    """The state from what `stored` made."""
    found = dict(zip(NUMBERS, kept["numbers"].tolist(), strict=True))
    whole = {name: int(found.pop(name)) for name in WHOLE}
    curve = [(row[0], row[1], row[2]) for row in kept["curve"].tolist()]
    return State(
        kept["x"], kept["best"], kept["direction"], **found, **whole, curve=curve,
        snapshots=list(kept["snapshots"]),
    )  # fmt: skip


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
    state = State(near, near, np.zeros_like(near), pace.step) if kept is None else restored(kept)
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
        arrays=_on_the_way(state, pace, frame),
        notes=notes,
        figure=Figure(kind.name, unit * before, value, kind.unit),
    )


def _drawn(seed: int, k: int, *purpose: int) -> Draw:
    """The generator of a step, made where numbers are drawn; what ``purpose`` tells apart is independent."""
    return lambda: np.random.default_rng([seed, 1 + k, *purpose])


def noise_of(make: Make, x: Samples, y: Samples, target: Array, draw: Draw) -> float:
    """What two samples of these sizes from one distribution would have: from the halves of Q.

    All divergences here fall as 1/n + 1/m there. 0 where Q cannot be halved.
    """
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
    while True:
        away = _length(state.x, a)
        if away > furthest:
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
            continue
        length = _advance(state, velocity, a, pace, away, draw(state.k + 1, 1))
        if not length > 0:
            state.halvings = HALVINGS
            return
        state.curve.append((state.k, units[0] * state.value, units[1] * length))
        watch.step(state.k, objective=state.curve[-1][1], moved=state.curve[-1][2])
        if pace.every and state.k % pace.every == 0:
            state.snapshots.append(state.x)
        watch.keep(partial(stored, state))


def _advance(
    state: State, velocity: Array, a: Array, pace: Pace, away: float, kicks: Draw
) -> float:
    """One step, its length at most ``away``, the particles' distance from Q's mean, and Q's spread."""
    size = _length(velocity, a) ** 2
    if not (size > 0 and math.isfinite(size)):
        return 0.0
    share, most = state.step * state.value / size, away + 1.0
    if pace.bath is None:
        length = _descended(state, velocity, a, pace.momentum, share, most)
    else:
        length = _thrown(state, velocity, a, pace.bath, share, most, kicks)
    state.k += 1
    return length


def _descended(
    state: State, velocity: Array, a: Array, momentum: float, share: float, most: float
) -> float:
    """Polyak's step. As few passes over the rows as can be: beside the sorting they are what it costs."""
    if momentum > 0:
        state.direction *= momentum
        state.direction += velocity
    direction = state.direction if momentum > 0 else velocity
    length = _length(direction, a)
    share = min(share, most / length) if length > 0 else share
    move = direction * share
    state.x = np.subtract(state.x, move, out=move)
    return share * length


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
    state.x = state.x + move
    return min(length, most)


def _length(rows: Array, a: Array) -> float:
    """The root mean square of the rows' lengths, of numbers whose squares are numbers."""
    return math.sqrt(float(a @ np.einsum("ij,ij->i", rows, rows)))


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
