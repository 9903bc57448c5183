"""The league table of `divmatch score`, in words."""

from collections.abc import Mapping, Sequence

from divmatch.cli.report import Report, columns, moved, short, verdict_lines
from divmatch.cli.several import numbered
from divmatch.errors import counted
from divmatch.estimator import parse_metric, quantity
from divmatch.record import Result

MOVED = "*"


def table(report: Report, why: str | None = None) -> str:
    """A row a sample set, sorted by the first metric, nearest first; ``why`` there are no letters."""
    ids = report.document["settings"]["metrics"]
    sets = sample_sets(report.results)
    ordered = sorted(sets, key=lambda item: _rank(item[1].get(ids[0])))
    grouped = any("group" in result.extra for result in report.results)
    head = ["sample", "n", *(heading(name, report) for name in ids), *(["group"] * grouped)]
    body = [
        [
            name,
            _size(found),
            *(_cell(found.get(i)) for i in ids),
            *(_group(found, ids[0]) * grouped),
        ]
        for name, found in ordered
    ]
    level = report.document["settings"]["level"]
    failed = [r for r in report.results if r.status in ("error", "inconclusive")]
    reference = report.name("ref")
    foot = f"reference {reference}; value [{level * 100:g}% interval]; {nearer(ids)}"
    if any(moved(result) for result in report.results):
        foot += f"; {MOVED} interval moved by the value's bias"
    if any(r.bias and r.bias["corrected"] == "value" for r in report.results):
        foot += "; biased values extrapolated to any number of rows"
    lines = [*columns([head, *body]), foot]
    if grouped:
        told = f"sets that share a letter cannot be told apart by {ids[0]} at {(1 - level) * 100:g}% (Holm)"
        lines.append(told)
    if why:
        lines.append(f"no groups: {why}")
    lost = sum(any(r in failed for r in found.values()) for _, found in sets)
    if lost:
        verb = "lacks" if lost == 1 else "lack"
        lines.append(f"{lost} of {counted(len(sets), 'sample set')} {verb} a number")
    return "\n".join([*lines, *verdict_lines(report), ""])


def nearer(ids: Sequence[str]) -> str:
    """Which way the numbers go."""
    names = dict.fromkeys(name.partition(":")[0].strip() for name in ids)
    larger = [name for name in names if quantity(name).better == "higher"]
    if not larger:
        return "smaller is nearer"
    few = "larger is nearer" + (f" in {', '.join(larger)}" if len(larger) < len(names) else "")
    return few if len(larger) == len(names) else f"smaller is nearer, {few}"


def sample_sets(results: Sequence[Result]) -> list[tuple[str, dict[str, Result]]]:
    """What to call each sample set, with its results by metric; equal names are numbered."""
    sets: list[tuple[str | None, dict[str, Result]]] = []
    for result in results:
        if not sets or result.sample != sets[-1][0] or result.id in sets[-1][1]:
            sets.append((result.sample, {}))
        sets[-1][1][result.id] = result
    called = numbered([str(sample) for sample, _ in sets])
    return [(name, found) for name, (_, found) in zip(called, sets, strict=True)]


def heading(name: str, report: Report) -> str:
    """The metric as the user wrote it, with the direction of asymmetric ones."""
    of, settings = parse_metric(name)
    arrow = "(ref||sample)" if of.quantity.direction_of(settings) == "P||Q" else ""
    return f"{name}{arrow}"


def _rank(result: Result | None) -> tuple[bool, float]:
    failed = result is None or result.value != result.value
    if failed or result is None:
        return (True, 0.0)
    return (False, -result.value if result.better == "higher" else result.value)


def _size(found: Mapping[str, Result]) -> str:
    sizes = [result.n[1] for result in found.values() if result.n[1]]
    return str(sizes[0]) if sizes else "-"


def _group(found: Mapping[str, Result], metric: str) -> list[str]:
    """The letters of one set, in a list for the end of its row."""
    result = found.get(metric)
    return [str(result.extra.get("group", "-")) if result else "-"]


def _cell(result: Result | None) -> str:
    if result is None or result.status in ("error", "inconclusive"):
        return result.status if result else "error"
    if result.ci is None:
        return short(result.value)
    mark = MOVED if moved(result) else ""
    mark += " p=" + short(result.test.p_value) if result.test else ""
    return f"{short(result.value)} [{short(result.ci.low)}, {short(result.ci.high)}]{mark}"
