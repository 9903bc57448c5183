"""What `divmatch score` remembers of every sample set, to say which ones cannot be told apart."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from divmatch.cli.score_kept import Kept, small
from divmatch.errors import counted
from divmatch.estimator import Estimate, Estimator
from divmatch.record import Result
from divmatch.samples import Samples

MOST = 100  # sets whose pairs are all compared


class Groups:
    """Standings of the sets by the first metric, which sorts the table; ``why`` there are no letters."""

    def __init__(
        self, name: str, estimator: Estimator, settings: Mapping[str, Any], kept: Kept
    ) -> None:
        from divmatch.comparison import automatic

        self._name, self._kept = name, kept
        self._names = [*automatic(estimator, settings), "chosen"]
        self._estimator = estimator
        self._found: list[tuple[int, Any]] = []
        self._unknown = 0
        self.why: str | None = None

    def add(
        self,
        row: int,
        samples: tuple[Samples, Samples],
        kept: tuple[Estimate, Any],
        result: Result,
        mark: str | None,
    ) -> None:
        """One set; its result is that of the row with this number."""
        if self._full():
            return
        from divmatch.comparison import standing

        (reference, sample), (estimate, found) = samples, kept
        made = standing(self._estimator, reference, sample, estimate, found, result)
        made = small(made, self._names)
        self._found.append((row, made))
        if mark is not None:
            self._kept.add(mark, made)

    def resume(self, row: int, mark: str | None, result: Result) -> None:
        """One set whose row is in the table already."""
        if self._full():
            return
        made = self._kept.standing(mark, result)
        if made is not None:
            self._found.append((row, made))
        elif not math.isnan(result.value):
            self._unknown += 1

    def _full(self) -> bool:
        if len(self._found) == MOST:
            self.why = f"more than {MOST} sample sets"
        return self.why is not None

    def spoil(self) -> None:
        """A set that cannot be compared: letters would leave it out."""
        self.why = f"{self._name} cannot be compared between sample sets"

    def lettered(self, rows: Sequence[Result], level: float) -> list[Result]:
        """The rows, those of the first metric with their letters, if sets can be compared."""
        rows = list(rows)
        if len(self._found) + self._unknown < 2:
            self.why = None
            return rows
        self.why = self.why or self._incomparable()
        if self.why:
            return rows
        from divmatch.league import league

        made = league([one for _, one in self._found], level=level)
        for k, letters in zip(made.order, made.letters, strict=True):
            number = self._found[k][0]
            rows[number] = replace(rows[number], extra={**rows[number].extra, "group": letters})
        return rows

    def _incomparable(self) -> str | None:
        """What keeps sets from being compared: unlike settings, other subsamples, no standard error."""
        if self._unknown:
            return (
                f"{counted(self._unknown, 'sample set')} came from the --resume table, and "
                f"{self._kept.path} lacks what comparisons by {self._name} need; without --resume "
                "all sets are compared"
            )
        made = [one for _, one in self._found]
        drawn = made[0].method == "subsampling"
        for one in made:
            if one.result.se is None or (drawn and not one.subsamples):
                return f"{one.result.sample} has no standard error of {self._name}"
        if drawn and len({one.result.n for one in made}) > 1:
            least = min(min(one.result.n) for one in made)
            return f"{self._name} compares sets of equal numbers of rows; give --sample {least}"
        for name in self._names:
            found = {one.result.params.get(name) for one in made}
            if len(found) > 1:
                what = "method" if name == "chosen" else name
                return f"{self._name} chose another {what} for every set; name one, {what}=X"
        return None
