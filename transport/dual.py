"""The concave dual of entropic transport in the potential g of the columns; that of the rows follows from it.

With f the softmin of C − g, F(g) = −ρ Σ aᵢ (exp(−fᵢ/ρ) − 1) − ρ Σ bⱼ (exp(−gⱼ/ρ) − 1)
− eps (Σ P − 1), which is a·f + b·g where the marginals are kept (ρ = inf). Its gradient is the
marginal that is wanted, b exp(−g/ρ), less the column sums of the plan.
"""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from divmatch.kernels.couplings import Coupling
from divmatch.kernels.execution import tell
from divmatch.kernels.links import Links

Array = NDArray[np.float64]

ABOVE = 8.0  # times the bound of float32's rounding error, down to which it surely serves
LIKELY = 0.25  # times the bound, down to which it serves while the error still falls
FALLS = 0.8


@dataclass(frozen=True, eq=False)
class State:
    """A potential with what one sweep tells of it; ``error`` is the marginal error in L1."""

    g: Array
    eps: float
    levels: Array  # row log-sums L; f = −τ eps L
    columns: Array
    wanted: Array
    value: float
    error: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "error", float(np.abs(self.wanted - self.columns).sum()))

    @property
    def gradient(self) -> Array:
        """Of the dual, with respect to g."""
        return self.wanted - self.columns


@dataclass(eq=False)
class Dual:
    """A coupling with the price ρ of mass that is created or destroyed; inf keeps the marginals.

    ``single`` says whether sweeps are made in float32, which is for the solver to choose.
    """

    coupling: Coupling | Links
    rho: float = math.inf
    single: bool = False
    last: float = math.inf  # error

    def aim(self, error: float, eps: float) -> bool:
        """Take float32 while the error is well above what it leaves, or falls; whether it is left now."""
        before, floor = self.single, self.coupling.floor(eps)
        falls = before and error < FALLS * self.last
        self.single = error > ABOVE * floor or (falls and error > LIKELY * floor)
        self.last = error
        return before and not self.single

    def gain(self, eps: float) -> float:
        """τ = ρ / (ρ + eps): what a softmin is damped by."""
        return 1.0 if math.isinf(self.rho) else self.rho / (self.rho + eps)

    def at(self, g: Array, eps: float) -> State:
        """One sweep: everything about a potential."""
        tau = self.gain(eps)
        found = self.coupling.sweep(g, eps, gain=tau, single=self.single)
        f = -tau * eps * found.levels
        if math.isinf(self.rho):
            value, wanted = float(self.coupling.a @ f + self.coupling.b @ g), self.coupling.b
        else:
            paid = self._paid(self.coupling.a, f) + self._paid(self.coupling.b, g)
            value = paid - eps * (float(found.columns.sum()) - 1.0)
            wanted = self.coupling.b * np.exp(np.minimum(-g / self.rho, 700.0))
        state = State(g, eps, found.levels, found.columns, wanted, value)
        if isinstance(self.coupling, Coupling) and self.coupling.compiled:
            tell(lambda: self._progress(state))
        return state

    def _progress(self, state: State) -> str:
        """What a sweep has come to."""
        n, m = self.coupling.n, self.coupling.m
        return f"{n:,} x {m:,} rows, eps {state.eps:.3g}, marginal error {state.error:.1e}"

    def _paid(self, weights: Array, potential: Array) -> float:
        return float(-self.rho * (weights @ np.expm1(np.minimum(-potential / self.rho, 700.0))))

    def rows(self, state: State) -> Array:
        """The potential of the rows."""
        return -self.gain(state.eps) * state.eps * state.levels

    def row_sums(self, state: State) -> Array:
        """Row sums of the plan: the marginal a where it is kept."""
        return self.coupling.a * np.exp((1.0 - self.gain(state.eps)) * state.levels)

    def softmin(self, state: State) -> Array:
        """The best potential of the columns for that of the rows: the other half of an iteration."""
        made = state.g - state.eps * np.log(state.columns / self.coupling.b)
        return np.asarray(self.gain(state.eps) * made)
