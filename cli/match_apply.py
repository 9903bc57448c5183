"""`divmatch match map --fit FILE` keeps a map, `--apply FILE` puts the rows of another file into it."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import click
import numpy as np
from click.core import ParameterSource
from numpy.typing import NDArray

from divmatch.cli.main import printable
from divmatch.cli.options import option
from divmatch.cli.progress import Progress
from divmatch.cli.report import Report, short, verdict_lines
from divmatch.cli.session import Session
from divmatch.errors import GapError, SampleError, SettingError, at_row, counted
from divmatch.record import Interval, Result

KNOWN = (
    "apply", "reference", "columns", "stdin_format", "na", "level", "maximum", "minimum", "decide",
    "inconclusive", "exit_zero", "strict", "output_format", "output", "mkdir", "no_run", "quiet",
    "verbose", "color", "threads", "device", "max_memory", "config", "progress",
)  # fmt: skip
AT_ONCE = 32  # blocks of a map in a part that is read, and in a row group that is written


def reuse_options(what: str) -> list[click.Parameter]:
    """--fit and --apply of a task that can be used again."""
    return [
        option(
            "--fit", metavar="FILE.npz", help=f"Keep the {what} there, to be applied to other rows."
        ),
        option(
            "--apply",
            metavar="FILE.npz",
            help=f"Put the rows of P into the {what} of that file, streamed; Q and settings are left out.",
        ),
    ]


def keep_fitted(found: Any, path: str, *, mkdir: bool) -> None:
    """Write what --fit asks for."""
    from divmatch.transport.map_file import map_file

    cost = str(found.settings.get("cost", "sqeuclidean"))
    map_file(found.fit.mapping, found.x, cost).save(path, mkdir=mkdir)


def check_alone(options: Mapping[str, Any]) -> None:
    """Refuse what a fitted map has settled, or has no use for."""
    context = click.get_current_context(silent=True)
    if options.get("candidate") is not None:
        raise SettingError(f"--apply: takes one file of rows; leave {options['candidate']} out")
    for parameter in context.command.params if context else ():
        source = context.get_parameter_source(str(parameter.name)) if context else None
        if parameter.name not in KNOWN and source is ParameterSource.COMMANDLINE:
            raise SettingError(f"{parameter.opts[-1]}: has no effect with --apply; leave it out")
    if options["na"] not in ("error", "drop"):
        raise SettingError(f"--na {options['na']}: expected error or drop with --apply")


def prepared_to_apply(session: Session) -> dict[str, list[str]]:
    """The outputs by what they hold."""
    check_alone(session.options)
    made: dict[str, list[str]] = {"npy": [], "product": [], "report": []}
    for path in session.options["output"]:
        form = session.form_of(path)
        if form == "npz":
            raise SettingError(f"-o {path}: --apply writes .npy or .parquet, block by block")
        made[form if form in made else "report"].append(path)
    return made


def applied(session: Session) -> int:
    """Put a file into a fitted map."""
    from divmatch.files import check_readable
    from divmatch.passing import open_passage
    from divmatch.transport.map_file import load_map

    options = session.options
    outputs = prepared_to_apply(session)
    path = options["reference"]
    check_readable([path])
    session.spare([path])
    stored = load_map(options["apply"])
    passage = open_passage(
        path, stored.columns, columns=options["columns"], stdin_format=options["stdin_format"]
    )
    if not passage.rows:
        raise SampleError(f"{passage.name}: is empty (0 rows); at least one is needed")
    session.options = {**options, "output": tuple(outputs["report"])}
    with session.running(), writers(outputs, passage, stored.d, options["mkdir"]) as write:
        totals = passed(session, passage, stored, write)
    return report(session, passage, stored, totals)


@dataclass
class Totals:
    """What is known of the rows, as they come."""

    cost: Any
    read: int = 0
    moved: int = 0
    outside: int = 0
    mark: str | None = None


def passed(session: Session, passage: Any, stored: Any, write: Any) -> Totals:
    """Every block through the map."""
    from divmatch.estimators.row_means import Mean
    from divmatch.kernels.execution import one_blas_thread
    from divmatch.transport.maps import rows_at_once

    size = max(rows_at_once(stored.d), AT_ONCE * rows_at_once(16 * passage.width))
    totals, mark = Totals(Mean()), blake2b(digest_size=8)
    marked = session.needs_inputs()
    with Progress(
        session.options["progress"], -(-passage.rows // size), session.command
    ) as progress:
        for block in passage.blocks(size):
            totals.read += len(block.points)
            if marked:
                mark.update(block.points.data)
            if kept := cleaned(block, passage, drop=session.options["na"] == "drop"):
                with one_blas_thread(), np.errstate(all="ignore"):
                    write(kept, moved(kept, passage, stored, totals))
            progress.at(f"row {totals.read - 1}")
            progress.done()
    if not totals.moved:
        raise SampleError(f"{passage.name}: no row is left, all have missing values")
    if marked:
        totals.mark = f"blake2b:{mark.hexdigest()}"
    return totals


def cleaned(block: Any, passage: Any, *, drop: bool) -> Any:
    """The rows without gaps; None where there are none left, or say where the first gap is."""
    points = block.points
    if np.isfinite(points).all():
        return block
    infinite = np.argwhere(np.isinf(points))
    gaps = np.argwhere(np.isnan(points))
    row, column = (infinite if len(infinite) else gaps)[0]
    label, place = passage.labels[column], at_row(block.start + int(row))
    if len(infinite):
        raise SampleError(f"{passage.name}: column '{label}' is infinite {place}; correct this row")
    if not drop:
        raise GapError(f"{passage.name}: column '{label}' has a missing value {place}", ("drop",))
    whole = ~np.isnan(points).any(axis=1)
    return block.kept(whole) if whole.any() else None


def moved(block: Any, passage: Any, stored: Any, totals: Totals) -> NDArray[np.float64]:
    """The rows of a block where the map sends them, in their own units."""
    from divmatch.transport import costs

    points = stored.scaling.applied(block.points)
    made = stored.made(points)
    own = stored.scaling.undone(made)
    paid = costs.ground_of(stored.cost, 1.0).pairs(points, made)
    whole = np.isfinite(own).all(axis=1) & np.isfinite(paid)
    if not whole.all():
        row = block.number(int(np.flatnonzero(~whole)[0]))
        raise SampleError(
            f"{passage.name}: numbers {at_row(row)} are too large for this map; correct or remove it"
        )
    ones = np.ones(len(points))
    totals.cost.add(paid, ones, np.arange(totals.moved, totals.moved + len(points)))
    totals.moved += len(points)
    totals.outside += int(((points < stored.low) | (points > stored.high)).any(axis=1).sum())
    return np.asarray(own)


@contextmanager
def writers(outputs: Mapping[str, list[str]], passage: Any, d: int, mkdir: bool) -> Iterator[Any]:
    """Write blocks into every output that holds rows."""
    from divmatch.outputs import whole_file
    from divmatch.passing import array_writer, table_writer

    with ExitStack() as stack:
        made = []
        for form in ("npy", "product"):
            for path in outputs[form]:
                file = stack.enter_context(whole_file(path, mkdir=mkdir))
                if form == "npy":
                    writer = array_writer(file, passage.rows, d)
                else:
                    writer = table_writer(file, passage.labels)
                made.append(stack.enter_context(writer))

        def write(block: Any, points: NDArray[np.float64]) -> None:
            for one in made:
                one(block, points)

        yield write


# ---------------------------------------------------------------------------------------- report


def report(session: Session, passage: Any, stored: Any, totals: Totals) -> int:
    """How far rows have gone, and how many lie outside of what the map knows."""
    session.settings |= {
        "apply": session.options["apply"],
        "method": stored.made.kind,
        "columns": list(passage.labels),
        "scale": stored.scaling.name,
        "level": session.options["level"],
        "fit": {"outside": totals.outside, "dropped": totals.read - totals.moved},
    }
    result = result_of(session, stored, totals)
    inputs: list[dict[str, Any]] = [
        {"role": "p", "name": passage.name, "rows": passage.rows, "rows_used": totals.moved}
    ]
    if session.needs_inputs():
        inputs[0] |= {"kind": passage.kind, "cols": stored.d, "weights": None, "ess": None}
        inputs[0] |= {"dropped": {"nan": totals.read - totals.moved}, "fingerprint": totals.mark}
    return session.report(inputs, [result], session.verdict([result]), text=text_of)


def result_of(session: Session, stored: Any, totals: Totals) -> Result:
    """The mean cost of the moves, in the units of the map."""
    from divmatch.intervals import normal_quantile
    from divmatch.transport import costs

    mean, level, interval = totals.cost, session.options["level"], None
    if mean.se is not None:
        half = normal_quantile(0.5 + level / 2) * mean.se
        interval = Interval(level, mean.mean - half, mean.mean + half, "influence")
    unit = costs.unit(stored.cost)
    if stored.scaling.name != "none":
        unit = unit.replace("data unit", stored.scaling.name)
    return Result(
        "cost", stored.made.kind, mean.mean, unit, "P", (totals.moved,), stored.d,
        se=mean.se, ci=interval, id="moved",
    )  # fmt: skip


def text_of(whole: Report) -> str:
    """One sentence, then how."""
    result, settings = whole.results[0], whole.document["settings"]
    fit, first = settings["fit"], whole.document["inputs"][0]
    rows = counted(first["rows_used"], "row")
    lines = [
        f"map of {printable(settings['apply'])} applied to {printable(first['name'])} ({rows}): mean cost "
        f"{short(result.value)} {result.unit} a row"
    ]
    parts = [settings["method"]]
    if result.ci is not None:
        bounds = f"{short(result.ci.low)} .. {short(result.ci.high)}"
        parts.append(f"{result.ci.level * 100:g}% CI {bounds}")
    parts.append(f"{counted(fit['outside'], 'row')} outside the range of the rows it was fitted to")
    if fit["dropped"]:
        parts.append(f"{counted(fit['dropped'], 'row')} with missing values left out")
    return "\n".join([*lines, "   ".join(parts), *verdict_lines(whole), ""])
