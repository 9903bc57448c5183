"""Particles that follow a direction until it vanishes: step rules, when to stop, where to go on."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import InconclusiveError
from divmatch.matcher import Array, Watch
from divmatch.transport.frame import rms

LOOK = 10  # steps between two looks at the discrepancy
PATIENCE = 20  # looks without a lower one, after which it has reached its level
LOWER = 0.99  # of the lowest so far: what counts as lower
NEARLY = 20.0  # times --tol: how small the direction must be where the discrepancy has settled
FIRST = 0.1  # of the reach: the first step
GROWN, HALVED = 1.15, 0.5  # steps after two directions that agree, and that do not


class Direction(Protocol):
    """Where particles go, and how far the kernel reaches."""

    reach: float
    settles: bool  # whether the discrepancy falls to a level where it may end

    def at(self, x: Array, last: float = 0.0) -> tuple[Array, float]:
        """The direction of every particle, and its size as a share of the forces in it.

        ``last`` is the size before: as long as it is large, a few digits are enough.
        """
        ...

    def discrepancy(self, x: Array) -> float:
        """KSD² of the particles."""
        ...


@dataclass
class Swarm:
    """Where particles stand. ``memory`` is the step rule's, ``lowest`` the least discrepancy."""

    x: Array
    k: int = 0
    size: float = math.inf
    lowest: float = math.inf
    since: int = 0
    memory: dict[str, Array] = field(default_factory=dict)
    curve: list[tuple[float, float, float]] = field(default_factory=list)

    def looked(self, value: float) -> bool:
        """Note the discrepancy; whether it has reached its level."""
        self.since += 1
        if value < LOWER * self.lowest:
            self.lowest, self.since = value, 0
        return self.since >= PATIENCE


Rule = Callable[[Swarm, Array, Array, float], Array]  # from direction, weights, reach: the move
NUMBERS = ("k", "size", "lowest", "since")


def stored(swarm: Swarm) -> dict[str, Array]:
    """The state as arrays."""
    return {
        "x": swarm.x,
        "numbers": np.array([float(getattr(swarm, name)) for name in NUMBERS]),
        "curve": np.array(swarm.curve).reshape(-1, 3),
        **{f"memory_{name}": values for name, values in swarm.memory.items()},
    }


def restored(kept: Mapping[str, NDArray[Any]]) -> Swarm:
    """The state from what `stored` made."""
    k, size, lowest, since = kept["numbers"].tolist()
    memory = {n.removeprefix("memory_"): v for n, v in kept.items() if n.startswith("memory_")}
    curve = [(row[0], row[1], row[2]) for row in kept["curve"].tolist()]
    return Swarm(kept["x"], int(k), size, lowest, int(since), memory, curve)


def followed(
    start: Array, a: Array, direction: Direction, rule: Rule, steps: int, tol: float, watch: Watch
) -> tuple[Swarm, bool]:
    """Steps until the direction vanishes or the discrepancy has reached its level; whether it has."""
    kept = watch.kept()
    swarm = Swarm(start) if kept is None else restored(kept)
    for k, value, moved in swarm.curve:
        watch.step(int(k), ksd=value, moved=moved)
    value = swarm.curve[-1][1] if swarm.curve else math.inf
    while True:
        way, swarm.size = direction.at(swarm.x, swarm.size)
        if not math.isfinite(swarm.size):
            raise _lost(swarm)
        if swarm.size <= tol:
            return swarm, True
        if swarm.k % LOOK == 0:
            value = direction.discrepancy(swarm.x)
            if swarm.looked(value) and direction.settles and swarm.size <= NEARLY * tol:
                return swarm, True
        if swarm.k >= steps:
            return swarm, False
        move = rule(swarm, way, a, direction.reach)
        reached = swarm.x + move
        if not math.isfinite(np.vdot(reached, reached)):  # distances would overflow
            raise _lost(swarm)
        length = rms(move, a)
        swarm.x, swarm.k = reached, swarm.k + 1
        swarm.curve.append((swarm.k, value, length))
        watch.step(swarm.k, ksd=value, moved=length)
        watch.keep(partial(stored, swarm))


def _lost(swarm: Swarm) -> InconclusiveError:
    return InconclusiveError(
        f"particles or their scores left the range of numbers in step {swarm.k + 1}: choose a shorter "
        "--step, or start nearer to the target"
    )


# -------------------------------------------------------------------------------------- rules


def by_column(swarm: Swarm, way: Array, a: Array, reach: float) -> Array:
    """One step length a column: longer while directions agree, halved where they turn back."""
    return _adapted(swarm, way, a, reach, lambda products: products)


def as_one(swarm: Swarm, way: Array, a: Array, reach: float) -> Array:
    """The same with one length for all columns, where the direction has put them in proportion."""
    return _adapted(swarm, way, a, reach, lambda products: products.sum(keepdims=True))


def _adapted(
    swarm: Swarm, way: Array, a: Array, reach: float, shared: Callable[[Array], Array]
) -> Array:
    memory = swarm.memory
    if "lengths" not in memory:
        sizes = np.sqrt(shared(a @ (way * way)))
        memory["lengths"] = np.divide(
            FIRST * reach, sizes, out=np.zeros_like(sizes), where=sizes > 0
        )
    else:
        agree = shared(a @ (way * memory["last"])) > 0
        memory["lengths"] = memory["lengths"] * np.where(agree, GROWN, HALVED)
    memory["last"] = way
    move = memory["lengths"] * way
    length = rms(move, a)
    return move * min(1.0, reach / length) if length > 0 else move


def adagrad(step: float) -> Rule:
    """Every number has its own length: step / √(mean of its squares), as SVGD's authors have it."""

    def rule(swarm: Swarm, way: Array, a: Array, reach: float) -> Array:
        squares = way * way
        if "squares" in swarm.memory:
            squares = 0.9 * swarm.memory["squares"] + 0.1 * squares
        swarm.memory["squares"] = squares
        return step * way / (1e-6 + np.sqrt(squares))

    return rule


def coins(swarm: Swarm, way: Array, a: Array, reach: float) -> Array:
    """Coin betting: every number bets a share of what it has won so far; no length to tune."""
    memory = swarm.memory
    if not memory:
        zero = np.zeros_like(way)
        memory.update(start=swarm.x, largest=zero + 1e-10, total=zero, absolute=zero, reward=zero)
    size = np.abs(way)
    memory["largest"] = largest = np.maximum(memory["largest"], size)
    memory["total"] = total = memory["total"] + way
    memory["absolute"] = absolute = memory["absolute"] + size
    won = memory["reward"] + (swarm.x - memory["start"]) * way
    memory["reward"] = reward = np.maximum(won, 0.0)
    bet = total / (largest * (absolute + largest)) * (largest + reward)
    return memory["start"] + bet - swarm.x
