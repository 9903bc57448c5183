"""Cautions: what the data and the settings make doubtful about a result, as coded warnings."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from divmatch.designs import ROUGH, Design
from divmatch.errors import counted
from divmatch.estimator import Estimate, Estimator
from divmatch.record import Note, Test
from divmatch.samples import Samples


def doubts(
    estimator: Estimator, x: Samples, y: Samples | None, settings: Mapping[str, Any]
) -> tuple[Note, ...]:
    """What the data say against that which the method and its settings take for granted."""
    own = () if estimator.assumption is None else estimator.assumption(x, y, **settings)
    return own + tuple(
        note
        for setting in estimator.settings
        if setting.assumption is not None and settings.get(setting.name) is not None
        for note in setting.assumption(x, y, settings[setting.name])
    )


def advised(note: Note, *, tested: bool) -> Note:
    """What to go by where the interval is not valid: the p-value."""
    if note.code != "W04":
        return note
    advice = "go by the p-value" if tested else "use --permutations for a p-value"
    return replace(note, message=f"{note.message}; {advice}")


def infinite_notes(estimate: Estimate) -> tuple[Note, ...]:
    """Say that an infinite value is not a finding, where the method has not said it."""
    if math.isfinite(estimate.value) or any(note.code == "W02" for note in estimate.notes):
        return ()
    message = "the rows that carry weight give no finite number: the value decides no limit"
    return (Note("W02", message),)


def group_notes(design: Design | None) -> tuple[Note, ...]:
    """Say when few independent groups are behind the interval."""
    if design is None or design.independent() >= ROUGH:
        return ()
    groups = counted(design.independent(), "independent group")
    return (Note("W40", f"{design.name}: {groups}: standard error and interval are rough"),)


def test_notes(
    test: Test | None, permutations: int, precision: float | None, alpha: float
) -> tuple[Note, ...]:
    """Say when no outcome could have rejected, or the p-value is not as precise as was asked."""
    if test is None or not permutations:
        return ()
    if test.method == "exact" and 1 / (1 + test.permutations) > alpha:
        splits = 1 + test.permutations
        message = (
            f"{counted(splits, 'possible split')}: p-values below 1 / {splits} cannot occur, so that the "
            f"test never rejects at the {alpha * 100:g}% level; give more rows, pairs or clusters"
        )
        return (Note("W40", message),)
    if precision is not None and test.error is not None and test.error > precision:
        return (
            Note(
                "W06",
                f"--precision {precision:g}: the p-value's Monte Carlo error is {test.error:.2g} after "
                f"{counted(test.permutations, 'permutation')}; give more --permutations",
            ),
        )
    return ()


def weight_notes(x: Samples, y: Samples | None) -> tuple[Note, ...]:
    """Say when a few rows carry most of the weight."""
    notes = []
    for samples in (x, y):
        if samples is None or samples.weights is None:
            continue
        size, most = samples.effective_size(), float(samples.weights.max())
        if size < 10 or most > 0.1:
            notes.append(
                Note(
                    "W08",
                    f"{samples.name}: the weights are worth {size:.3g} equal rows and the largest "
                    f"is {most:.0%} of the total",
                )
            )
    return tuple(notes)
