"""Gaussian mixtures fitted to rows, merged and reduced; and how likely new rows are under them.

`mixture` is the function behind `divmatch match mixture`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from divmatch.errors import SettingError
from divmatch.kernels.execution import one_blas_thread
from divmatch.matcher import Watch
from divmatch.mixture_figures import (
    LIKELIHOOD,
    counted_components,
    distances,
    measured,
    measuring,
    warned,
)
from divmatch.mixture_fits import Plan, checked, made_of, names_of
from divmatch.mixtures import StoredMixture, stored
from divmatch.record import Result
from divmatch.samples import Samples, as_samples

__all__ = ["Mixed", "Plan", "measuring", "mixed", "mixture"]


@dataclass(frozen=True, eq=False)
class Mixed:
    """The mixture that was made, and what is known of it.

    ``whole`` is what was there before a reduction: the fit to the rows, or all mixtures together.
    ``results`` are the mean log-likelihood of held-out rows before (one Gaussian, or the whole
    mixture where it was reduced), after, and the gain, or their divergence from draws before and
    after; the divergence of a reduction and its MW2.
    """

    mixture: StoredMixture
    whole: StoredMixture
    plan: Plan
    results: tuple[Result, ...]
    held_out: str
    converged: bool
    facts: Mapping[str, float | int]
    places: NDArray[np.intp] | None = None
    curve: tuple[Mapping[str, float], ...] = field(default=(), repr=False)

    def of(self, name: str) -> Result | None:
        """The result called before, after, gain, divergence or mw2."""
        return next((result for result in self.results if result.id == name), None)


def mixture(
    *inputs: ArrayLike | Samples,
    components: int | None = None,
    reduce: int | None = None,
    cost: str = "kl",
    starts: int = 10,
    steps: int = 1000,
    weights: ArrayLike | None = None,
    held_out: ArrayLike | Samples | None = None,
    metric: str = LIKELIHOOD,
    level: float = 0.95,
    seed: int = 0,
) -> Mixed:
    """Gaussian mixtures fitted to rows, merged and reduced to fewer components.

    Parameters
    ----------
    inputs : arrays or StoredMixture
        Rows, shape (n, d), and mixtures of `divmatch.mixtures.read_mixture` or `as_mixture`. Several are
        merged, each with the share of its rows.
    components : int
        K, for every input of rows.
    reduce : int
        k, the number of components in the end.
    cost : str
        kl, w2 or jeffreys: what replacing one Gaussian by another costs.
    starts : int
        Random starts of every fit; a reduction has five times as many. The best is kept.
    steps : int
        Iterations of either at most.
    weights : array
        Of the rows of the only input.
    held_out : array
        Rows of which the log-likelihood is told; without them halves of the inputs' rows.
    metric : str
        What is measured: log-likelihood; a divergence of rows from draws, ``name[:key=value,...]``; none.
    level : float
        Confidence level of the intervals.
    seed : int
        Seed of all randomness.

    Returns
    -------
    Mixed
        The mixture, its results, whether the fits converged.

    Examples
    --------
    >>> import divmatch
    >>> rows = [-2.1, -2.0, -1.9, 1.9, 2.0, 2.1]
    >>> divmatch.match.mixture(rows, components=2).mixture.components.shares.tolist()
    [0.5, 0.5]
    """
    if weights is not None and len(inputs) != 1:
        raise SettingError("weights: are of the only input; give Samples with weights")
    names = ["x"] if len(inputs) == 1 else [f"x{k}" for k in range(len(inputs))]
    given = [as_samples(one, name, weights) for one, name in zip(inputs, names, strict=True)]
    rows = None if held_out is None else as_samples(held_out, "held_out")
    plan = Plan(components, reduce, cost, starts, steps)
    return mixed(given, plan, held_out=rows, metric=metric, level=level, seed=seed)


def mixed(
    inputs: Sequence[Samples],
    plan: Plan,
    *,
    held_out: Samples | None = None,
    metric: str = LIKELIHOOD,
    level: float = 0.95,
    seed: int = 0,
    watch: Watch | None = None,
) -> Mixed:
    """Fit, merge, reduce; then say how likely rows are that the fits have not seen. See `mixture`."""
    if not 0 < level < 1:
        raise SettingError(f"--level {level}: expected a number above 0, below 1")
    plan, measure = checked(inputs, plan, held_out), measuring(metric)
    watch = watch or Watch()
    with one_blas_thread(), np.errstate(all="ignore"):  # what is undefined is refused below
        made = made_of(inputs, plan, seed, "all", watch)
        results, held = measured(inputs, plan, made, held_out, measure, level, seed)
        results = [warned(one, made.notes) if one.id != "before" else one for one in results]
        if made.reduced is not None:
            results += [warned(one, made.notes) for one in distances(made, made.reduced, plan)]
    if not results:
        results = [counted_components(made)]
    facts = {**made.facts, "components": len(made.after.shares)}
    total = sum(made.rows) if all(made.rows) else 0
    names = next(filter(None, map(names_of, inputs)), ())
    known = (total, "mixture", names)
    places = None if made.reduced is None else made.reduced.places
    return Mixed(
        stored(made.after, *known), stored(made.whole, *known), plan, tuple(results), held,
        made.converged, facts, places, tuple(watch.curve),
    )  # fmt: skip
