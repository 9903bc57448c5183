"""What `divmatch score` remembers of every sample set, to say which ones cannot be told apart."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from divmatch.estimator import Estimate, Estimator
from divmatch.record import Result
from divmatch.samples import Samples

MOST = 100  # sets whose pairs are all compared


class Groups:
    """Standings of the sets by the first metric, which sorts the table."""

    def __init__(self) -> None:
        self._found: list[tuple[int, Any]] = []
        self._whole = True

    def add(
        self,
        row: int,
        estimator: Estimator,
        samples: tuple[Samples, Samples],
        kept: tuple[Estimate, Any],
        result: Result,
    ) -> None:
        """One set; its result is that of the row with this number."""
        if len(self._found) == MOST:
            self._whole = False
        if not self._whole:
            return
        from divmatch.comparison import standing

        (reference, sample), (estimate, found) = samples, kept
        made = standing(estimator, reference, sample, estimate, result)
        if found is not None:
            made = replace(made, draws=found.values, fraction=found.fraction)
        self._found.append((row, made))

    def spoil(self) -> None:
        """A set whose rows are not known any more: letters would leave it out."""
        self._whole = False

    def lettered(self, rows: Sequence[Result], level: float) -> list[Result]:
        """The rows, those of the first metric with their letters, if sets can be compared."""
        rows = list(rows)
        if not self._whole or len(self._found) < 2 or not self._comparable():
            return rows
        from divmatch.league import league

        made = league([one for _, one in self._found], level=level)
        for k, letters in zip(made.order, made.letters, strict=True):
            number = self._found[k][0]
            rows[number] = replace(rows[number], extra={**rows[number].extra, "group": letters})
        return rows

    def _comparable(self) -> bool:
        """Settings left to the data came out the same, subsamples have the same rows."""
        made = [one for _, one in self._found]
        first = made[0]
        if first.draws is not None:
            same = {one.result.n for one in made}
            if len(same) > 1 or any(one.draws is None for one in made):
                return False
        elif any(one.of_rows is None or one.of_reference is None for one in made):
            return False
        numbers = [
            {k: v for k, v in one.result.params.items() if k in ("bandwidth", "chosen")}
            for one in made
        ]
        return all(one == numbers[0] for one in numbers)
