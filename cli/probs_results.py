"""What `divmatch probs` hands out: a result a kind, the inputs, and on request every row's values."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divmatch.cli.probs_job import Asked
from divmatch.cli.session import Session
from divmatch.estimator import Quantity
from divmatch.estimators.row_means import Job, Mean, Means, Sink
from divmatch.intervals import normal_quantile
from divmatch.matrices import Matrix
from divmatch.record import Interval, Note, Result

PROBS = Quantity(
    "probs", title="{kind}", unit="nats", direction="P||Q", default="rows", examples=()
)


@contextmanager
def row_files(paths: Sequence[str], kinds: Sequence[Asked], session: Session) -> Iterator[Sink]:
    """Each row's values, written as they come: a column `row`, then one a kind."""
    from contextlib import ExitStack

    from divmatch.outputs import whole_file

    with ExitStack() as stack:
        writers = []
        for path in paths:
            from divmatch.parquet import parquet_rows

            file = stack.enter_context(whole_file(path, mkdir=session.options["mkdir"]))
            types = {"row": "int64"} | {one.name: "float64" for one in kinds}
            writers.append(stack.enter_context(parquet_rows(file, types)))

        def sink(numbers: NDArray[np.int64], values: NDArray[np.float64]) -> None:
            columns = {"row": numbers} | {one.name: values[:, k] for k, one in enumerate(kinds)}
            for write in writers:
                write(columns)

        yield sink


def result(
    one: Asked,
    mean: Mean,
    found: Means,
    settings: dict[str, Any],
    p: Matrix,
    extra: tuple[Note, ...],
    session: Session,
) -> Result:
    """One kind as a record: the mean of its rows with a normal interval."""
    level, se = session.options["level"], mean.se
    notes = [*extra, *infinite_notes(mean, found.used)]
    interval = None
    if se is not None:
        half = normal_quantile(0.5 + level / 2) * se
        interval = Interval(level, mean.mean - half, mean.mean + half, "influence")
    elif not mean.infinite:
        what = "batches" if one.kind is None else "rows"
        notes.append(Note("W10", f"{mean.count} {what}: too few for a standard error"))
    bits = session.options["unit"] == "bits" and one.unit == "nats"
    return Result(
        metric="probs",
        method="rows",
        value=mean.mean,
        unit="bits" if bits else one.unit,
        direction="symmetric" if one.symmetric else "P||Q",
        n=(found.used, found.used),
        d=p.classes,
        se=se,
        ci=interval,
        params=settings,
        status="warn" if notes else "ok",
        warnings=tuple(notes),
    )


def named(made: Result) -> Result:
    """The result with the id that tells it from the others of one command."""
    from dataclasses import replace

    return replace(made, id=f"probs:kind={made.params['kind']}")


def infinite_notes(mean: Mean, used: int) -> Iterator[Note]:
    """Where the mean is infinite, how many rows make it so."""
    if mean.infinite:
        yield Note(
            "W02",
            f"{mean.infinite} of {used} rows are infinite (first: row {mean.first_infinite}): one "
            "side has no mass on classes where the other has; js, tv and hellinger stay finite",
        )


def weight_notes(name: str | None, job: Job) -> Iterator[Note]:
    """A few rows that carry most of the weight."""
    if job.weights is None or job.keep is None:
        return
    weights = job.weights[job.keep].astype(np.float64)
    weights = weights / weights.max() if len(weights) else weights
    size, most = weights.sum() ** 2 / (weights**2).sum(), weights.max() / weights.sum()
    if size < 10 or most > 0.1:
        yield Note(
            "W08",
            f"{name}: the weights are worth {size:.3g} equal rows and the largest is {most:.0%} of "
            "the total",
        )


def described(
    p: Matrix, q: Matrix, job: Job, found: Means, options: dict[str, Any]
) -> list[dict[str, Any]]:
    """The inputs of the record; fingerprints only for the format that carries them."""
    if found.marks is None:
        return [{"role": "p", "name": p.name}, {"role": "q", "name": q.name}]
    left_out = p.rows - found.used
    return [
        {
            "role": role,
            "name": matrix.name,
            "kind": matrix.kind,
            "rows": matrix.rows,
            "cols": matrix.classes,
            "rows_used": found.used,
            "dropped": {"mask": left_out} if left_out else {},
            "weights": options["weights"],
            "ess": None,
            "fingerprint": mark,
        }
        for role, matrix, mark in zip("pq", (p, q), found.marks, strict=True)
    ]
