"""What `divmatch match mixture` reports: one sentence, the intervals, how the fits went."""

import math
from collections.abc import Sequence
from typing import Any

from divmatch.cli.main import printable
from divmatch.cli.plans import archive
from divmatch.cli.report import Report, interval, measured, short, verdict_lines
from divmatch.cli.session import Session, notes_of, with_notes
from divmatch.errors import counted
from divmatch.record import Note, Result

HELD = {
    "both": "held out: fits to one half of the rows, measured on the other, and back",
    "file": "on the rows of --held-out",
}


def report(session: Session, found: Any, inputs: Sequence[Any], held_out: Any) -> int:
    """Warnings, the mixture, report, exit code."""
    from divmatch.cli.watching import curve_csv
    from divmatch.outputs import write_whole

    read = notes_of(*inputs)
    results = list(found.results)
    results[0] = with_notes(results[0], read)
    for result in results:
        session.warn(result.warnings)
    for key, value in found.facts.items():
        session.explain(f"{session.command}: {key} = {value}")
    session.settings |= settings_of(found, session.options["level"])
    after = [result for result in results if result.id == "after"]
    verdict = session.verdict(after or results[:1])
    options = session.options
    if options["plot"]:
        from divmatch.cli.mixture_plot import drawn

        write_whole(options["plot"], drawn(found, inputs, held_out), mkdir=options["mkdir"])
    if options["trace"]:
        write_whole(options["trace"], curve_csv(found.curve), mkdir=options["mkdir"])
    forms = {"npz": lambda _: archive(found.mixture.arrays()), "value": value_of}
    files = inputs_of(session, inputs, held_out)
    return session.report(files, results, verdict, text=text_of, forms=forms)


def settings_of(found: Any, level: float) -> dict[str, Any]:
    """What the record says about the fit and the reduction."""
    plan = found.plan
    params = {name: getattr(plan, name) for name in ("components", "reduce", "starts", "steps")}
    if plan.reduce is not None:
        params["cost"] = plan.cost
    return {
        "params": {name: value for name, value in params.items() if value is not None},
        "level": level,
        "converged": found.converged,
        "held_out": found.held_out,
        "rows": found.mixture.rows,
        "fit": dict(found.facts),
    }


def inputs_of(session: Session, inputs: Sequence[Any], held_out: Any) -> list[dict[str, Any]]:
    """The files; fingerprints only for the format that carries them."""
    roles = ["p"] * len(inputs)
    if held_out is None:
        return session.inputs(inputs, roles)
    return session.inputs([*inputs, held_out], [*roles, "held-out"])


def undecided(session: Session, plan: Any, inputs: Sequence[Any], error: Exception) -> int:
    """There is nothing to write: exit 3, and no output but the reports."""
    n, d = (sum(one.n for one in inputs),), inputs[0].d
    result = Result(
        "log_likelihood", "mixture", float("nan"), "nats", "P", n, d, better="higher",
        status="inconclusive", id="after", warnings=(Note("E01", str(error)),),
        extra={"message": str(error)},
    )  # fmt: skip
    session.warn(result.warnings)
    kept = tuple(path for path in session.options["output"] if session.form_of(path) != "npz")
    session.options = {**session.options, "output": kept}
    verdict = session.verdict([result])
    return session.report(inputs_of(session, inputs, None), [result], verdict, text=text_of)


# ------------------------------------------------------------------------------------------- text


def text_of(report: Report) -> str:
    """What was made, what it brought, how it went."""
    settings = report.document["settings"]
    if "fit" not in settings:
        message = report.results[0].extra["message"]
        return "\n".join([f"{subject(report)}: none ({message})", *verdict_lines(report), ""])
    found = {result.id: result for result in report.results}
    lines = [f"{subject(report)}: {', '.join(made(settings))}"]
    if "after" in found:
        lines += likelihoods(settings, found)
    if (
        "divergence" in found
        and settings["fit"]["components"] < settings["fit"]["components_before"]
    ):
        lines.append(distances(settings, found))
    lines.append(convergence(settings))
    return "\n".join([*lines, *verdict_lines(report), ""])


def subject(report: Report) -> str:
    """`mixture of p.npy (400 rows)`, `mixture of 3 inputs (900 rows)`."""
    files = [one for one in report.document["inputs"] if one["role"] == "p"]
    known = [one["rows_used"] or 0 for one in files]
    rows = sum(known) if all(known) else 0
    of = printable(files[0]["name"]) if len(files) == 1 else counted(len(files), "input")
    return f"mixture of {of}" + (f" ({counted(rows, 'row')})" if rows else "")


def made(settings: dict[str, Any]) -> list[str]:
    """`3 components of 8`."""
    fit = settings["fit"]
    whole = fit.get("components_before", fit["components"])
    of = f" of {whole}" if whole != fit["components"] else ""
    return [f"{counted(fit['components'], 'component')}{of}"]


def likelihoods(settings: dict[str, Any], found: dict[str, Result]) -> list[str]:
    """Before, after, the gain, with their intervals."""
    before, after = found["before"], found["after"]
    what = "" if "divergence" in found else " (one Gaussian)"
    name = "log-likelihood a row" if after.metric == "log_likelihood" else after.metric
    first = f"{name} {short(before.value)}{what} -> {measured(after)}"
    parts = [f"after {interval(after)}"] if after.ci else []
    gain = found.get("gain")
    if gain is not None:
        parts.append(f"gain {short(gain.value)}" + (f", {interval(gain)}" if gain.ci else ""))
    told = [] if math.isnan(after.value) else [HELD[settings["held_out"]]]
    return [first, "   ".join([*parts, *told])] if parts or told else [first]


def distances(settings: dict[str, Any], found: dict[str, Result]) -> str:
    """How far the reduced mixture is from the whole."""
    one, other = found["divergence"], found["mw2"]
    cost = settings["params"].get("cost", "kl")
    return f"reduced by {cost}: divergence {measured(one)}   MW2^2 {measured(other)}"


def convergence(settings: dict[str, Any]) -> str:
    """Whether the fits converged, and in how many steps."""
    fit = settings["fit"]
    how = "converged" if settings["converged"] else "NOT CONVERGED"
    steps = [
        f"{name} {fit[key]}"
        for name, key in (("fit", "fit_steps"), ("reduction", "reduction_steps"))
        if fit.get(key)
    ]
    return f"{how}: steps of the {', of the '.join(steps)}" if steps else "nothing to fit"


def value_of(report: Report) -> str:
    """The figure after, alone; of a reduction without rows its divergence."""
    found = {result.id: result for result in report.results}
    last = found.get("after", report.results[0])
    return "undefined\n" if last.value != last.value else f"{float(last.value)!r}\n"
