"""Transport plans as outputs of the commands that find one: -o FILE.npz."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import click

from divmatch.cli.session import Session
from divmatch.errors import SettingError
from divmatch.estimator import Quantity
from divmatch.record import Note, Result

PLAN = "npz"


def offer(options: Sequence[click.Parameter]) -> None:
    """Name .npz among the outputs."""
    for one in options:
        if isinstance(one, click.Option) and one.name == "output":
            one.help = f"{str(one.help).removesuffix(').')} .npz for the plan)."


def wanted(session: Session) -> str | None:
    """The first output that is to hold a plan."""
    outputs = session.options["output"]
    return next((path for path in outputs if session.form_of(path) == PLAN), None)


def refuse_unplanned(session: Session, of: Quantity, settings: Mapping[str, Any]) -> None:
    """Before any work: settings under which there is no one plan."""
    path = wanted(session)
    why = of.unplanned(settings) if path is not None and callable(of.unplanned) else ""
    if why:
        raise SettingError(f"-o {path}: {why}")


def refuse_never(of: Quantity, outputs: Sequence[str]) -> None:
    """A plan asked of what never has one, but of which one might be expected."""
    if isinstance(of.unplanned, str):
        for path in outputs:
            if path.lower().endswith(f".{PLAN}"):
                raise SettingError(f"-o {path}: {of.unplanned}")


def planned(
    session: Session, results: Sequence[Result], kept: Sequence[tuple[Any, Any]]
) -> tuple[list[Result], dict[str, Any]]:
    """The results with what a saved plan lacks, and the form that saves it; none without a number."""
    if wanted(session) is None:
        return list(results), {}
    plan = kept[0][0].plan() if kept and kept[0][0].plan is not None else None
    if plan is None:
        others = [path for path in session.options["output"] if session.form_of(path) != PLAN]
        session.options = {**session.options, "output": tuple(others)}
        return list(results), {}
    pairs = plan.pairs()
    held = {"plan_pairs": len(pairs.rows), "plan_left_out": pairs.left_out}
    notes: tuple[Note, ...] = pairs.lacking()
    first = results[0]
    made = replace(
        first,
        params={**first.params, **held},
        warnings=(*first.warnings, *notes),
        status="warn" if notes and first.status == "ok" else first.status,
    )
    return [made, *results[1:]], {
        PLAN: lambda report: archive(plan.arrays(pairs) | places_of(plan))
    }


def places_of(plan: Any) -> dict[str, Any]:
    """Where rows stand in their files, of which some were left out when they were read."""
    both = {"rows_p": plan.x.origin.get("places"), "rows_q": plan.y.origin.get("places")}
    return {name: places for name, places in both.items() if places is not None}


def archive(arrays: Mapping[str, Any]) -> bytes:
    """Arrays as an .npz that opens without pickle: the same bytes for the same numbers."""
    import io

    import numpy as np

    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()
