"""Encoding: tables become samples with the same columns, on the scale of the reference."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from divmatch.columns import not_found, shortlist
from divmatch.errors import FileError, SampleError, counted
from divmatch.gaps import (
    fill_note,
    holes_of,
    means_of,
    refuse_blank,
    refuse_gaps,
    rounding_note,
)
from divmatch.kernels.execution import execution
from divmatch.matching import Rows, aligned
from divmatch.samples import Points, Samples, as_weights
from divmatch.scaling import HALF, Scaling, resolved_scale, scaling_of
from divmatch.tables import Reading, Table


@dataclass(frozen=True)
class _Layout:
    """Which columns the points have: it depends on the tables that are encoded together."""

    words: tuple[tuple[str, ...], ...]  # of every categorical column, sorted
    gaps: tuple[bool, ...]  # whether "missing" is a category of it
    indicators: tuple[int, ...]  # numbers that get a column telling whether they were missing


def encode(reference: Table, *others: Table, reading: Reading) -> tuple[Samples, ...]:
    """Turn tables into samples with the same columns, on the scale of the reference.

    Parameters
    ----------
    reference : Table
        Scales, means and the order of the columns come from it alone.
    others : Table
        The same columns by name; plain arrays need only as many of them.
    reading : Reading
        What to do with missing values, categories and scales.

    Returns
    -------
    tuple of Samples
        The reference first. Numbers come first in the points, then the columns that tell what was
        missing, then one-hot blocks over the joint categories, scaled so that two different
        categories lie at distance 1.
    """
    return Encoder(reference, reading).encode(*others)


class Encoder:
    """Encodes many candidates against one reference, whose samples are made once and kept.

    Parameters
    ----------
    reference : Table
        It fixes columns, means and scale.
    reading : Reading
        What to do with missing values, categories and scales.
    """

    def __init__(self, reference: Table, reading: Reading) -> None:
        self._reading = reading
        # The names alone: the raw numbers need not outlive the scaled ones.
        self._heading = replace(
            reference,
            numbers=np.empty((0, reference.numbers.shape[1])),
            codes=reference.codes[:0].copy(),
            weights=None,
        )
        self._made: dict[_Layout, Samples] = {}
        self._means: Points | None = None
        self._scaling = Scaling()
        rows = self._cleaned(reference)
        if reading.na in ("mean", "category"):
            self._means = means_of(rows)
            self._filled(rows)
        self._scaling = scaling_of(rows, resolved_scale(reference, reading), self._heading.labels)
        self._scaled(rows)
        self._rows = rows

    @property
    def reference(self) -> Samples:
        """The reference on its own; the same object every time."""
        return self._reference(self._layout([]))

    def candidate(self, table: Table) -> tuple[Samples, Samples]:
        """Encode the reference and this candidate with the same columns.

        The reference is the kept object unless the candidate brings categories or gaps that need
        columns of their own; such a wider copy is kept too, for the next candidate like it.
        """
        reference, candidate = self.encode(table)
        return reference, candidate

    def encode(self, *tables: Table) -> tuple[Samples, ...]:
        """Encode the reference and these tables, all with the same columns."""
        self._check_exclusions(tables)
        others = [self._scaled(self._filled(self._cleaned(table))) for table in tables]
        layout = self._layout(others)
        return (self._reference(layout), *(self._samples(rows, layout) for rows in others))

    def _reference(self, layout: _Layout) -> Samples:
        if layout not in self._made:
            self._made[layout] = self._samples(self._rows, layout)
        return self._made[layout]

    def _check_exclusions(self, tables: Sequence[Table]) -> None:
        """Refuse an excluded name that met no column anywhere: a typing error."""
        for name in self._heading.unmatched:
            if all(name in table.unmatched for table in tables):
                where = ", ".join(dict.fromkeys([self._heading.name, *(t.name for t in tables)]))
                raise FileError(f"{where}: excluded {not_found(name, self._heading.names)}")

    def _cleaned(self, table: Table) -> Rows:
        """Check and align the columns, then refuse, drop or mark what is missing."""
        numbers, codes = aligned(table, self._heading, self._reading.categorical)
        points = np.ascontiguousarray(table.numbers[:, numbers], dtype=np.float64)
        codes_used = table.codes if codes is None else table.codes[:, codes]
        columns = table.categories if codes is None else [table.categories[k] for k in codes]
        holes = holes_of(points, table, self._heading.labels)
        if self._reading.na in ("error", "drop"):
            refuse_blank(table, holes, codes_used, self._heading)
        if self._reading.na == "error":
            refuse_gaps(table, holes, codes_used, self._heading)
        weights, beside = table.weights, table.beside
        dropped: dict[str, int] = {}
        places = table.picked
        if places is not None:
            dropped["sample"] = table.rows - len(places)
        if self._reading.na == "drop" and (holes is not None or (codes_used < 0).any()):
            keep = np.ones(len(points), dtype=bool) if holes is None else ~holes.any(axis=1)
            keep &= np.min(codes_used >= 0, axis=1, initial=True)
            dropped["nan"] = int(len(keep) - np.count_nonzero(keep))
            places = np.flatnonzero(keep) if places is None else places[keep]
            points, codes_used, holes = points[keep], codes_used[keep], None
            weights = None if weights is None else weights[keep]
            beside = {name: values[keep] for name, values in beside.items()}
        if not len(points):
            raise SampleError(f"{table.name}: no row is left, all have missing values")
        if weights is not None:
            weights = as_weights(weights, len(points), table.name)
        words = [column.words for column in columns]
        notes = rounding_note(table)
        return Rows(
            table, points, holes, codes_used, words, weights, dropped, notes, beside, places
        )

    def _filled(self, rows: Rows) -> Rows:
        """Put the means of the reference where numbers are missing."""
        if self._means is None:
            return rows
        rows.notes += fill_note(rows, self._heading, categories=self._reading.na == "mean")
        if rows.holes is None:
            return rows
        blank = [j for j in np.flatnonzero(rows.holes.any(axis=0)) if np.isnan(self._means[j])]
        if blank:
            label = self._heading.labels[blank[0]]
            raise SampleError(
                f"{self._heading.name}: column '{label}' has no value at all, so no mean to put "
                "for the missing ones; leave it out with --columns"
            )
        rows.numbers = np.where(rows.holes, self._means, rows.numbers)
        return rows

    def _scaled(self, rows: Rows) -> Rows:
        """Put the numbers on the scale of the reference."""
        with np.errstate(over="ignore", invalid="ignore"):
            rows.numbers = self._scaling.applied(rows.numbers)
            bad = self._scaling.active and not np.isfinite(rows.numbers.sum())
        if bad and not np.isfinite(rows.numbers).all():
            column = int(np.flatnonzero(~np.isfinite(rows.numbers).all(axis=0))[0])
            raise SampleError(
                f"{rows.table.name}: column '{self._heading.labels[column]}' is too large for the "
                "scale of the reference; choose --scale none"
            )
        return rows

    def _layout(self, others: Sequence[Rows]) -> _Layout:
        """Joint categories and gaps of the reference and these rows."""
        together = [self._rows, *others]
        words, gaps = [], []
        for k in range(len(self._heading.categories)):
            words.append(tuple(sorted({word for rows in together for word in rows.words[k]})))
            missing = any((rows.codes[:, k] < 0).any() for rows in together)
            gaps.append(missing and self._reading.na == "category")
        indicators = np.zeros(len(self._heading.labels), dtype=bool)
        if self._reading.na == "category":
            for rows in together:
                indicators |= False if rows.holes is None else rows.holes.any(axis=0)
        return _Layout(tuple(words), tuple(gaps), tuple(np.flatnonzero(indicators).tolist()))

    def _samples(self, rows: Rows, layout: _Layout) -> Samples:
        """Lay out the points of these rows, with their origin."""
        n, d = rows.numbers.shape
        labels = self._labels(layout)
        points = rows.numbers
        if len(labels) > d:
            self._check_room(n, layout)
            points = np.zeros((n, len(labels)))
            points[:, :d] = rows.numbers
            if rows.holes is not None:
                indicators = list(layout.indicators)
                points[:, d : d + len(indicators)] = rows.holes[:, indicators]
            self._one_hot(points, rows, layout)
        table = rows.table
        origin = {
            "kind": table.kind,
            "rows": table.rows,
            "cols": len(table.labels) + len(table.categories),
            "rows_used": n,
            "dropped": rows.dropped,
            "weights": table.weights_from,
            "scale": self._scaling.name,
            "notes": rows.notes + self._news(rows, layout),
            "layout": (self._scaling, d, d + len(layout.indicators)),
            "categories": tuple(
                (column.name, len(words) + gap)
                for column, words, gap in zip(
                    self._heading.categories, layout.words, layout.gaps, strict=True
                )
            ),
        }
        if rows.places is not None:
            origin["places"] = rows.places
        return Samples(points, rows.weights, table.name, labels, origin, rows.beside)

    def _one_hot(self, points: Points, rows: Rows, layout: _Layout) -> None:
        """Write the blocks of the categorical columns into the zeros at the right."""
        start = rows.numbers.shape[1] + len(layout.indicators)
        for k, words in enumerate(layout.words):
            place = {word: position for position, word in enumerate(words)}
            # The extra last place serves code -1.
            places = np.array([*(place[word] for word in rows.words[k]), len(words)], dtype=np.intp)
            codes = rows.codes[:, k]
            known = np.flatnonzero((codes >= 0) | layout.gaps[k])
            points[known, start + places[codes[known]]] = HALF
            if len(known) < len(codes):
                blank = np.flatnonzero(codes < 0)
                points[blank, start : start + len(words)] = HALF * self._shares(k, place)
            start += len(words) + layout.gaps[k]

    def _shares(self, k: int, place: Mapping[str, int]) -> Points:
        """How much of the reference each category holds: its mean one-hot row."""
        known = self._rows.codes[:, k] >= 0
        if not known.any():
            name = self._heading.categories[k].name
            raise SampleError(
                f"{self._heading.name}: column '{name}' has no value at all, so no mean to put for "
                f"the missing ones; leave it out with --columns '!{name}'"
            )
        shares = np.zeros(len(place))
        own = [place[word] for word in self._rows.words[k]]
        codes, masses = self._rows.codes[known, k], self._rows.masses[known]
        shares[own] = np.bincount(codes, weights=masses, minlength=len(own))
        mean: Points = shares / max(shares.sum(), np.finfo(float).tiny)
        return mean

    def _labels(self, layout: _Layout) -> tuple[str, ...]:
        labels = list(self._heading.labels)
        labels += [f"{self._heading.labels[j]} is missing" for j in layout.indicators]
        columns = self._heading.categories
        for column, words, gap in zip(columns, layout.words, layout.gaps, strict=True):
            labels += [f"{column.name}={word}" for word in words]
            labels += [f"{column.name} is missing"] if gap else []
        return tuple(labels)

    def _check_room(self, n: int, layout: _Layout) -> None:
        """Refuse to spread a column of identifiers over thousands of one-hot columns."""
        room = execution().memory
        for column, words in zip(self._heading.categories, layout.words, strict=True):
            if 8 * n * len(words) > room:
                raise SampleError(
                    f"{self._heading.name}: column '{column.name}' has {counted(len(words), 'category')}, "
                    f"{8 * n * len(words) >> 20} MiB as one-hot columns of {counted(n, 'row')} (at most "
                    f"{room >> 20} MiB); leave it out with --columns '!{column.name}'"
                )

    def _news(self, rows: Rows, layout: _Layout) -> list[tuple[str, str]]:
        """Say which categories the reference has never seen."""
        news = []
        for k, column in enumerate(self._heading.categories if rows is not self._rows else ()):
            unseen = sorted(set(rows.words[k]) - set(self._rows.words[k]))
            if unseen:
                count = "a category" if len(unseen) == 1 else f"{len(unseen)} categories"
                news.append(
                    (
                        "W23",
                        f"column '{column.name}' has {count} that {self._heading.name} lacks: "
                        f"{shortlist(unseen)}",
                    )
                )
        return news
