"""Newton steps on the dual, with the Hessian of the large entries of the plan.

With r and c the sums of the plan and S its rows divided by r, eps times minus the Hessian is
diag(c) − τ Sᵀ diag(r) S, and eps/ρ diag(b exp(−g/ρ)) more where the marginals are free. Tang,
Shavlovsky, Rahmanian, Tardini, Thekumparampil, Xiao & Ying 2024 (ICLR, arXiv 2401.12253) keep a fixed
number of entries; here all above a share of their row are kept, so that the last steps stay
superlinear, and a damping is added where the model was wrong.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divmatch.kernels.couplings import Entries
from divmatch.kernels.execution import steps_of
from divmatch.kernels.links import AT_ONCE
from divmatch.transport.dual import Dual, State

Array = NDArray[np.float64]
Solve = Callable[[float], Array]  # the direction for a damping
Solution = Callable[[Array], Array]

LEAST = 1e-8  # most of the share of a row below which an entry is left out of the Hessian
CROWDED = 300  # entries a row from which a Newton step costs more than it saves
DENSE_COLUMNS = 600  # up to which the Hessian is one small matrix
STRONG = 0.05  # share of a row from which an entry is in the preconditioner
FOREST = 1.5  # such entries a row at most
TRIALS = 10
INNER_STEPS = 500


@dataclass
class Newton:
    """Steps of one solve; the damping is carried from step to step."""

    dual: Dual
    damping: float = 0.0
    steps: int = 0
    crowded_at: float = 0.0  # the smallest eps at which the plan was found to hold too many entries

    def pays(self, eps: float) -> bool:
        """Whether a plan at this eps may be sparse enough, or the Hessian is small."""
        small = self.dual.coupling.m <= DENSE_COLUMNS
        return small or self.crowded_at == 0.0 or eps < 0.75 * self.crowded_at

    def step(self, state: State) -> State | None:
        """A state of a higher dual, or None where no step could be made."""
        solve = self._system(state)
        if solve is None:
            return None
        for _ in range(TRIALS):
            direction = state.eps * solve(self.damping)
            slope = float(state.gradient @ direction)
            trial = self.dual.at(state.g + direction, state.eps)
            gain = trial.value - state.value
            nearer = trial.error < 0.7 * state.error and gain >= -1e-12 * abs(state.value)
            if nearer or (slope > 0 and gain >= 0.05 * slope):
                self.steps += 1
                if nearer or gain > 0.4 * slope:
                    self.damping = self.damping / 6 if self.damping > 1e-7 else 0.0
                return trial
            self.damping = max(4 * self.damping, 1e-4)
        return None

    def _system(self, state: State) -> Solve | None:
        coupling = self.dual.coupling
        dense = coupling.m <= DENSE_COLUMNS
        most = coupling.n * (coupling.m if dense else CROWDED)
        least = 1e-20 if dense else max(1e-16, min(LEAST, 1e-4 * state.error))
        found = coupling.entries(state.g, state.eps, state.levels, least, most)
        if found is None:
            self.crowded_at = state.eps
            return None
        free = 0.0
        if not math.isinf(self.dual.rho):
            free = state.eps / self.dual.rho
        made = _dense if dense else _sparse
        return made(found, self.dual.row_sums(state), state, self.dual.gain(state.eps), free)


def _dense(found: Entries, rows: Array, state: State, tau: float, free: float) -> Solve:
    """The Hessian as a matrix; the direction that adds a constant to g is held where it is null."""
    shares = np.zeros((len(rows), len(state.g)))
    shares[np.repeat(np.arange(len(rows)), np.diff(found.starts)), found.columns] = found.values
    products = shares.T @ (shares * rows[:, None])
    diagonal = products.sum(axis=1) + free * state.wanted
    hessian = np.diag(diagonal) - tau * products

    def solve(damping: float) -> Array:
        held = hessian + np.diag((damping + 1e-15) * state.wanted)
        if free == 0.0:
            held += np.outer(state.wanted, state.wanted)
        try:
            return np.asarray(np.linalg.solve(held, state.gradient), dtype=np.float64)
        except np.linalg.LinAlgError:
            return np.zeros_like(state.g)

    return solve


def _sparse(found: Entries, rows: Array, state: State, tau: float, free: float) -> Solve:
    """Conjugate gradients, preconditioned with the strong entries; only as exact as the step is good."""
    from scipy.sparse import csr_array

    shares = csr_array((found.values, found.columns, found.starts), shape=(len(rows), len(state.g)))
    down = shares.T  # a view: sorted by columns it would be a second copy
    diagonal = down @ (rows * (shares @ np.ones(len(state.g)))) + free * state.wanted
    inner = diagonal - tau * _squares(found, rows, len(state.g))
    tolerance = min(0.1, max(0.1 * state.error, 1e-4))

    def solve(damping: float) -> Array:
        ridge = (damping + 1e-12) * state.wanted

        def apply(v: Array) -> Array:
            return (diagonal + ridge) * v - tau * (down @ (rows * (shares @ v)))

        near = _strong(shares, tau * rows, np.maximum(inner + ridge, 1e-12 * diagonal + 1e-300))
        return conjugate_gradients(apply, state.gradient, near, tolerance, centred=free == 0.0)

    return solve


def _squares(found: Entries, rows: Array, m: int) -> Array:
    """Σᵢ rowsᵢ S_ij² of every column, a part at a time."""
    made = np.zeros(m)
    counts = np.diff(found.starts)
    for own in steps_of(len(rows), max(1, AT_ONCE * len(rows) // max(1, len(found.values)))):
        places = slice(int(found.starts[own.start]), int(found.starts[own.stop]))
        squares = found.values[places] ** 2
        squares *= np.repeat(rows[own], counts[own])
        made += np.bincount(found.columns[places], squares, m)
    return made


def _above(shares: Any, least: float) -> Any:
    """The entries above a bar, as a matrix of its own."""
    from scipy.sparse import csr_array

    kept = np.flatnonzero(shares.data > least)
    starts = np.searchsorted(kept, shares.indptr)
    return csr_array((shares.data[kept], shares.indices[kept], starts), shape=shares.shape)


def _strong(shares: Any, rows: Array, diagonal: Array) -> Solution:
    """Solutions for the matrix with this diagonal and what the strong entries add beside it.

    A plan of small eps is near a forest of strong entries, whose factors fill with next to nothing, and
    conjugate gradients alone stall on it.
    """
    from scipy.sparse import diags_array
    from scipy.sparse.linalg import splu

    strong = _above(shares, STRONG)
    if strong.nnz > FOREST * len(rows):  # the factors of more would fill
        most = int(FOREST * len(rows))
        strong = _above(strong, -np.partition(-strong.data, most)[most])
    pairs = strong.T @ (diags_array(rows) @ strong)
    pairs.setdiag(0.0)
    matrix = (diags_array(diagonal) - pairs).tocsc()
    factors = splu(
        matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}
    )
    return lambda right: np.asarray(factors.solve(right), dtype=np.float64)


def conjugate_gradients(
    apply: Callable[[Array], Array],
    right: Array,
    near: Solution,
    tolerance: float,
    *,
    centred: bool,
) -> Array:
    """A v = right up to a share of its norm, for a positive A; ``near`` solves about that."""
    found, rest = np.zeros_like(right), right.copy()
    if centred:
        rest -= rest.mean()
    along = scaled = near(rest)
    height, goal = float(rest @ scaled), tolerance * float(np.linalg.norm(rest))
    for _ in range(INNER_STEPS):
        image = apply(along)
        curvature = float(along @ image)
        if not curvature > 0:
            break
        found = found + height / curvature * along
        rest = rest - height / curvature * image
        if np.linalg.norm(rest) <= goal:
            break
        scaled = near(rest)
        height, before = float(rest @ scaled), height
        along = scaled + height / before * along
    return found - found.mean() if centred else found
