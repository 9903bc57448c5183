"""Where a flow stands, between two steps and in a checkpoint."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from divmatch.matcher import Array

LOWER = 0.99  # of the lowest objective so far: what counts as lower
HALVINGS = 3  # after which the particles rest


@dataclass
class State:
    """Where a flow stands. ``best`` is where the objective was lowest, ``mark`` what it must undercut.

    ``direction`` is what a step keeps of those before: of descent the direction, of rows with inertia
    their velocities. ``spare`` is room for the next ``x``, which nothing else refers to.
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
    spare: Array | None = None
    curve: list[tuple[float, float, float]] = field(default_factory=list)
    snapshots: list[Array] = field(default_factory=list)

    def looked(self, value: float, patience: int) -> bool:
        """Note the objective; whether it has not fallen for so long that the best place is taken up."""
        self.value = value if math.isfinite(value) else math.inf
        if value < self.lowest:
            if self.best is not self.x:
                self.spare = self.best
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

    def come(self, x: Array) -> None:
        """Be at ``x`` from now on."""
        if self.x is not self.best:
            self.spare = self.x
        self.x = x

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
        kept["x"], kept["best"], kept["direction"], **found, **whole, spare=None, curve=curve,
        snapshots=list(kept["snapshots"]),
    )  # fmt: skip
