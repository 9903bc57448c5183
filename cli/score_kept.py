"""What `divmatch score --resume TABLE.csv` keeps in TABLE.csv.groups: all that comparisons of sets need."""

import json
import os
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from divmatch.errors import FileError, OutputError
from divmatch.estimator import Blocks, Estimate
from divmatch.record import Result

if TYPE_CHECKING:
    from divmatch.comparison import Standing

SUFFIX = ".groups"
MARK = b"\t"  # ends the fingerprint at the start of a line


class Kept:
    """Standings by fingerprint, a line each; a line is there before its row is in the table."""

    def __init__(self, table: str | None) -> None:
        self.path = None if table is None else table + SUFFIX
        self._places: dict[str, int] = {}
        if self.path is not None:
            self._open(self.path)

    def _open(self, path: str) -> None:
        """Where every line starts; a last line that was cut off is taken away."""
        try:
            with open(path, "a+b") as file:
                file.seek(0)
                end = 0
                for line in file:
                    if not line.endswith(b"\n"):
                        file.truncate(end)
                        break
                    self._places[line[:64].partition(MARK)[0].decode("ascii", "replace")] = end
                    end += len(line)
        except OSError as error:
            raise OutputError(f"--resume: {path}: {error.strerror}") from None

    def add(self, mark: str, standing: "Standing") -> None:
        """Write one now, unless it is there."""
        if self.path is None or mark in self._places:
            return
        line = mark.encode() + MARK + json.dumps(_written(standing), default=float).encode() + b"\n"
        try:
            with open(self.path, "ab") as file:
                place = file.tell()
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise OutputError(f"--resume: {self.path}: {error.strerror}") from None
        self._places[mark] = place

    def standing(self, mark: str | None, result: Result) -> "Standing | None":
        """The standing behind a finished row of the table, if it was kept."""
        if self.path is None or mark not in self._places:
            return None
        try:
            with open(self.path, "rb") as file:
                file.seek(self._places[mark])
                return _read(json.loads(file.readline().partition(MARK)[2]), result)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise FileError(
                f"--resume: {self.path}: cannot be read ({error}); delete it, and the table has no "
                "groups"
            ) from None


def small(standing: "Standing", names: Sequence[str]) -> "Standing":
    """What differences from other sets need of it, and the settings with these names.

    The rows of two sets are never the same ones here: the length of their deviations is enough.
    """
    import numpy as np

    rows, whole = standing.of_rows, standing.estimate
    params = standing.result.params
    return replace(
        standing,
        result=replace(standing.result, params={key: params.get(key) for key in names}),
        estimate=Estimate(
            whole.value,
            error=whole.error,
            bias=whole.bias,
            doubt=whole.doubt,
            blocks=whole.blocks,
        ),
        of_rows=None if rows is None else np.sqrt([rows @ rows]),
    )


def _written(one: "Standing") -> dict[str, Any]:
    """Numbers as JSON has them, arrays as base64: both come back with the same bits."""
    estimate, drawn, blocks = one.estimate, one.subsamples, one.estimate.blocks
    return {
        "params": dict(one.result.params),
        "estimate": [estimate.value, estimate.error, estimate.bias, estimate.doubt],
        "blocks": blocks and [_packed(blocks.influences), _packed(blocks.rows)],
        "method": one.method,
        "of_reference": _packed(one.of_reference),
        "of_rows": _packed(one.of_rows),
        "subsamples": drawn and [drawn.mean, drawn.se, drawn.fraction, _packed(drawn.values)],
        "own_se": one.own_se,
        "rate": one.rate,
    }


def _read(line: Mapping[str, Any], result: Result) -> "Standing":
    from divmatch.comparison import Standing
    from divmatch.intervals import Subsampled

    value, error, bias, doubt = line["estimate"]
    blocks, drawn = line["blocks"], line["subsamples"]
    if blocks:
        blocks = Blocks(_unpacked(blocks[0]), _unpacked(blocks[1], "<i8"))
    return Standing(
        replace(result, params=line["params"]),
        Estimate(value, error=error, bias=bias, doubt=doubt, blocks=blocks),
        line["method"],
        of_reference=_unpacked(line["of_reference"]),
        of_rows=_unpacked(line["of_rows"]),
        subsamples=drawn and Subsampled(drawn[0], drawn[1], drawn[2], _unpacked(drawn[3])),
        own_se=line["own_se"],
        rate=line["rate"],
    )


def _packed(values: Any) -> str | None:
    if values is None:
        return None
    kind = "<i8" if values.dtype.kind in "iu" else "<f8"
    return b64encode(values.astype(kind).tobytes()).decode()


def _unpacked(text: str | None, kind: str = "<f8") -> Any:
    import numpy as np

    return None if text is None else np.frombuffer(b64decode(text), dtype=kind)
