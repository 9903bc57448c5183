"""`divmatch score --rows FILE.parquet`: numbers for every row of every sample set."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import SettingError
from divmatch.estimator import Estimate
from divmatch.samples import Samples

Array = NDArray[np.float64]
WITNESSES = ("energy", "mmd")


class RowScores:
    """Writes a row group for each sample set: its rows' influences and distances to the reference."""

    def __init__(self, write: Any, names: Mapping[str, str]) -> None:
        self._write = write
        self._names = names

    def add(self, reference: Samples, sample: Samples, found: Mapping[str, Estimate]) -> None:
        """One sample set; a metric without a number, or without influences, gives NaN."""
        from divmatch.estimators.single_rows import single_rows

        blank = np.full(sample.n, np.nan)
        columns: dict[str, Any] = {
            "sample": [sample.name] * sample.n,
            "row": np.arange(sample.n),
            **single_rows(reference, sample),
        }
        for metric, column in self._names.items():
            terms = found[metric].terms_y if metric in found else None
            columns[column] = blank if terms is None else scaled(metric, terms)
        self._write(columns)


@contextmanager
def row_scores(path: str | None, metrics: list[str], *, mkdir: bool) -> Iterator[RowScores | None]:
    """The file, whole when all is done; none without a name."""
    if path is None:
        yield None
        return
    from divmatch.outputs import whole_file
    from divmatch.parquet import parquet_rows

    names = {metric: column_of(metric) for metric in metrics}
    kinds = {"sample": "string", "row": "int64"}
    kinds |= dict.fromkeys(("nearest", "log_ratio", "authentic"), "float64")
    kinds |= dict.fromkeys(names.values(), "float64")
    with whole_file(path, mkdir=mkdir) as file, parquet_rows(file, kinds) as write:
        yield RowScores(write, names)


def check_rows(path: str | None) -> None:
    """Only Parquet: rows may be many."""
    if path is not None and not path.endswith(".parquet"):
        raise SettingError(f"--rows {path}: expected a name that ends with .parquet")


def column_of(metric: str) -> str:
    """`energy witness`, `kl:method=nnr influence`."""
    kind = "witness" if is_witness(metric) else "influence"
    return f"{metric} {kind}"


def is_witness(metric: str) -> bool:
    """Whether half the influence is the witness function."""
    return metric.partition(":")[0].strip() in WITNESSES


def scaled(metric: str, terms: Array) -> Array:
    """The witness E k(y, P) − E k(y, Q) up to its sign is half of the influence: large where P lacks y."""
    return terms / 2 if is_witness(metric) else terms
