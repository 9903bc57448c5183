"""Tables: how files are to be read, and rows of mixed columns as they were read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import FileError, SettingError, suggestion
from divmatch.samples import Weights

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
        ``cat:`` also says that a text column of mostly numbers holds categories, such as codes.
        Columns of plain arrays are named by position: ``0,2`` or ``0-3``. A backslash guards a
        comma.
    weights, weights_p, weights_q : str, optional
        A column with one weight a row, for both files or for one; for one also a file of its own, an
        array or a table's only or picked column (``w.csv::w``). The column of ``weights`` is never
        data.
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
    log_q : str, optional
        Log-densities of Q at the rows of P: a column, which then is no data, or a file.
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
    log_q: str | None = None

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
    matched by position, as the columns of a plain array are. ``rounded`` names the columns of whole
    numbers that float64 cannot hold. ``beside`` holds numbers that go with the rows and are no data.
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
    beside: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    unmatched: tuple[str, ...] = ()
    rounded: tuple[str, ...] = ()

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
