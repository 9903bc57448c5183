"""Maximum likelihood fits of Gaussian mixtures to weighted rows, from several random starts."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import InconclusiveError, counted
from divmatch.matcher import Watch
from divmatch.mixtures import Components
from divmatch.record import Note
from divmatch.transport.gaussian_mixture import (
    Mixture,
    Prior,
    improved,
    maximised,
    posterior,
    scaled,
)

Array = NDArray[np.float64]
STILL = 1e-7  # gain of the mean log-likelihood at which a fit has converged
TRIAL = 25  # iterations of a start before the best ones are chosen
SINGULAR = 1e-8  # smallest variance of a component in any direction, as a share of all rows' there


@dataclass(frozen=True, eq=False)
class Fitted:
    """A mixture in the data's unit, its mean log-likelihood, and how the fit went."""

    mixture: Components
    log_likelihood: float
    steps: int
    converged: bool
    notes: tuple[Note, ...]


def fitted(
    points: Array,
    masses: Array,
    count: int,
    *,
    starts: int,
    steps: int,
    name: str,
    rng: "Callable[[], np.random.Generator]",
    watch: Watch | None = None,
) -> Fitted:
    """The mixture of ``count`` Gaussians with the largest likelihood that the starts lead to.

    Starts are groups around rows drawn by k-means++ and a few iterations of expectation-maximisation
    with covariances drawn a little towards the whole. The best one whose components do not collapse
    is improved without that. Nothing depends on the columns' units.
    """
    watch = watch or Watch()
    live = masses > 0
    points, masses = points[live], masses[live]
    _check_enough(points, count, name)
    rows, centre, scale, whole = scaled(points, masses, name)
    unit = np.linalg.inv(np.linalg.cholesky(whole))
    weight = float(masses @ masses)
    prior = Prior(weight, whole / count ** (2.0 / rows.shape[1]))
    found = _resumed(rows, masses, prior, unit, steps, watch)
    if found is None:
        trials = _trials(rows, masses, count, starts, prior, rng, name, watch)
        found = _chosen(rows, masses, trials, prior, unit, steps, watch)
    best, done, free = found
    notes = [] if free else [_collapsed(name, count)]
    notes += _thin(best, masses, rows.shape[1], name)
    made = Components(
        best.shares,
        best.means * scale + centre,
        best.covariances * scale[:, None] * scale,
    )
    level = best.log_likelihood - float(np.log(scale).sum())
    return Fitted(made, level, done, best.converged, tuple(notes))


def _check_enough(points: Array, count: int, name: str) -> None:
    if len(points) < 2:
        raise InconclusiveError(
            f"{name}: one row has no covariance and no Gaussian mixture; give more rows"
        )
    if count > 1 and len(points) <= 4 * count and len(np.unique(points, axis=0)) < count:
        raise InconclusiveError(
            f"{name}: {counted(len(points), 'row')} have fewer places than the {count} components of "
            "--components; give a smaller number"
        )


# ------------------------------------------------------------------------------------------ starts


def _trials(
    rows: Array,
    masses: Array,
    count: int,
    starts: int,
    prior: Prior,
    rng: "Callable[[], np.random.Generator]",
    name: str,
    watch: Watch,
) -> list[Mixture]:
    """Short fits from every start, the likeliest first; of one Gaussian there is nothing to start."""
    if count == 1:
        own = np.ones((len(rows), 1))
        return [maximised(rows, masses, own, prior)]
    draw = rng()
    made = []
    for k in range(starts):
        watch.at(f"{name}, start {k + 1} of {starts}")
        own = _groups(rows, masses, count, draw, name)
        made.append(improved(rows, masses, maximised(rows, masses, own, prior), TRIAL, prior))
    return sorted(made, key=lambda trial: -trial.log_likelihood)


def _groups(rows: Array, masses: Array, count: int, rng: "np.random.Generator", name: str) -> Array:
    """Every row with the nearest of ``count`` rows drawn by k-means++, as posterior shares (n, K)."""
    nearest = np.zeros(len(rows), dtype=np.intp)
    gaps = np.full(len(rows), np.inf)
    chances = masses
    for k in range(count):
        place = int(np.searchsorted(np.cumsum(chances) / chances.sum(), rng.random(), side="right"))
        centred = rows - rows[min(place, len(rows) - 1)]
        found = np.einsum("ij,ij->i", centred, centred)
        nearer = found < gaps
        nearest[nearer], gaps = k, np.minimum(gaps, found)
        chances = masses * gaps
        if k + 1 < count and not chances.sum() > 0:
            raise InconclusiveError(
                f"{name}: {counted(k + 1, 'different row')} cannot have {count} components; give a "
                "smaller --components"
            )
    own = np.zeros((len(rows), count))
    own[np.arange(len(rows)), nearest] = 1.0
    return own


# -------------------------------------------------------------------------------------- likelihood


def _chosen(
    rows: Array,
    masses: Array,
    trials: list[Mixture],
    prior: Prior,
    unit: Array,
    steps: int,
    watch: Watch,
) -> tuple[Mixture, int, bool]:
    """The best start that leads to a mixture without a collapsed component; else the best, held back."""
    for start in trials:
        known = len(watch.curve)
        try:
            return *_run(rows, masses, start, _none(prior), unit, steps, watch), True
        except np.linalg.LinAlgError:
            del watch.curve[known:]
    return *_run(rows, masses, trials[0], prior, unit, steps, watch), False


def _none(prior: Prior) -> Prior:
    return replace(prior, share=0.0)


def _run(
    rows: Array,
    masses: Array,
    mixture: Mixture,
    prior: Prior,
    unit: Array,
    steps: int,
    watch: Watch,
    done: int = 0,
) -> tuple[Mixture, int]:
    """Expectation and maximisation in turns, until the likelihood stands still."""
    before = -math.inf
    while True:
        own, log_likelihood = posterior(rows, masses, mixture)
        watch.step(done, log_likelihood=log_likelihood)
        here = replace(mixture, own=own, log_likelihood=log_likelihood)
        if abs(log_likelihood - before) < STILL:
            return here, done
        if done >= steps:
            return replace(here, converged=False), done
        watch.keep(lambda state=here, at=done: _state(state, at, prior))  # type: ignore[misc]
        if not (masses @ own > 0).all():
            raise np.linalg.LinAlgError("a component lost all rows")
        mixture = maximised(rows, masses, own, prior, log_likelihood)
        if not prior.share:
            _check_regular(mixture, unit)
        before, done = log_likelihood, done + 1


def _check_regular(mixture: Mixture, unit: Array) -> None:
    """A covariance that is next to nothing beside that of all rows has collapsed."""
    white = unit @ mixture.covariances @ unit.T
    if not float(np.linalg.eigvalsh(white)[:, 0].min()) > SINGULAR:
        raise np.linalg.LinAlgError("a component collapsed")


def _state(mixture: Mixture, done: int, prior: Prior) -> Mapping[str, NDArray[Any]]:
    return {
        "shares": mixture.shares,
        "means": mixture.means,
        "covariances": mixture.covariances,
        "done": np.array(done),
        "prior": np.array(prior.share),
    }


def _resumed(
    rows: Array, masses: Array, prior: Prior, unit: Array, steps: int, watch: Watch
) -> tuple[Mixture, int, bool] | None:
    """The fit that was stopped, carried on; None where there is none, or a component collapses."""
    state = watch.kept()
    if state is None:
        return None
    known, share = len(watch.curve), float(state["prior"])
    shares, means, covariances = (state[part] for part in ("shares", "means", "covariances"))
    start = Mixture(shares, means, covariances, np.empty((len(rows), 0)), -math.inf, share)
    held = prior if share else _none(prior)
    try:
        return *_run(rows, masses, start, held, unit, steps, watch, int(state["done"])), not share
    except np.linalg.LinAlgError:
        del watch.curve[known:]
        return None


# ------------------------------------------------------------------------------------------- notes


def _collapsed(name: str, count: int) -> Note:
    return Note(
        "W52",
        f"{name}: from every start a component collapsed onto few rows or into a plane; covariances "
        f"were drawn towards that of all rows, with the weight of one row: {count} components may be "
        "too many",
    )


def _thin(mixture: Mixture, masses: Array, d: int, name: str) -> list[Note]:
    """Say when a component rests on hardly more rows than it has parameters in a direction."""
    weights = mixture.own * masses[:, None]
    least = float((weights.sum(axis=0) ** 2 / np.sum(weights**2, axis=0)).min())
    if least >= 2 * (d + 1):
        return []
    return [
        Note(
            "W61",
            f"{name}: a component rests on {least:.3g} rows for its {counted(d, 'column')}; give a "
            "smaller --components",
        )
    ]
