"""What `divmatch match` prints: one sentence, then what stands behind it."""

import math
from typing import Any

from divmatch.cli.main import printable
from divmatch.cli.report import Report, measured, short, shown, verdict_lines
from divmatch.errors import counted
from divmatch.record import Result

ARGUMENTS = (
    "P is what is changed, Q what it is to match: .npy, .npz::key, .parquet, .csv, .tsv, .ndjson or -. -o "
    "FILE.npy, .npz or .parquet holds the result (with the other columns of P), other suffixes the report."
)
PAIRS = (
    "P and Q: .npy, .npz::key, .parquet, .csv, .tsv, .ndjson or -. -o FILE.parquet, .csv, .tsv or .npz holds "
    "the pairs (row_p, row_q, mass, cost), other suffixes the report; so does -f csv."
)
ALONE = (
    "P is where it starts: .npy, .npz::key, .parquet, .csv, .tsv, .ndjson or -; left out, new rows. -o "
    "FILE.npy, .npz or .parquet holds the result (with the other columns of P), other suffixes the report."
)
TOLD = (
    "ess",
    "max_weight",
    "steps",
    "converged",
    "factor",
    "monge_gap",
    "mean_cost",
)  # in the lines above
NEAR = ("mmd2", "mmd2_random", "random_draws")  # of chosen rows and of random ones
HELD = {
    "both": "held out: fits to one half of both files, measured on the other, and back",
    "Q": "held out: fits to one half of Q, measured on the other, and back; P's rows are the same",
    "none": "nothing held out: the figure is the method's own, of all rows",
}


def files_text(of: Any) -> str:
    """What the arguments and -o take."""
    if of.product == "pairs":
        return PAIRS
    return ALONE if of.alone else ARGUMENTS


def text_of(report: Report) -> str:
    """The sentence of the session, the intervals, how it was made."""
    found = {result.id: result for result in report.results}
    before, after = found.get("before"), found.get("after")
    settings = report.document["settings"]
    lines = []
    if "fit" in settings:
        lines.append(sentence(report, found))
        line = details(settings, before, after) if after is not None else ""
        lines += [line] if line else []
        lines.append(convergence(settings))
        lines += gap_line(settings["fit"])
        lines += facts_line(settings["fit"]) if settings["product"] != "pairs" else []
    else:
        lines.append(f"{subject(report)}: none ({report.results[0].extra['message']})")
    return "\n".join([*lines, *verdict_lines(report), ""])


def subject(report: Report) -> str:
    """`weights for p.npy (400 rows) to match q.npy`."""
    task = report.document["command"].removeprefix("match ")
    first = next(i for i in report.document["inputs"] if i["role"] == "p")
    to = [printable(i["name"]) for i in report.document["inputs"] if i["role"] == "q"]
    rows = counted(first["rows_used"], "row")
    return f"{task} for {printable(first['name'])} ({rows})" + (f" to match {to[0]}" if to else "")


def sentence(report: Report, found: dict[str, Result]) -> str:
    """What was made, and what it brought."""
    before, after, settings = found.get("before"), found.get("after"), report.document["settings"]
    fit, parts = settings["fit"], []
    if settings["product"] == "rows":
        parts.append(counted(settings["params"]["n"], "row"))
    told = settings["product"] == "rows" and settings["held_out"] == "none"  # by the factor
    if before is not None and after is not None and not told:
        unit = "" if "divergence" in after.unit else _unit(after)
        parts.append(f"{after.metric} {short(before.value)} -> {short(after.value)}{unit}")
    elif fit.get("monge_gap") is not None:
        parts.append(f"Monge gap {short(fit['monge_gap'])}")
    if fit.get("ess") is not None:
        n = found["ess"].n[0]
        parts.append(f"ESS {fit['ess']:.0f} ({fit['ess'] / n:.0%})")
        parts.append(f"max weight {fit['max_weight']:.3g}")
    if fit.get("factor") is not None:
        factor = fit["factor"]
        word = f"{factor:.3g} times smaller" if factor >= 1 else f"{1 / factor:.3g} times larger"
        parts.append(f"MMD {word} than of random rows")
    return f"{subject(report)}: {', '.join(parts)}"


def _unit(result: Result) -> str:
    return measured(result).removeprefix(short(result.value))


def details(settings: dict[str, Any], before: Result | None, after: Result) -> str:
    """Intervals and what they rest on; of pairs, how many there are and what they lack."""
    if settings["product"] == "pairs":
        return pairs_line(settings["fit"])
    parts = []
    for name, result in (("before", before), ("after", after)):
        if result is not None and result.ci is not None:
            bounds = f"{short(result.ci.low)} .. {short(result.ci.high)}"
            parts.append(f"{name} {result.ci.level * 100:g}% CI {bounds}")
    if after.params.get("told_from_zero") is False:
        parts.append("after is not told from 0 by these rows")
    if not math.isnan(after.value) and "ksd_bandwidth" not in settings["fit"]:
        parts.append(HELD[settings["held_out"]])  # a target's particles have none to hold out
    return "   ".join(parts)


def pairs_line(fit: dict[str, Any]) -> str:
    """`310 pairs with 100% of the mass   least cost 3.11 .. 3.52`."""
    parts = [
        f"{counted(fit['pairs'], 'pair')} with {fit['mass'] - fit['left_out']:.4g} of the mass"
    ]
    lower, upper = short(fit["lower"]), short(fit["upper"])
    parts.append(f"least cost {lower}" + (f" .. {upper}" if upper != lower else " (proven)"))
    for name, letter in (("unmatched_p", "P"), ("unmatched_q", "Q")):
        if fit.get(name):
            parts.append(f"{counted(fit[name], 'row')} of {letter} without a partner")
    return "   ".join(parts)


def convergence(settings: dict[str, Any]) -> str:
    """The method, its settings, whether it converged."""
    steps = settings["fit"].get("steps")
    how = "converged" if settings["converged"] else "NOT CONVERGED"
    number = f" in {counted(int(steps), 'step')}" if steps is not None else ""
    params = dict(settings["params"])
    if params.get("score_command") is None:
        params.pop("timeout", None)  # of the program alone
    told = " ".join([settings["method"], *shown(params)])
    return f"{told}   {how}{number}"


def gap_line(fit: dict[str, Any]) -> list[str]:
    """What a map costs, and how much of it is more than it must be."""
    if fit.get("monge_gap") is None:
        return []
    gap = fit["monge_gap"]
    means = (
        "no map of these rows to the same places costs less"
        if gap == 0
        else "a cheaper way is there"
    )
    return [f"mean cost {short(fit['mean_cost'])}   Monge gap {short(gap)}: {means}"]


def facts_line(fit: dict[str, Any]) -> list[str]:
    """What else the fit says of itself."""
    told = (*TOLD, *NEAR, *(("divergence",) if twice(fit) else ()))
    near = []
    if fit.get("random_draws"):
        level = f"{short(fit['mmd2_random'])} of random rows (mean of {fit['random_draws']} draws)"
        near = [f"squared MMD {short(fit['mmd2'])}, {level}"]
    shown = near + [f"{k} {short(v)}" for k, v in fit.items() if k not in told and v is not None]
    return ["   ".join(shown)] if shown else []


def twice(fit: dict[str, Any]) -> bool:
    """Whether the divergence that was least is KL, which is told anyway."""
    least, kl = fit.get("divergence"), fit.get("kl")
    return least is not None and kl is not None and short(least) == short(kl)


def value_of(report: Report) -> str:
    """The figure after, alone."""
    last = [r for r in report.results if r.id == "after"] or list(report.results[:1])
    return "".join("undefined\n" if r.value != r.value else f"{float(r.value)!r}\n" for r in last)
