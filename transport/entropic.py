"""Solve entropic transport: from a large eps down to the one that is wanted, each from the last."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from divmatch.transport.acceleration import Anderson
from divmatch.transport.dual import Dual, State
from divmatch.transport.newton import Newton

Array = NDArray[np.float64]

FACTOR = 0.5  # from one eps to the next
WARM = 2  # plain iterations at every eps
ROUGH = 0.02  # marginal error at which the path goes on to the next eps
STUCK = 3  # Newton steps in a row that fail
FINE = 1e-12  # marginal error of small problems, where it costs next to nothing
EXTRA = 40  # sweeps for it at the most


@dataclass(frozen=True)
class Effort:
    """When to stop, and whether Newton steps are taken wherever the plan is sparse enough."""

    tol: float
    sweeps: int
    newton: bool = True


@dataclass(frozen=True, eq=False)
class Solved:
    """The last state, in float64, with the sweeps and Newton steps that led to it."""

    state: State
    sweeps: int
    single_sweeps: int
    newton_steps: int


def solve(dual: Dual, eps: float, start: float, effort: Effort, g: Array | None = None) -> Solved:
    """Entropic transport at ``eps`` on a path from ``start``, such as the mean cost, or from a good g."""
    newton, path = Newton(dual), []
    level = max(eps, start) if g is None else eps
    dual.aim(1.0, level)
    state = dual.at(np.zeros(dual.coupling.m) if g is None else g, level)
    while level > eps * 1.0001:
        state = _settled(dual, newton, state, ROUGH, effort)
        path.append(state)
        level = max(eps, level * FACTOR)
        state = _next(dual, path, level)
    state = _settled(dual, newton, state, effort.tol, effort)
    if not dual.coupling.compiled and state.error <= effort.tol:
        more = replace(effort, sweeps=dual.coupling.sweeps + EXTRA)
        state = _settled(dual, newton, state, FINE, more)
    return _solved(dual, state, newton.steps)


def solve_symmetric(dual: Dual, eps: float, effort: Effort, g: Array | None = None) -> Solved:
    """Transport of a sample to itself: f ← (f + T f) / 2, which at least halves the error.

    It starts near the end: the potential lies between 0 and that of no transport at all.
    """
    coupling = dual.coupling
    dual.aim(1.0, eps)
    state = dual.at(np.zeros(coupling.m) if g is None else g, eps)
    anderson, extra = Anderson(coupling.b), 0
    while coupling.sweeps < effort.sweeps:
        if dual.aim(state.error, eps):
            state = dual.at(state.g, eps)
        if state.error <= effort.tol:
            extra += 1
            if coupling.compiled or state.error <= FINE or extra > EXTRA:
                break
        image = 0.5 * (state.g + dual.rows(state))
        state = dual.at(anderson.next(state.g, image, state.error), eps)
    return _solved(dual, state)


def _solved(dual: Dual, state: State, steps: int = 0) -> Solved:
    if dual.single:
        dual.single = False
        state = dual.at(state.g, state.eps)
    return Solved(state, dual.coupling.sweeps, dual.coupling.single_sweeps, steps)


def _next(dual: Dual, path: list[State], eps: float) -> State:
    """The better of the last potential and its continuation along the path."""
    last = path[-1]
    dual.aim(ROUGH, eps)
    state = dual.at(last.g, eps)
    if len(path) == 1:
        return state
    slope = (last.g - path[-2].g) / (last.eps - path[-2].eps)
    further = dual.at(last.g + slope * (eps - last.eps), eps)
    return further if further.value > state.value else state


def _settled(dual: Dual, newton: Newton, state: State, goal: float, effort: Effort) -> State:
    """Iterate at one eps until the marginal error is below the goal or the sweeps are used up."""
    best, steps, failed = state, 0, 0
    anderson = Anderson(dual.coupling.b)
    while dual.coupling.sweeps < effort.sweeps:
        if dual.aim(state.error, state.eps):
            state = best = dual.at(state.g, state.eps)
        if state.error <= goal:
            break
        trial, warm = None, steps < WARM
        if effort.newton and not warm and failed < STUCK and newton.pays(state.eps):
            trial = newton.step(state)
            failed = 0 if trial is not None else failed + 1
        if trial is not None:
            anderson, state = Anderson(dual.coupling.b), trial
        else:
            image = dual.softmin(state)
            following = image if warm else anderson.next(state.g, image, state.error)
            state = dual.at(following, state.eps)
        steps += 1
        if state.error < best.error:
            best = state
    return best
