"""What `divmatch score` remembers of every sample set, to say which ones cannot be told apart."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from divmatch.estimator import Estimate, Estimator
from divmatch.record import Result
from divmatch.samples import Samples

MOST = 100  # sets whose pairs are all compared


class Groups:
    """Standings of the sets by the first metric, which sorts the table."""

    def __init__(self, estimator: Estimator, settings: Mapping[str, Any]) -> None:
        self._estimator, self._settings = estimator, settings
        self._found: list[tuple[int, Any]] = []
        self._whole = True

    def add(
        self,
        row: int,
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
        made = standing(self._estimator, reference, sample, estimate, found, result)
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
        from divmatch.comparison import automatic

        made = [one for _, one in self._found]
        if made[0].method == "subsampling":
            if len({one.result.n for one in made}) > 1 or any(not one.subsamples for one in made):
                return False
        elif any(one.result.se is None for one in made):
            return False
        keys = [*automatic(self._estimator, self._settings), "chosen"]
        numbers = [[one.result.params.get(key) for key in keys] for one in made]
        return all(one == numbers[0] for one in numbers)
