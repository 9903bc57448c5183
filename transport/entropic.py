"""Solve entropic transport: from a large eps down to the one that is wanted, each from the last.

Where the plan is sparse, its large entries are taken out and the rest of the path is solved on them
alone, at a small part of the cost of sweeps over all pairs; sweeps over all then tell the error.
"""

from dataclasses import dataclass, replace
from typing import TypeGuard

import numpy as np
from numpy.typing import NDArray

from divmatch.kernels.couplings import Coupling
from divmatch.kernels.execution import execution
from divmatch.kernels.links import Links
from divmatch.transport.acceleration import Anderson
from divmatch.transport.dual import Dual, State
from divmatch.transport.newton import DENSE_COLUMNS, Newton

Array = NDArray[np.float64]

FACTOR = 0.5  # from one eps to the next
WARM = 2  # plain iterations at every eps
ROUGH = 0.02  # marginal error at which the path goes on to the next eps
STUCK = 3  # Newton steps in a row that fail
FINE = 1e-12  # marginal error of small problems, where it costs next to nothing
EXTRA = 40  # sweeps for it at the most
LINKED = 600  # entries a row up to which the large ones are solved by themselves
ENTRY_BYTES = 24  # of such an entry, with what a Newton step makes of it
ROOM = 384 << 20  # bytes for them at the most: more than that is not O(n + m) any more
LEAST = 1e-8, 1e-3  # share of a row below which an entry is left out, and that share of the goal
LINKED_SWEEPS = 300  # over them
WARMED = 1e-3  # marginal error from which plain iterations only cost time
FAR = 0.5  # marginal error from which what they give is no use


@dataclass(frozen=True)
class Effort:
    """When to stop, and whether Newton steps are taken wherever the plan is sparse enough."""

    tol: float
    sweeps: int
    newton: bool = True
    fine: bool = True  # small problems beyond the tolerance


@dataclass(frozen=True, eq=False)
class Solved:
    """The last state, in float64, with the sweeps and Newton steps that led to it."""

    state: State
    sweeps: int
    single_sweeps: int
    newton_steps: int


def solve(dual: Dual, eps: float, start: float, effort: Effort, g: Array | None = None) -> Solved:
    """Entropic transport at ``eps`` on a path from ``start``, where g is good, or such as the mean cost."""
    newton, path = Newton(dual), []
    level = max(eps, start)
    dual.aim(1.0, level)
    state = dual.at(np.zeros(dual.coupling.m) if g is None else g, level)
    while level > eps * 1.0001:
        state = _settled(dual, newton, state, ROUGH, effort, eps)
        if state.eps == eps:
            break
        path.append(state)
        level = max(eps, level * FACTOR)
        state = _next(dual, path, level)
    state = _settled(dual, newton, state, effort.tol, effort)
    if effort.fine and not dual.coupling.compiled and state.error <= effort.tol:
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
            if coupling.compiled or not effort.fine or state.error <= FINE or extra > EXTRA:
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


def _settled(
    dual: Dual,
    newton: Newton,
    state: State,
    goal: float,
    effort: Effort,
    target: float | None = None,
) -> State:
    """Iterate at one eps until the marginal error is below the goal or the sweeps are used up.

    Where the plan is sparse enough to go on to the ``target`` at once, the state is one there.
    """
    best, steps, failed = state, 0, 0
    anderson = Anderson(dual.coupling.b)
    while dual.coupling.sweeps < effort.sweeps:
        if dual.aim(state.error, state.eps):
            state = best = dual.at(state.g, state.eps)
        if state.error <= goal:
            break
        trial, warm = None, steps < WARM and state.error > WARMED
        if effort.newton and not warm and failed < STUCK and newton.pays(state.eps):
            if target is not None and failed == 0:
                trial = _linked(dual, newton, state, target, ROUGH / 20)
                if trial is not None and trial.error < FAR:
                    return trial
            trial = _stepped(dual, newton, state, goal)
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


def _stepped(dual: Dual, newton: Newton, state: State, goal: float) -> State | None:
    """A better state: solved on the large entries of a large problem, else by one Newton step."""
    if not _large(dual.coupling):
        return newton.step(state)
    linked = _linked(dual, newton, state, state.eps, 0.5 * goal)
    return linked if linked is not None and linked.error < 0.5 * state.error else None


def _large(coupling: Coupling | Links) -> TypeGuard[Coupling]:
    return isinstance(coupling, Coupling) and coupling.compiled and coupling.m > DENSE_COLUMNS


def _linked(dual: Dual, newton: Newton, state: State, eps: float, goal: float) -> State | None:
    """The state at ``eps`` to which the large entries of this plan alone lead; None if they are many."""
    whole = dual.coupling
    if not _large(whole) or not newton.pays(state.eps):
        return None
    least = max(1e-14, min(LEAST[0], LEAST[1] * goal))
    most = min(LINKED * whole.n, min(execution().memory, ROOM) // ENTRY_BYTES)
    found = whole.entries(state.g, state.eps, state.levels, least, most)
    if found is None:
        newton.crowded_at = state.eps
        return None
    if not found.covers(whole.m):
        return None
    inner = Dual(Links(whole, found, state.g, state.eps, state.levels), dual.rho)
    solved = solve(inner, eps, state.eps, Effort(goal, LINKED_SWEEPS), state.g)
    newton.steps += solved.newton_steps
    dual.aim(goal, eps)
    return dual.at(solved.state.g, eps)
