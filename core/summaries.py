"""Summaries: what `divmatch info` says about the columns of a table."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divmatch.tables import Table


def summaries(table: Table) -> Iterator[dict[str, Any]]:
    """For each column its type and, by kind, range or most frequent category."""
    number = code = 0
    for column in table.columns:
        known = {"name": column.name, "type": column.type, "kind": column.kind}
        if column.kind == "cat":
            codes = table.codes[:, code]
            counts = np.bincount(codes + 1, minlength=len(column.words) + 1)
            most = column.words[int(np.argmax(counts[1:]))] if column.words else None
            yield known | {
                "missing": int(counts[0]),
                "distinct": len(column.words),
                "most_frequent": most,
            }
            code += 1
            continue
        for k in range(number, number + column.width) if table.plain else ():
            yield known | {"name": table.labels[k], "kind": "num"} | _range(table.numbers[:, k])
        if not table.plain:
            yield known | _range(table.numbers[:, number : number + column.width])
        number += column.width


def _range(values: NDArray[Any]) -> dict[str, Any]:
    """Missing and infinite values, and the range and mean of the finite ones."""
    numbers = np.asarray(values, dtype=np.float64)
    finite = numbers[np.isfinite(numbers)]
    found: dict[str, Any] = {
        "missing": int(np.isnan(numbers).sum()),
        "infinite": int(np.isinf(numbers).sum()),
        "min": None,
        "mean": None,
        "max": None,
    }
    if len(finite):
        mean = float(np.mean(finite / len(finite)) * len(finite))  # the sum might overflow
        found |= {"min": float(finite.min()), "mean": mean, "max": float(finite.max())}
    return found


def duplicates(table: Table) -> int:
    """Rows that equal an earlier one."""
    if table.numbers.size + table.codes.size == 0:
        return 0
    block = np.hstack([table.numbers.astype(np.float64) + 0.0, table.codes])  # -0 equals 0
    rows = np.ascontiguousarray(block).view(np.dtype((np.void, 8 * block.shape[1])))
    return len(rows) - len(np.unique(rows))
