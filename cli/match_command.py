"""The commands of `divmatch match`, made from the declarations of their tasks."""

import os
from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from typing import Any, ClassVar

import click

from divmatch.cli.command import Command
from divmatch.cli.estimate import methods_text, settings_options
from divmatch.cli.match_apply import applied, keep_fitted, prepared_to_apply, reuse_options
from divmatch.cli.match_options import (
    check_weights_out,
    kept_options,
    metric_option,
    output_options_of,
    to_option,
    with_to,
)
from divmatch.cli.match_text import files_text, text_of, value_of
from divmatch.cli.options import (
    compute_options,
    gate_options,
    inference_options,
    input_options,
    progress_option,
)
from divmatch.cli.progress import Progress
from divmatch.cli.session import Session, labelled, notes_of, with_notes
from divmatch.errors import InconclusiveError, SettingError
from divmatch.record import Note, Result, finite
from divmatch.samples import Samples

BESIDE = ("trace", "plot", "fit", "checkpoint")  # files beside -o


class MatchSession(Session):
    """A session whose outputs may be the product itself; pairs are a table, in any form of one."""

    own: ClassVar[tuple[str, ...]] = (".npz",)

    def form_of(self, path: str) -> str:
        """The product's form, or that of a report."""
        from divmatch.cli.products import product_form

        own = None if self.plans else product_form(path)
        return own or super().form_of(path)


def match_command_of(name: str) -> click.Command:
    """The command of a task."""
    from divmatch.matcher import task

    of = task(name)
    sections = sections_of(of)

    absent: dict[str, Any] = {"metric": None, "candidate": None}

    def run(**options: Any) -> int:
        return match(of, {**absent, **options})

    def prepare(options: dict[str, Any]) -> object:
        return prepared(of, {**absent, **options})

    beside = [to_option()] if of.product == "rows" else []
    optional = of.reusable or any(one.candidate != "always" for one in of.methods.values())
    q = click.Argument(["candidate"], metavar="[Q]" if optional else "Q", required=not optional)
    return Command(
        name,
        callback=run,
        params=[
            click.Argument(
                ["reference"], metavar="[P]" if of.begin else "P", required=not of.begin
            ),
            *([] if of.alone else [q]),
            *(reuse_options(name) if of.reusable else []),
            *beside,
            *settings_options(of),
            *(parameter for group in sections.values() for parameter in group),
        ],
        examples=of.examples,
        help=f"{of.help}\n\n{files_text(of)}",
        short_help=of.help,
        sections=sections,
        prepare=prepare,
        notes=methods_text(of),
        epilog=f"man divmatch-match-{name} has formulas, ranges, cost and sources.",
    )


def sections_of(of: Any) -> dict[str, list[click.Parameter]]:
    """The shared options of the tasks."""
    reading = {str(p.name): p for p in input_options(pair=not of.alone)}
    if of.scales == ("none",):
        del reading["scale"], reading["categorical"]
    uncertainty = [p for p in inference_options() if p.name != "permutations"]
    if of.alone:
        uncertainty = [p for p in uncertainty if p.name == "seed"]
    elif of.product != "pairs":
        uncertainty = [metric_option(of), *uncertainty]
    watched = any(one.watched for one in of.methods.values())
    return {
        "Reading": list(reading.values()),
        "Before and after": uncertainty,
        "Limits of the figure after": gate_options(),
        "Output": output_options_of(of, watched=watched),
        "Machine": [*compute_options(), progress_option(), *kept_options(of)],
    }


# ------------------------------------------------------------------------------------------- run


def prepared(of: Any, options: Mapping[str, Any]) -> tuple[Session, Any, dict[str, Any]]:
    """What can be said before any data are read: the session, the method, its settings.

    There is no method where a map that was fitted before is applied.
    """
    unread = {"scale": "none", "categorical": "error"} if of.scales == ("none",) else {}
    pairs = of.product == "pairs"
    session = MatchSession(
        f"match {of.name}",
        {**unread, "permutations": 0, "level": 0.95, **options},
        arrays=not pairs,
        plans=pairs,
    )
    if options.get("apply"):
        prepared_to_apply(session)
        return session, None, {}
    given = {name: options[name] for name in of.settings() if options[name] not in (None, ())}
    chosen, given = of.spelled(options["method"], given)
    settings = chosen.checked({**of.on_command, **given})
    if options["metric"] not in (None, "none"):
        from divmatch.estimator import parse_metric

        try:
            parse_metric(options["metric"], scoring=False)
        except SettingError as error:
            raise SettingError(f"--metric: {error}") from None
    check_files(session)
    if (kept := options.get("fit")) and not kept.endswith(".npz"):
        raise SettingError(f"--fit {kept}: is an .npz file; end its name in .npz")
    check_weights_out(session)
    if options.get("trace") and not chosen.watched:
        raise SettingError(f"--trace: --method {chosen.method} has no iterations; leave it out")
    if settings.get("beyond") and any(session.form_of(o) == "npy" for o in options["output"]):
        raise SettingError(
            "--beyond: weights alone do not say which rows are new; -o FILE.npz or .parquet"
        )
    if settings.get("every") and not any(session.form_of(o) == "npz" for o in options["output"]):
        raise SettingError("--every: rows on the way stand beside the result in .npz: -o FILE.npz")
    return session, chosen, settings


def check_files(session: Session) -> None:
    """Refuse files beside -o that could not be written, and a drawing that nobody can draw."""
    from divmatch.outputs import check_writable

    named = [*session.options["output"], *map(session.options.get, BESIDE)]
    check_writable([path for path in named if path], session.options["mkdir"])
    kept = session.options.get("checkpoint")
    if kept and (kept == "-" or (os.path.exists(kept) and not os.path.isfile(kept))):
        raise SettingError(f"--checkpoint {kept}: expected the name of a file, which is read again")
    if session.options.get("plot") and find_spec("matplotlib") is None:
        raise SettingError("--plot: needs matplotlib; pip install 'divmatch[plot]'")


def match(of: Any, options: dict[str, Any]) -> int:
    """Run one task on its files."""
    from divmatch.cli.products import check_movable
    from divmatch.cli.watching import named_files

    options = with_to(options)
    session, chosen, settings = prepared(of, options)
    if chosen is None:
        return applied(session)
    session.spare(named_files(settings))
    if options["reference"] is None and of.begin is not None:
        x, y = of.begin(settings, session.seed), None
    else:
        x, y = read(session, options["reference"], options["candidate"], chosen)
    check_movable(x, of)
    with session.running():
        try:
            found, watch = fitted(session, chosen, x, y, settings)
        except InconclusiveError as error:
            return undecided(session, chosen, settings, (x, y), error)
        return report(session, of, found, watch, x, y)


def read(session: Session, p: str, q: str | None, chosen: Any) -> tuple[Samples, Samples | None]:
    """P, and Q if there is one, with the same columns."""
    from divmatch.encoding import encode
    from divmatch.files import check_readable, read_table

    if q is None and chosen.candidate == "always":
        raise SettingError(f"missing argument 'Q': --method {chosen.method} needs its rows")
    if q is not None and chosen.candidate == "never":
        raise SettingError(f"--method {chosen.method}: looks at P alone; leave {q} out")
    inputs = [path for path in (p, q) if path is not None]
    check_readable(inputs)
    session.spare(inputs)
    if chosen.task.product in ("weights", "rows"):
        check_hidden(session, p)
    reading = session.reading()
    tables = [
        read_table(path, reading, role=role) for path, role in zip(inputs, "pq", strict=False)
    ]
    samples = encode(*tables, reading=reading)
    return samples[0], samples[1] if len(samples) > 1 else None


def check_hidden(session: Session, p: str) -> None:
    """A column of P must not vanish under one that is added to it."""
    from divmatch.carrying import check_free
    from divmatch.cli.products import WEIGHT

    own = (session.options["weights"], session.options["weights_p"])
    if WEIGHT not in own and any(
        session.form_of(o) == "product" for o in session.options["output"]
    ):
        check_free(p, WEIGHT)


def fitted(
    session: Session, chosen: Any, x: Samples, y: Samples | None, settings: Mapping[str, Any]
) -> tuple[Any, Any]:
    """The fit, watched."""
    from divmatch.cli.watching import Watched, identity
    from divmatch.match import matched

    options = session.options
    checkpoint = options.get("checkpoint")
    if checkpoint and not chosen.long:
        raise SettingError(f"--checkpoint: --method {chosen.method} takes no time; leave it out")
    with Progress(options["progress"], None, session.command) as progress:
        watch = Watched(progress, checkpoint, identity(session, chosen, x, y, settings))
        found = matched(
            chosen,
            x,
            y,
            settings,
            metric=options["metric"],
            level=options["level"],
            seed=session.seed,
            watch=watch,
        )
    return found, watch


def report(session: Session, of: Any, found: Any, watch: Any, x: Samples, y: Samples | None) -> int:
    """Warnings, product, report, exit code; limits are of the figure after."""
    from divmatch.cli.products import forms_of
    from divmatch.cli.watching import curve_csv
    from divmatch.outputs import write_whole

    read = notes_of(*(one for one in (x, y) if one is not None))
    results = [replace(one, unit=labelled(one.unit, session.reading(), x)) for one in found.results]
    results[0] = with_notes(results[0], read)
    for result in results:
        session.warn(result.warnings)
    for key, value in found.fit.facts.items():
        session.explain(f"{session.command}: {key} = {value}")
    session.settings |= settings_of(session, of, found, x)
    after = [result for result in results if result.id == "after"]
    verdict = session.verdict(after or results[:1])
    if session.options.get("plot"):
        from divmatch.cli.plot import drawn

        write_whole(session.options["plot"], drawn(found, y), mkdir=session.options["mkdir"])
    if session.options.get("fit"):
        keep_fitted(found, session.options["fit"], mkdir=session.options["mkdir"])
    if session.options.get("trace"):
        write_whole(
            session.options["trace"], curve_csv(found.curve), mkdir=session.options["mkdir"]
        )
    if session.options.get("weights_out"):
        from divmatch.cli.products import saved

        write_whole(
            session.options["weights_out"], saved(found.weights), mkdir=session.options["mkdir"]
        )
    if of.product == "pairs":
        from divmatch.cli.pairs import pair_forms

        forms = pair_forms(found, x, y)
    else:
        forms = forms_of(found, of, session.options["reference"])
    forms = {**forms, "value": value_of}
    code = session.report(inputs_of(session, x, y), results, verdict, text=text_of, forms=forms)
    watch.finished()
    return code


def settings_of(session: Session, of: Any, found: Any, x: Samples) -> dict[str, Any]:
    """What the record says about the fit."""
    from divmatch.match import sizes

    facts = dict(found.fit.facts)
    if of.product == "weights":
        facts |= sizes(found.fit.applied(x), x)
    return {
        "method": found.method,
        "params": {key: plain(value) for key, value in found.settings.items()},
        "metric": session.options["metric"],
        "level": session.options["level"],
        "scale": x.origin.get("scale", "none"),
        "converged": found.converged,
        "held_out": found.held_out,
        "product": of.product,
        "fit": {key: plain(value) for key, value in facts.items()},
    }


def plain(value: Any) -> Any:
    """What JSON can hold."""
    return finite(value) if isinstance(value, float) else value


def undecided(
    session: Session,
    chosen: Any,
    settings: Mapping[str, Any],
    samples: tuple[Samples, Samples | None],
    error: InconclusiveError,
) -> int:
    """There is nothing to write: exit 3, and no output but the reports."""
    x, y = samples
    result = Result(
        chosen.task.metric.partition(":")[0],
        chosen.method,
        float("nan"),
        "1",
        "symmetric",
        (x.n,) if y is None else (x.n, y.n),
        x.d,
        params=settings,
        status="inconclusive",
        id="after",
        warnings=(Note("E01", str(error)),),
        extra={"message": str(error)},
    )
    session.warn(result.warnings)
    outputs = session.options["output"]
    made = ("npy", "npz", "product", *(("csv", "tsv", "parquet") if session.plans else ()))
    kept = tuple(path for path in outputs if session.form_of(path) not in made)
    session.options = {**session.options, "output": kept}
    verdict = session.verdict([result])
    return session.report(inputs_of(session, x, y), [result], verdict, text=text_of)


def inputs_of(session: Session, x: Samples, y: Samples | None) -> list[dict[str, Any]]:
    """The files; fingerprints only for the format that carries them."""
    return session.inputs([x], "p") if y is None else session.inputs([x, y], "pq")
