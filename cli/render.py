"""Results as JSON, tables and annotations: views of one document."""

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from divmatch.cli.main import printable
from divmatch.cli.report import Report, measured, short, sizes, title, verdict_lines
from divmatch.errors import SettingError
from divmatch.record import Result

SUFFIXES = {
    ".json": "json",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".csv": "csv",
    ".tsv": "tsv",
    ".md": "markdown",
    ".txt": "text",
    ".xml": "junit",
    ".parquet": "parquet",
}


def rendered(report: Report, form: str) -> str | bytes:
    """The whole report in one format, as the command has it or as all have it."""
    return (report.forms.get(form) or FORMS[form])(report)


def form_of(
    path: str, *, arrays: bool = False, plans: bool = False, own: Sequence[str] = ()
) -> str:
    """The format that a file name asks for; ``arrays`` allows .npy, ``plans`` .npz.

    ``own`` are suffixes of the command's own, which a refusal names too.
    """
    if path in ("-", "/dev/stdout"):
        return "text"
    suffix = os.path.splitext(path)[1].lower()
    binary = [".npy"] * arrays + [".npz"] * plans
    if suffix in binary:
        return suffix[1:]
    if suffix not in SUFFIXES and os.path.exists(path) and not os.path.isfile(path):
        return "text"  # a pipe or a device has no suffix
    if suffix not in SUFFIXES:
        known = " ".join(dict.fromkeys([*SUFFIXES, *binary, *own]))
        raise SettingError(
            f"-o {path}: no format has the suffix '{suffix}'; expected one of {known}"
        )
    return SUFFIXES[suffix]


def flat(result: Mapping[str, Any]) -> dict[str, Any]:
    """One result as one row: nested parts become columns."""
    ci, test = result["ci"] or {}, result["test"] or {}
    return {
        "sample": result.get("sample"),
        "id": result["id"],
        "metric": result["metric"],
        "method": result["method"],
        "direction": result["direction"],
        "value": result["value"],
        "unit": result["unit"],
        "se": result["se"],
        "level": ci.get("level"),
        "low": ci.get("low"),
        "high": ci.get("high"),
        "p_value": test.get("p_value"),
        "n": result["n"][0],
        "m": result["n"][1] if len(result["n"]) > 1 else None,
        "status": result["status"],
        "warnings": " ".join(sorted({note["code"] for note in result["warnings"]})),
        "message": result.get("message"),
        "columns": ",".join(result.get("columns", [])) or None,
        "p_adjusted": test.get("p_adjusted"),
        "group": result.get("group"),
        "fingerprint": result.get("fingerprint"),
    }


def json_of(report: Report) -> str:
    """The document."""
    return json.dumps(report.document, indent=2, allow_nan=False) + "\n"


def ndjson_row(result: Mapping[str, Any]) -> str:
    """One result, one line."""
    return json.dumps(result, allow_nan=False) + "\n"


def ndjson_of(report: Report) -> str:
    """One line a result."""
    return "".join(ndjson_row(result) for result in report.document["results"])


def separated(report: Report, delimiter: str) -> str:
    """Header and one row a result; numbers round-trip."""
    rows = [flat(result) for result in report.document["results"]]
    return delimited_header(delimiter) + "".join(delimited(row, delimiter) for row in rows)


def delimited_header(delimiter: str) -> str:
    """The names of the columns."""
    return _delimited(list(_FLAT_NAMES), delimiter)


def delimited(row: Mapping[str, Any], delimiter: str) -> str:
    """One row, quoted where needed."""
    cells = ["" if v is None else repr(v) if isinstance(v, float) else v for v in row.values()]
    return _delimited(cells, delimiter)


def _delimited(cells: Sequence[Any], delimiter: str) -> str:
    import csv
    import io

    buffer = io.StringIO()
    csv.writer(buffer, delimiter=delimiter, lineterminator="\n").writerow(cells)
    return buffer.getvalue()


_FLAT_NAMES = [
    "sample",
    "id",
    "metric",
    "method",
    "direction",
    "value",
    "unit",
    "se",
    "level",
    "low",
    "high",
    "p_value",
    "n",
    "m",
    "status",
    "warnings",
    "message",
    "columns",
    "p_adjusted",
    "group",
    "fingerprint",
]


def markdown_of(report: Report) -> str:
    """A table for a pull request."""
    lines = [
        "| metric | sample | value | interval | p | n | status |",
        "|---|---|--:|---|--:|--:|---|",
    ]
    against_reference = any(one["role"] == "ref" for one in report.document["inputs"])
    for result in report.results:
        ci = f"{short(result.ci.low)} .. {short(result.ci.high)}" if result.ci else ""
        p = short(result.test.p_value) if result.test else ""
        sample = printable(result.sample or report.name("q"))
        command = report.document["command"]
        by_id = (
            against_reference or command in ("marginals", "explain") or command.startswith("match")
        )
        name = result.id if by_id else title(result, report)
        cells = (
            name,
            sample,
            measured(result),
            ci,
            p,
            sizes(result),
            result.status,
        )
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    lines += ["", *[f"**{line}**" for line in verdict_lines(report)]]
    return "\n".join(lines).rstrip() + "\n"


def value_of(report: Report) -> str:
    """Bare numbers, one a line."""
    return "".join(f"{_bare(result.value)}\n" for result in report.results)


def _bare(value: float) -> str:
    return "undefined" if math.isnan(value) else repr(float(value))


def github_of(report: Report) -> str:
    """Workflow annotations: an error for each failed rule, a warning for each note."""
    lines = []
    for rule in (report.document.get("verdict") or {}).get("rules", []):
        level = {"fail": "error", "inconclusive": "warning"}.get(rule["status"], "notice")
        title = _escaped(rule["name"]).replace(":", "%3A").replace(",", "%2C")
        lines.append(f"::{level} title={title}::{_escaped(rule['rule'])}")
    for result in report.results:
        for note in result.warnings:
            level = "error" if note.code.startswith("E") else "warning"
            named = result.sample is None or result.sample in note.message
            where = "" if named else f"{result.sample}: {result.id}: "
            lines.append(
                f"::{level} title={note.code}::{_escaped(printable(where + note.message))}"
            )
    return "".join(line + "\n" for line in lines)


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def junit_of(report: Report) -> str:
    """One test case a rule, or a result where there are no rules; errors always are cases."""
    from xml.sax.saxutils import quoteattr

    tags = {"fail": "failure", "error": "error", "inconclusive": "skipped"}
    rules = (report.document.get("verdict") or {}).get("rules", [])
    cases = [(printable(r["name"]), r["status"], r["rule"]) for r in rules]
    cases += [
        (_case(r), r.status if r.status in tags else "pass", _message(r))
        for r in report.results
        if r.status == "error" or not rules
    ]
    count = {
        word: sum(case[1] == word for case in cases) for word in ("fail", "error", "inconclusive")
    }
    head = (
        f'name="divmatch {report.document["command"]}" tests="{len(cases)}" failures="{count["fail"]}" '
        f'errors="{count["error"]}" skipped="{count["inconclusive"]}"'
    )
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f"<testsuites {head}>",
        f"  <testsuite {head}>",
    ]
    for name, status, message in cases:
        start = f'    <testcase classname="divmatch" name={quoteattr(name)}'
        if status in tags:
            lines.append(f"{start}><{tags[status]} message={quoteattr(message)}/></testcase>")
        else:
            lines.append(f"{start}/>")
    return "\n".join([*lines, "  </testsuite>", "</testsuites>", ""])


def _case(result: Result) -> str:
    name = result.id or result.metric
    return f"{printable(result.sample)} {name}" if result.sample else name


def _message(result: Result) -> str:
    """The value, or what went wrong."""
    return printable(str(result.extra.get("message", short(result.value))))


def parquet_of(report: Report) -> bytes:
    """The flat rows as a Parquet file."""
    from divmatch.files import parquet_bytes

    return parquet_bytes([flat(result) for result in report.document["results"]])


FORMS: dict[str, Callable[[Report], str | bytes]] = {
    "text": lambda report: report.text(report),
    "value": value_of,
    "json": json_of,
    "ndjson": ndjson_of,
    "csv": lambda report: separated(report, ","),
    "tsv": lambda report: separated(report, "\t"),
    "markdown": markdown_of,
    "junit": junit_of,
    "github": github_of,
    "parquet": parquet_of,
}
