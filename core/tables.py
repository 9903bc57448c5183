"""Tables: rows of mixed columns, and how they become points on the scale of the reference."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import FileError, InconclusiveError, SampleError, SettingError, suggestion
from divmatch.kernels.execution import execution
from divmatch.samples import Points, Samples, Weights, as_weights

HALF = np.sqrt(0.5)  # a one-hot block times this puts two different categories at distance 1
CHOICES = {
    "na": ("error", "drop", "mean", "category"),
    "scale": ("auto", "none", "ref-sd", "ref-iqr", "ref-whiten"),
    "categorical": ("onehot", "error"),
    "stdin_format": (None, "npy", "npz", "parquet", "csv", "tsv", "ndjson"),
}


@dataclass(frozen=True)
class Reading:
    """How files become samples; every field is the command line option of the same name.

    Parameters
    ----------
    columns : str, optional
        Comma-separated names and shell globs; ``num:`` and ``cat:`` restrict a glob to single
        numbers or categories, ``!`` excludes and always wins, only exclusions mean all but these.
        Columns of plain arrays are named by position: ``0,2`` or ``0-3``. A backslash guards a
        comma.
    weights, weights_p, weights_q : str, optional
        A column with one weight a row, for both files or for one; for one also a .npy or
        .npz::key file. The column of ``weights`` is never data.
    na : str
        Missing values are an error, drop their row, become the mean of the reference, or become a
        category (an extra 0/1 column for numbers). Infinite values are always an error.
    sample : int or str, optional
        This many rows, or a share like "10%", drawn without replacement before anything else.
    scale : str
        Taken from the reference alone. ``auto`` is ref-iqr for tables and none for plain arrays
        and for a single embedding column.
    categorical : str
        Categories become one-hot columns, or are an error.
    stdin_format : str, optional
        What standard input holds, where its first bytes do not tell.
    seed : int
        Seed of ``sample``.
    """

    columns: str | None = None
    weights: str | None = None
    weights_p: str | None = None
    weights_q: str | None = None
    na: str = "error"
    sample: int | str | None = None
    scale: str = "auto"
    categorical: str = "onehot"
    stdin_format: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name, known in CHOICES.items():
            value = getattr(self, name)
            if value not in known:
                words = [word for word in known if word]
                raise SettingError(
                    f"--{name.replace('_', '-')}: '{value}' is unknown, expected one of "
                    f"{', '.join(words)}{suggestion(str(value), words)}"
                )
        self.sampled(1)

    def sampled(self, rows: int) -> int:
        """How many of this many rows ``sample`` keeps; at least one."""
        if self.sample is None:
            return rows
        text = str(self.sample).strip()
        try:
            share = float(text[:-1]) / 100 if text.endswith("%") else None
            wanted = int(text) if share is None else max(1, round(rows * share))
        except (ValueError, OverflowError):
            share, wanted = None, 0
        if wanted < 1 or (share is not None and not 0 < share <= 1):
            raise SettingError(
                f"--sample: '{text}' is no number of rows; give a whole number above 0, or a share "
                "such as 10%"
            )
        return min(rows, wanted)


@dataclass(frozen=True)
class Column:
    """A column's name and kind: ``num``, ``list`` (``width`` numbers a row) or ``cat``."""

    name: str
    kind: Literal["num", "list", "cat"] = "num"
    width: int = 1
    words: tuple[str, ...] = ()
    type: str = ""


@dataclass(frozen=True, eq=False)
class Table:
    """Rows as they were read: numbers side by side, categories as codes into sorted words.

    ``numbers`` is (n, d) of any real type, the ``num`` and ``list`` columns in order; ``codes`` is
    (n, c), the ``cat`` columns in order, -1 where missing. A plain array is one ``list`` column
    without a name. ``selected`` marks a column that the user picked by ``file::column``: it is
    matched by position, as the columns of a plain array are.
    """

    name: str
    kind: str
    rows: int
    columns: tuple[Column, ...]
    labels: tuple[str, ...]
    numbers: NDArray[Any]
    codes: NDArray[np.int32]
    plain: bool = False
    selected: bool = False
    picked: NDArray[np.int64] | None = None
    weights: Weights | None = None
    weights_from: str | None = None
    unmatched: tuple[str, ...] = ()

    @property
    def categories(self) -> tuple[Column, ...]:
        """The columns that hold categories."""
        return tuple(column for column in self.columns if column.kind == "cat")

    @property
    def names(self) -> tuple[str, ...]:
        """What the columns are called; positions for a plain array."""
        return self.labels if self.plain else tuple(column.name for column in self.columns)

    def values(self, name: str) -> NDArray[Any]:
        """One column: (n,) numbers, (n, w) numbers, or (n,) codes."""
        if self.plain:
            return self.numbers[:, self.labels.index(name)]
        number = code = 0
        for column in self.columns:
            if column.name == name:
                if column.kind == "cat":
                    return self.codes[:, code]
                block = self.numbers[:, number : number + column.width]
                return block if column.kind == "list" else block[:, 0]
            code += column.kind == "cat"
            number += 0 if column.kind == "cat" else column.width
        raise FileError(f"{self.name}: column '{name}' not found{suggestion(name, self.names)}")

    def row(self, position: int) -> int:
        """Find the row in the file that ended up at this position."""
        return position if self.picked is None else int(self.picked[position])


def labels_of(columns: Sequence[Column]) -> tuple[str, ...]:
    """One label for each number of a row; the k-th of a list column is ``name[k]``."""
    labels: list[str] = []
    for column in columns:
        if column.kind == "num":
            labels.append(column.name)
        elif column.kind == "list":
            labels += [f"{column.name}[{k}]" for k in range(column.width)]
    return tuple(labels)


def chosen(
    pattern: str | None, kinds: Mapping[str, str], where: str
) -> tuple[list[str], tuple[str, ...]]:
    """List the names that ``--columns`` keeps, in order, and exclusions that met nothing."""
    if pattern is None:
        return list(kinds), ()
    kept: set[str] = set()
    excluded: set[str] = set()
    unmatched = []
    only_exclusions = True
    for piece in _pieces(pattern):
        bare = piece[1:] if piece.startswith("!") and piece not in kinds else piece
        found = _matches(bare, kinds)
        if bare != piece:
            excluded |= found
            unmatched += [] if found or bare[:4] in ("num:", "cat:") else [bare]
            continue
        only_exclusions = False
        if not found and piece[:4] not in ("num:", "cat:"):
            raise FileError(f"{where}: {not_found(piece, kinds)}")
        kept |= found
    names = [name for name in kinds if (only_exclusions or name in kept) and name not in excluded]
    if not names:
        raise FileError(
            f"{where}: --columns '{pattern}' leaves no column; it has {shortlist(kinds)}"
        )
    return names, tuple(unmatched)


def not_found(name: str, known: Mapping[str, Any] | Sequence[str]) -> str:
    """`column 'amout' not found; did you mean 'amount'?`, or what there is instead."""
    near = suggestion(name, known)
    return f"column '{name}' not found{near or f'; it has {shortlist(known)}'}"


def shortlist(names: Mapping[str, Any] | Sequence[str]) -> str:
    """Quote the first few names, for an error message."""
    first = [f"'{name}'" for name in list(names)[:6]]
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""
    return ", ".join(first) + more if first else "none"


def _pieces(pattern: str) -> list[str]:
    """Split at commas that no backslash guards."""
    joined = pattern.replace("\\,", "\0").split(",")
    return [piece.strip().replace("\0", ",") for piece in joined if piece.strip()]


def _matches(piece: str, kinds: Mapping[str, str]) -> set[str]:
    """Find the columns meant by a name, a range of positions or a glob, in this order."""
    if piece in kinds:
        return {piece}
    first, dash, last = piece.partition("-")
    if dash and first.isdecimal() and last in kinds and last.isdecimal():
        span = [str(k) for k in range(int(first), int(last) + 1)]
        if all(name in kinds for name in span):
            return set(span)
    kind, glob = (piece[:3], piece[4:]) if piece[:4] in ("num:", "cat:") else ("", piece)
    return {
        name
        for name, own in kinds.items()
        if kind in ("", own) and (name == glob or fnmatchcase(name, glob))
    }


@dataclass(frozen=True)
class _Layout:
    """Which columns the points have: it depends on the tables that are encoded together."""

    words: tuple[tuple[str, ...], ...]  # of every categorical column, sorted
    gaps: tuple[bool, ...]  # whether "missing" is a category of it
    indicators: tuple[int, ...]  # numbers that get a column telling whether they were missing


@dataclass(eq=False)
class _Rows:
    """One table on its way: numbers in the order of the reference, the rows that stay."""

    table: Table
    numbers: Points
    holes: NDArray[np.bool_] | None
    codes: NDArray[np.int32]
    words: list[tuple[str, ...]]
    weights: Weights | None
    dropped: dict[str, int]
    notes: list[tuple[str, str]] = field(default_factory=list)

    @property
    def masses(self) -> Weights:
        n = len(self.numbers)
        return np.full(n, 1 / n) if self.weights is None else self.weights


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
        self._scaling = _Scaling()
        rows = self._cleaned(reference)
        if reading.na in ("mean", "category"):
            self._means = _means(rows)
            self._filled(rows)
        self._scaling = _scaling(rows, resolved_scale(reference, reading), self._heading.labels)
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

    def _cleaned(self, table: Table) -> _Rows:
        """Check and align the columns, then refuse, drop or mark what is missing."""
        numbers, codes = _aligned(table, self._heading, self._reading.categorical)
        points = np.ascontiguousarray(table.numbers[:, numbers], dtype=np.float64)
        codes_used = table.codes if codes is None else table.codes[:, codes]
        columns = table.categories if codes is None else [table.categories[k] for k in codes]
        holes = _holes(points, table, self._heading.labels)
        if self._reading.na == "error":
            _refuse_gaps(table, holes, codes_used, self._heading)
        weights = table.weights
        dropped: dict[str, int] = {}
        if table.picked is not None:
            dropped["sample"] = table.rows - len(table.picked)
        if self._reading.na == "drop" and (holes is not None or (codes_used < 0).any()):
            keep = np.ones(len(points), dtype=bool) if holes is None else ~holes.any(axis=1)
            keep &= np.min(codes_used >= 0, axis=1, initial=True)
            dropped["nan"] = int(len(keep) - np.count_nonzero(keep))
            points, codes_used, holes = points[keep], codes_used[keep], None
            weights = None if weights is None else weights[keep]
        if not len(points):
            raise SampleError(f"{table.name}: no row is left, all have missing values")
        if weights is not None:
            weights = as_weights(weights, len(points), table.name)
        words = [column.words for column in columns]
        return _Rows(table, points, holes, codes_used, words, weights, dropped)

    def _filled(self, rows: _Rows) -> _Rows:
        """Put the means of the reference where numbers are missing."""
        if rows.holes is None or self._means is None:
            return rows
        blank = [j for j in np.flatnonzero(rows.holes.any(axis=0)) if np.isnan(self._means[j])]
        if blank:
            label = self._heading.labels[blank[0]]
            raise SampleError(
                f"{self._heading.name}: column '{label}' has no value at all, so no mean to put "
                "for the missing ones; leave it out with --columns"
            )
        rows.numbers = np.where(rows.holes, self._means, rows.numbers)
        count = int(rows.holes.sum())
        rows.notes.append(
            (
                "W22",
                f"{count} missing value{'s' if count > 1 else ''} replaced by the mean of the "
                "reference",
            )
        )
        return rows

    def _scaled(self, rows: _Rows) -> _Rows:
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

    def _layout(self, others: Sequence[_Rows]) -> _Layout:
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

    def _samples(self, rows: _Rows, layout: _Layout) -> Samples:
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
        }
        return Samples(points, rows.weights, table.name, labels, origin)

    def _one_hot(self, points: Points, rows: _Rows, layout: _Layout) -> None:
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
                    f"{self._heading.name}: column '{column.name}' has {len(words)} categories, "
                    f"{8 * n * len(words) >> 20} MiB as one-hot columns of {n} rows (at most "
                    f"{room >> 20} MiB); leave it out with --columns '!{column.name}'"
                )

    def _news(self, rows: _Rows, layout: _Layout) -> list[tuple[str, str]]:
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


def _aligned(
    table: Table, heading: Table, categorical: str
) -> tuple[slice | list[int], list[int] | None]:
    """Where the columns of the reference are in this table: its numbers, then its categories."""
    if categorical == "error" and table.categories:
        name = table.categories[0].name
        raise SampleError(
            f"{table.name}: column '{name}' holds categories, not numbers; choose --categorical "
            f"onehot, or leave it out with --columns '!{name}'"
        )
    if table.plain or heading.plain or (table.selected and heading.selected):
        _check_counts(table, heading)
        return slice(None), None
    own = {column.name: column for column in table.columns}
    _check_names(table.name, own, heading)
    if list(own) == [column.name for column in heading.columns]:
        return slice(None), None
    starts, position = {}, 0
    for column in table.columns:
        starts[column.name] = position
        position += column.width if column.kind != "cat" else 0
    numbers = [
        starts[column.name] + k
        for column in heading.columns
        if column.kind != "cat"
        for k in range(column.width)
    ]
    order = [column.name for column in table.categories]
    return numbers, [order.index(column.name) for column in heading.categories]


def _check_counts(table: Table, heading: Table) -> None:
    """Plain arrays and single picked columns need only as many columns of the same kind."""
    if len(table.categories) != len(heading.categories):
        texts, numbers = (table, heading) if table.categories else (heading, table)
        name = texts.categories[0].name
        raise SampleError(
            f"{texts.name}: column '{name}' holds categories, but {numbers.name} holds only "
            f"numbers; leave it out with --columns '!{name}'"
        )
    if len(table.labels) != len(heading.labels):
        raise SampleError(
            f"{heading.name} has {len(heading.labels)} columns, {table.name} has "
            f"{len(table.labels)}; both need the same"
        )


def _check_names(where: str, own: Mapping[str, Column], heading: Table) -> None:
    """Tables need the same names, and under each name the same kind."""
    lost = [column.name for column in heading.columns if column.name not in own]
    new = [name for name in own if name not in heading.names]
    if lost or new:
        parts = [f"lacks {shortlist(lost)}"] if lost else []
        parts += [f"has {shortlist(new)} in addition"] if new else []
        raise SampleError(
            f"{where}: {' and '.join(parts)}, compared with {heading.name}; both need the same "
            "columns, choose them with --columns"
        )
    words = {"num": "numbers", "list": "lists of numbers", "cat": "categories"}
    for column in heading.columns:
        found = own[column.name]
        if found.kind != column.kind:
            raise SampleError(
                f"{where}: column '{column.name}' holds {words[found.kind]}, but "
                f"{words[column.kind]} in {heading.name}; convert one of them, or leave it out "
                f"with --columns '!{column.name}'"
            )
        if found.width != column.width:
            raise SampleError(
                f"{where}: column '{column.name}' has {found.width} numbers a row, but "
                f"{column.width} in {heading.name}; both need the same"
            )


def _holes(points: Points, table: Table, labels: Sequence[str]) -> NDArray[np.bool_] | None:
    """Where numbers are missing, None if nowhere; infinite values are refused."""
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(points.sum()):  # one pass and no temporary when all is well
            return None
    infinite = np.isinf(points)
    if infinite.any():
        column = int(np.flatnonzero(infinite.any(axis=0))[0])
        rows = np.flatnonzero(infinite[:, column])
        raise SampleError(
            f"{table.name}: column '{labels[column]}' has {_count(rows, 'infinite value')}, first "
            f"at row {table.row(int(rows[0]))}; correct or remove these rows"
        )
    holes = np.isnan(points)
    return holes if holes.any() else None


def _refuse_gaps(
    table: Table, holes: NDArray[np.bool_] | None, codes: NDArray[np.int32], heading: Table
) -> None:
    """Name the first column with missing values."""
    names = [column.name for column in heading.categories]
    for missing, labels, way in (
        (holes, heading.labels, "mean"),
        (codes < 0, names, "category"),
    ):
        if missing is None or not missing.any():
            continue
        column = int(np.flatnonzero(missing.any(axis=0))[0])
        rows = np.flatnonzero(missing[:, column])
        raise SampleError(
            f"{table.name}: column '{labels[column]}' has {_count(rows, 'missing value')}, first "
            f"at row {table.row(int(rows[0]))}; choose --na drop or --na {way}"
        )


def _count(rows: NDArray[Any], noun: str) -> str:
    return f"{len(rows)} {noun}{'s' if len(rows) > 1 else ''}"


@dataclass(frozen=True, eq=False)
class _Scaling:
    """(x - centre) / unit, then turned; every part may be absent."""

    name: str = "none"
    unit: Points | None = None
    centre: Points | None = None
    turn: Points | None = None

    @property
    def active(self) -> bool:
        return self.unit is not None

    def applied(self, numbers: Points) -> Points:
        if self.unit is None:
            return numbers
        moved = numbers if self.centre is None else numbers - self.centre
        scaled: Points = moved / self.unit
        return scaled if self.turn is None else np.ascontiguousarray(scaled @ self.turn)


def resolved_scale(reference: Table, reading: Reading) -> str:
    """Decide what ``auto`` means for this reference."""
    if reading.scale != "auto":
        return reading.scale
    single = len(reference.columns) == 1 and reference.columns[0].kind == "list"
    return "none" if reference.plain or single else "ref-iqr"


def _scaling(rows: _Rows, name: str, labels: Sequence[str]) -> _Scaling:
    """Measure the reference; what it could not offer becomes a note."""
    if name == "none" or not labels:
        return _Scaling(name)
    if name == "ref-whiten":
        return _whitening(rows, labels)
    units = np.ones(len(labels))
    for j, label in enumerate(labels):
        observed = slice(None) if rows.holes is None else ~rows.holes[:, j]
        column = rows.numbers[observed, j]
        weights = None if rows.weights is None else rows.weights[observed]
        unit = _iqr(column, weights) if name == "ref-iqr" else 0.0
        if unit == 0.0:
            unit = _deviation(column, weights)
            if unit > 0.0 and name == "ref-iqr":
                rows.notes.append(
                    (
                        "W20",
                        f"column '{label}' has zero IQR in the reference; scaled by its standard "
                        "deviation",
                    )
                )
        if unit == 0.0:
            rows.notes.append(("W21", f"column '{label}' is constant in the reference; not scaled"))
        units[j] = unit or 1.0
    return _Scaling(name, units)


def _deviation(values: Points, weights: Weights | None) -> float:
    """Measure the standard deviation over the mass (no n - 1); squares cannot overflow."""
    if not len(values) or values.min() == values.max():
        return 0.0
    moved = values - np.average(values, weights=weights)
    largest = np.abs(moved).max()
    return float(largest * np.sqrt(np.average((moved / largest) ** 2, weights=weights)))


def _iqr(values: Points, weights: Weights | None) -> float:
    """Interquartile range; linear interpolation (type 7), extended to weights.

    Akinshin 2023, arXiv 2304.07265: each quantile is the mean of the quantile function over a
    window of width 1 / n*, with Kish's n*; equal weights give the usual quartiles back.
    """
    if not len(values):
        return 0.0
    if weights is None:
        low, high = np.quantile(values, [0.25, 0.75])
        return float(high - low)
    order = np.argsort(values, kind="stable")
    weights = weights[order] / weights.sum()
    size = 1 / np.sum(weights**2)
    edges = np.concatenate([[0.0], np.cumsum(weights)])
    edges /= edges[-1]
    quartiles = []
    for share in (0.25, 0.75):
        window = np.clip(edges * size - share * (size - 1), 0, 1)
        quartiles.append(np.diff(window) @ values[order])
    return float(max(quartiles[1] - quartiles[0], 0.0))


def _means(rows: _Rows) -> Points:
    """Means of the values that are there, NaN where there are none."""
    means: Points = rows.masses @ rows.numbers
    if rows.holes is not None:
        masses = np.where(rows.holes, 0.0, rows.masses[:, None])
        values = np.where(rows.holes, 0.0, rows.numbers)
        with np.errstate(invalid="ignore"):
            means = np.einsum("ij,ij->j", masses, values) / masses.sum(axis=0)
    return means


def _whitening(rows: _Rows, labels: Sequence[str]) -> _Scaling:
    """Centre and turn so that the covariance of the reference becomes the identity."""
    centre = rows.masses @ rows.numbers
    unit = np.array([_deviation(column, rows.weights) for column in rows.numbers.T])
    flat = np.flatnonzero(unit == 0.0)
    if len(flat):
        _refuse_whitening(rows, f"column '{labels[flat[0]]}' is constant")
    standard = (rows.numbers - centre) / unit
    correlation = (standard * rows.masses[:, None]).T @ standard
    d = len(labels)
    # What a column adds to those before it is the squared pivot; below rounding it adds nothing.
    least = 64 * d * np.finfo(float).eps
    for size in range(1, d + 1) if not _sound(correlation, least) else ():
        if not _sound(correlation[:size, :size], least):
            label = labels[size - 1]
            _refuse_whitening(rows, f"column '{label}' follows from those before it")
    turn = np.linalg.inv(np.linalg.cholesky(correlation)).T
    return _Scaling("ref-whiten", unit, centre, np.ascontiguousarray(turn))


def _sound(correlation: Points, least: float) -> bool:
    """Whether every pivot of the Cholesky factor is well above rounding."""
    try:
        return bool((np.diag(np.linalg.cholesky(correlation)) ** 2 > least).all())
    except np.linalg.LinAlgError:
        return False


def _refuse_whitening(rows: _Rows, why: str) -> None:
    raise InconclusiveError(
        f"{rows.table.name}: the covariance of {len(rows.numbers)} rows is singular ({why}), so "
        f"--scale ref-whiten has no answer; choose --scale ref-iqr, or leave it out with --columns"
    )


def fingerprint(samples: Samples) -> str:
    """``blake2b:`` and 16 hexadecimal digits over shape, points and weights."""
    from hashlib import blake2b

    digest = blake2b(repr(samples.points.shape).encode(), digest_size=8)
    for part in (samples.points, samples.weights):
        if part is not None:
            digest.update(np.ascontiguousarray(part, dtype="<f8").data)
    return f"blake2b:{digest.hexdigest()}"


def input_info(samples: Samples, role: str) -> dict[str, Any]:
    """Describe a sample for the record; role is p, q, ref or sample."""
    origin = samples.origin
    known = {"kind": origin["kind"]} if "kind" in origin else {}
    return {
        "role": role,
        "name": samples.name,
        **known,
        "rows": origin.get("rows", samples.n),
        "cols": origin.get("cols", samples.d),
        "rows_used": samples.n,
        "dropped": dict(origin.get("dropped", {})),
        "weights": origin.get("weights"),
        "ess": None if samples.weights is None else samples.effective_size(),
        "fingerprint": fingerprint(samples),
    }
