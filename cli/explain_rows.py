"""`divmatch explain --rows FILE`: the energy witness of every row of both samples."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from divmatch.cli.plans import archive
from divmatch.cli.score_rows import column_of, scaled
from divmatch.errors import SettingError
from divmatch.samples import Samples

ENDINGS = (".parquet", ".npz", ".csv")
WITNESS = column_of("energy")


def check_rows(path: str | None) -> None:
    """The formats that hold two numbers a row."""
    if path is not None and not path.endswith(ENDINGS):
        raise SettingError(f"--rows {path}: expected a name that ends with {' or '.join(ENDINGS)}")


def write_rows(path: str, x: Samples, y: Samples, *, mkdir: bool) -> None:
    """Sample, row in its file, and E|z - X| - E|z - Y|, leaving out z itself: high where P lacks rows."""
    from divmatch.outputs import whole_file

    values = witness(x, y)
    rows = tuple(np.asarray(one.origin.get("places", np.arange(one.n))) for one in (x, y))
    with whole_file(path, mkdir=mkdir) as file:
        if path.endswith(".npz"):
            both = zip("pq", rows, values, strict=True)
            arrays = {
                f"{what}_{k}": v for k, r, w in both for what, v in (("row", r), ("witness", w))
            }
            file.write(archive(arrays))
            return
        table: dict[str, Any] = {
            "sample": np.repeat([x.name, y.name], [x.n, y.n]).tolist(),
            "role": np.repeat(["p", "q"], [x.n, y.n]).tolist(),
            "row": np.concatenate(rows),
            WITNESS: np.concatenate(values),
        }
        if path.endswith(".csv"):
            file.write(_csv(table).encode("utf-8", "surrogateescape"))
            return
        from divmatch.parquet import parquet_rows

        kinds = {"sample": "string", "role": "string", "row": "int64", WITNESS: "float64"}
        with parquet_rows(file, kinds) as write:
            write(table)


def witness(x: Samples, y: Samples) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Half the influences on the energy distance, signed alike at the rows of both samples."""
    from divmatch.estimator import quantity
    from divmatch.kernels.execution import one_blas_thread

    with one_blas_thread():
        found = quantity("energy").methods["u"](x, y)
    assert found.terms_x is not None and found.terms_y is not None  # noqa: S101, PT018
    return -scaled("energy", found.terms_x), scaled("energy", found.terms_y)


def _csv(table: dict[str, Any]) -> str:
    import csv
    import io

    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(table)
    lines = zip(
        table["sample"], table["role"], table["row"].tolist(), table[WITNESS].tolist(), strict=True
    )
    writer.writerows((*line[:3], repr(line[3])) for line in lines)
    return buffer.getvalue()
