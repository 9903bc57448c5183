"""What `divmatch match project` reports: the mean divergence of the new rows, and what they kept."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from divmatch.cli.main import printable
from divmatch.cli.project_job import Totals
from divmatch.cli.report import Report, measured, short, verdict_lines
from divmatch.cli.session import Session
from divmatch.errors import counted
from divmatch.record import Interval, Note, Result


def report(session: Session, matrix: Any, totals: Totals, settings: dict[str, Any]) -> int:
    """The mean divergence, what was kept, exit code."""
    fit = {
        "classes": totals.classes.mean,
        "fewest_classes": totals.fewest,
        "most_classes": totals.most,
        "mass": totals.mass.mean,
        "rows_with_ties": totals.tied,
        "unconverged": totals.unconverged,
    }
    if "entropy" in settings:
        fit["beta"] = totals.beta.mean
    session.settings |= {**settings, "level": session.options["level"], "fit": fit}
    result = result_of(session, matrix, totals, settings)
    session.warn(result.warnings)
    inputs = [{"role": "p", "name": matrix.name, "rows": matrix.rows, "rows_used": matrix.rows}]
    if session.needs_inputs():
        inputs[0] |= {"kind": matrix.kind, "cols": matrix.classes, "dropped": {}, "weights": None}
        inputs[0] |= {"ess": None, "fingerprint": totals.mark}
    verdict = session.verdict([result])
    text = partial(text_of, matrix=matrix)
    return session.report(inputs, [result], verdict, text=text)


def result_of(session: Session, matrix: Any, totals: Totals, settings: dict[str, Any]) -> Result:
    """The mean divergence of the new rows from the old ones."""
    from divmatch.intervals import normal_quantile

    mean, level = totals.divergence, session.options["level"]
    notes = notes_on(totals, settings)
    interval = None
    if mean.se is not None:
        half = normal_quantile(0.5 + level / 2) * mean.se
        interval = Interval(level, mean.mean - half, mean.mean + half, "influence")
    elif not mean.infinite:
        notes.append(Note("W10", f"{mean.count} rows: too few for a standard error"))
    unit, name = unit_and_name(settings)
    status = "inconclusive" if totals.unconverged else ("warn" if notes else "ok")
    return Result(
        metric=name,
        method=method_of(settings),
        value=mean.mean,
        unit=unit,
        direction="Q||P",
        n=(matrix.rows,),
        d=matrix.classes,
        se=mean.se,
        ci=interval,
        params=settings,
        status=status,
        warnings=tuple(notes),
    )  # fmt: skip


def notes_on(totals: Totals, settings: Mapping[str, Any]) -> list[Note]:
    """What single rows made doubtful."""
    mean, notes = totals.divergence, []
    if mean.infinite:
        lost = counted(mean.infinite, "row")
        first = f"first: row {mean.first_infinite}"
        notes.append(
            Note(
                "W02",
                f"{lost} with classes that only one side has: {settings['generator']} is inf ({first})",
            )
        )
    if totals.tied:
        tied = counted(totals.tied, "row")
        text = f"{tied} had equal masses on both sides of the cut; the first classes were kept"
        notes.append(Note("W82", text))
    if totals.unconverged:
        text = counted(totals.unconverged, "row")
        notes.append(Note("W83", f"{text} met the constraints not within 1e-11; do they agree?"))
    return notes


def method_of(settings: Mapping[str, Any]) -> str:
    """Which of the four."""
    names = {"top_k": "top-k", "penalty": "penalty", "entropy": "entropy"}
    return next((word for key, word in names.items() if key in settings), "constraint")


def unit_and_name(settings: Mapping[str, Any]) -> tuple[str, str]:
    """Nats of KL, or the divergence of the generator."""
    name = settings["generator"]
    return ("nats" if name in ("kl", "reverse-kl") else "1"), name


def text_of(report: Report, matrix: Any) -> str:
    """One sentence, then how."""
    result, settings = report.results[0], report.document["settings"]
    fit = settings["fit"]
    few, most = int(fit["fewest_classes"]), int(fit["most_classes"])
    kept = str(few) if few == most else f"{few} to {most} (mean {short(fit['classes'])})"
    first = (
        f"project {printable(matrix.name)} ({counted(matrix.rows, 'row')}): {result.metric} "
        f"{measured(result)} a row, classes {kept} of {matrix.classes}, mass kept {short(fit['mass'])}"
    )
    second = [f"{key.replace('_', '-')}={value}" for key, value in result.params.items()]
    if "beta" in fit:
        second.append(f"mean b {short(fit['beta'])}")
    ci = result.ci
    if ci is not None:
        second.append(f"{ci.level * 100:g}% CI {short(ci.low)} .. {short(ci.high)}")
    return "\n".join([first, "   ".join(second), *verdict_lines(report), ""])
