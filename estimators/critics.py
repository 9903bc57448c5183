"""Critics: functions T that tell rows of P from rows of Q, scored on rows they have not seen.

A critic trained by logistic loss, each sample counting one half, estimates ln(p/q). The rows are
dealt into folds; each fold is scored by a critic that was fitted to the others.

Of distributions that a group leaves as they are, every row is replaced by one row of its orbit, and
the linear critic averages its features over the orbit: that is better than the row alone for smooth
ratios (measured: a tenth to a third less error), and than the representative alone.
"""

import math
from copy import deepcopy
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import SettingError
from divmatch.estimators.folds import Deal, dealt, placed_rows, shares
from divmatch.estimators.invariance import Group, group_of, represented
from divmatch.estimators.linear_critics import bound_scores, linear_scores
from divmatch.record import Note
from divmatch.samples import Samples
from divmatch.settings import Setting

Array = NDArray[np.float64]

Critic = Annotated[
    Literal["linear", "mlp"],
    Setting("what tells the samples apart: linear in features, or a small neural network"),
]
Objective = Annotated[
    Literal["logistic", "dv"],
    Setting("what the linear critic is trained on: the logistic loss, or the bound of dv itself"),
]

AVERAGED = 120  # elements of a group over which features are averaged: five columns permuted


@dataclass(frozen=True, eq=False)
class Scores:
    """Held-out scores ln(p̂/q̂) of every row, with what the fit says about their worth.

    ``x`` and ``y`` are finite where rows carry weight and 0 elsewhere. ``gain`` is ln 2 less the
    logistic loss on held-out rows, a lower bound of the Jensen-Shannon divergence; ``gain_seen`` the same
    on the rows that the critics were fitted to.
    """

    x: Array
    y: Array
    gain: float
    gain_seen: float
    accuracy: float
    converged: bool

    def notes(self) -> tuple[Note, ...]:
        """Warnings about the critic."""
        made = []
        if self.accuracy > 0.99:
            made.append(
                Note(
                    "W07",
                    f"the critic separates {self.accuracy:.1%} of the held-out rows: the samples "
                    "hardly overlap, and how far they are apart depends on its penalty",
                )
            )
        if self.gain_seen > 0.05 + 2.0 * max(self.gain, 0.0):
            made.append(
                Note(
                    "W17",
                    f"the critic gains {self.gain_seen:.3g} nats on the rows it was fitted to and "
                    f"{self.gain:.3g} on held-out ones; give more rows or fewer columns",
                )
            )
        if not self.converged:
            made.append(Note("W18", "the critic did not converge; its scores are not its best"))
        return tuple(made)


def critic_scores(
    x: Samples,
    y: Samples,
    critic: str,
    folds: int,
    rng: "np.random.Generator",
    invariant: str | None = None,
    objective: str = "logistic",
) -> Scores:
    """Held-out scores of both samples, computed once for a pair of samples and a state of ``rng``."""
    x, y, group = acted(x, y, critic, invariant)
    key = ("critic", id(x), critic, objective, folds, repr(rng.bit_generator.state))
    fitted = _cross_fitted if objective == "logistic" else _cross_fitted_bound
    _, scores = y.once(key, lambda: (x, fitted(x, y, critic, folds, deepcopy(rng), group)))
    return scores


def acted(
    x: Samples, y: Samples, critic: str, invariant: str | None
) -> tuple[Samples, Samples, Group | None]:
    """What a critic of invariant samples is fitted to, and the group that its features average over."""
    group = averaging(x, invariant) if critic == "linear" else None
    return represented(x, invariant), represented(y, invariant), group


def averaging(samples: Samples, invariant: str | None) -> Group | None:
    """The group over which a linear critic averages its features; none if there are too many."""
    group = None if invariant is None else group_of(samples, invariant)
    return group if group is not None and group.size <= AVERAGED else None


def _cross_fitted(
    x: Samples,
    y: Samples,
    critic: str,
    folds: int,
    rng: "np.random.Generator",
    group: Group | None,
) -> Scores:
    deal = dealt(x, y, folds, rng, group)
    if critic == "mlp":
        from divmatch.estimators.perceptron import held_out
    else:
        held_out = linear_scores
    scores, gain_seen, converged = held_out(deal, shares(deal, folds), rng)
    accuracy = accurate(deal, scores)
    of_rows = placed_rows(x, y, deal, scores)
    return Scores(*of_rows, gains(deal, scores), gain_seen, accuracy, converged)


def _cross_fitted_bound(
    x: Samples,
    y: Samples,
    critic: str,
    folds: int,
    rng: "np.random.Generator",
    group: Group | None,
) -> Scores:
    """As `_cross_fitted`, on the bound of dv; both gains are values of that bound."""
    if critic == "mlp":
        raise SettingError(
            "--objective dv: the mlp is trained on the logistic loss; use --critic linear"
        )
    deal = dealt(x, y, folds, rng, group)
    scores, gain, gain_seen, converged = bound_scores(deal, shares(deal, folds), rng)
    accuracy = accurate(deal, middled(deal, scores))
    return Scores(*placed_rows(x, y, deal, scores), gain, gain_seen, accuracy, converged)


def accurate(deal: Deal, scores: Array) -> float:
    """Share of rows whose score has the right sign, each sample counting one half."""
    right = np.where(deal.sign * scores > 0, 1.0, np.where(scores == 0, 0.5, 0.0))
    return 0.5 * float(deal.mass @ right)


def middled(deal: Deal, scores: Array) -> Array:
    """Scores less the middle of both samples' means, where samples without overlap leave it free."""
    return scores - 0.5 * float(deal.mass @ scores)


def gains(deal: Deal, scores: Array) -> float:
    """Ln 2 less the logistic loss of the scores, each sample counting one half."""
    return math.log(2.0) - 0.5 * float(deal.mass @ np.logaddexp(0.0, -deal.sign * scores))
