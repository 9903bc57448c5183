"""`divmatch klom`: margins of unlearned models against those of oracle models, point by point."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import click
import numpy as np

from divmatch.cli.estimate import finish, prepared
from divmatch.cli.options import compute_options, gate_options, input_options, output_options
from divmatch.cli.render import form_of
from divmatch.cli.report import Report, result_line, short, verdict_lines
from divmatch.cli.session import Session
from divmatch.cli.shaped import FILES, shaped_command, uncertainty
from divmatch.estimator import quantity
from divmatch.estimators.klom import found_of

OF = quantity("klom")
FIXED = {"permutations": 0, "na": "error", "scale": "none", "categorical": "error"}


def run(**options: Any) -> int:
    """Measure every point; the values of all points go into the Parquet outputs."""
    from divmatch.cli.estimate import read_pair

    session, chosen, several = prepare(options)
    rows_files = [path for path in options["output"] if form_of(path) == "parquet"]
    x, y = read_pair(session, options["reference"], options["candidate"])
    with session.running():
        results = session.infer_all(chosen, x, y, several)
        if rows_files and results[0].status != "inconclusive":
            amount = several[0]["k" if chosen.method == "knn" else "bins"]
            values = found_of(x, y, chosen.method, amount).values
            write_points(rows_files, values, mkdir=options["mkdir"])
    session.options = {
        **session.options,
        "output": [path for path in options["output"] if path not in rows_files],
    }
    return finish(session, results, x, y, text=text_of)


def prepare(options: Mapping[str, Any]) -> tuple[Session, Any, list[dict[str, Any]]]:
    """What can be said before any data are read."""
    return prepared(OF, {**FIXED, **options})


def write_points(paths: list[str], values: np.ndarray[Any, Any], *, mkdir: bool) -> None:
    """A column `point`, and the divergence of each."""
    from divmatch.outputs import whole_file
    from divmatch.parquet import parquet_rows

    for path in paths:
        with (
            whole_file(path, mkdir=mkdir) as file,
            parquet_rows(file, {"point": "int64", "klom": "float64"}) as write,
        ):
            write({"point": np.arange(len(values)), "klom": values})


def text_of(report: Report) -> str:
    """One line a result, with the null baseline right behind the value."""
    lines = []
    for one in report.results:
        params = {name: value for name, value in one.params.items() if "baseline" not in name}
        line = result_line(replace(one, params=params), report)
        null = one.params.get("baseline")
        if null is not None:
            models = one.params["baseline_models"]
            line += f"   null baseline {short(null)} ({models} and {models} oracle models)"
        lines.append(line)
    return "\n".join([*lines, *verdict_lines(report), ""])


_SECTIONS = {
    "Reading": [
        p for p in input_options(pair=False) if p.name in ("columns", "sample", "stdin_format")
    ],
    "Uncertainty": uncertainty(tested=False),
    "Limits": gate_options(),
    "Output": output_options(),
    "Machine": compute_options(),
}
COMMAND = shaped_command(
    OF,
    run,
    [
        click.Argument(["reference"], metavar="UNLEARNED"),
        click.Argument(["candidate"], metavar="ORACLE"),
    ],
    "UNLEARNED and ORACLE hold margins, a row a model and a column a point; -o rows.parquet takes the "
    f"value of every point: {FILES}.",
    _SECTIONS,
    prepare,
)
