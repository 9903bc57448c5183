"""One command for each quantity, made from its declaration."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import product
from typing import Any

import click

from divmatch.cli import plans
from divmatch.cli.command import Command
from divmatch.cli.options import (
    compute_options,
    gate_options,
    inference_options,
    input_options,
    option,
    output_options,
    progress_option,
)
from divmatch.cli.session import Session, labelled, notes_of, with_notes
from divmatch.declaration import Family, Method
from divmatch.errors import SampleError, SettingError
from divmatch.estimator import Estimator, Quantity, quantity
from divmatch.record import Result
from divmatch.samples import Samples
from divmatch.settings import Setting

ARGUMENTS = (
    "P is the reference, Q the candidate: .npy, .npz::key, .parquet, .csv, .tsv, .ndjson or -."
)


def command_of(name: str) -> click.Command:
    """The command of a quantity."""
    of = quantity(name)
    settings = settings_options(of)
    extra: list[click.Parameter] = [log_q_option()] if of.known else []
    if of.direction == "P||Q":
        extra.append(option("--both", is_flag=True, help="Also the other direction, Q || P."))
    if of.unit == "nats" or of.nats:
        extra.append(unit_option())
    sections = pair_sections()
    if callable(of.unplanned):
        plans.offer(sections["Output"])
    if of.told:
        sections["Machine"].append(progress_option())
    shared = name == "ot"
    if shared:
        from divmatch.cli import federated

        sections = {"Federated": federated.options(), **sections}

    def run(**options: Any) -> int:
        return federated.estimate(of, options) if shared else estimate(of, options)

    def prepare(options: dict[str, Any]) -> object:
        return prepared(of, options)

    return Command(
        name,
        callback=run,
        params=[
            click.Argument(["reference"], metavar="P"),
            click.Argument(["candidate"], metavar="Q", required=not (of.known or shared)),
            *settings,
            *extra,
            *(parameter for group in sections.values() for parameter in group),
        ],
        examples=of.examples,
        help=f"{of.help}\n\n{ARGUMENTS}",
        short_help=of.help,
        sections=sections,
        prepare=prepare,
        notes=methods_text(of) + (federated.NOTES if shared else ""),
        epilog=f"man divmatch-{name} has formulas, ranges, biases, cost and sources.",
    )


def unit_option() -> click.Option:
    """Of what is measured in nats."""
    return option(
        "--unit",
        type=click.Choice(["nats", "bits"]),
        default="nats",
        help="Unit of the result.",
    )


def log_q_option() -> click.Option:
    """What may stand in the place of Q."""
    return option(
        "--log-q",
        metavar="COL|FILE",
        envvar=None,
        help="Q is known by its density: ln q at the rows of P, a column of P or a file, in the place of Q.",
    )


def pair_sections(*, permutations: int = 0) -> dict[str, list[click.Parameter]]:
    """The shared options of commands on two samples."""
    return {
        "Reading": input_options(pair=True),
        "Uncertainty": inference_options(permutations=permutations),
        "Limits": gate_options(),
        "Output": output_options(),
        "Machine": compute_options(),
    }


def settings_options(of: Family[Any]) -> list[click.Parameter]:
    """--method, which may have another name too, and one option for each setting of its methods."""
    flags = [f"--{of.choice}"] * bool(of.choice) + ["--method"]
    methods = click.Option(
        [*flags, "method"],
        envvar="DIVMATCH_METHOD",
        metavar="|".join(of.methods),
        help=f"Which {of.noun}; settings that it lacks choose another.  [default: {of.default}]",
    )
    return [methods, *(setting_option(of, setting) for setting in of.settings().values())]


def setting_option(of: Family[Any], setting: Setting) -> click.Option:
    """One setting as an option; its text is checked by the setting itself."""
    having = [
        name for name, e in of.methods.items() if setting.name in {s.name for s in e.settings}
    ]
    only = "" if len(having) == len(of.methods) else f" ({', '.join(having)})"
    value = of.on_command.get(setting.name, setting.default)
    shown = {True: "yes", False: "no"}[value] if isinstance(value, bool) else value
    default = "" if value is None else f"  [default: {shown}]"
    unit = f" [{setting.unit}]" if setting.unit else ""
    limits = f", {setting.range}" if setting.range else ""
    text = f"{setting.meaning[:1].upper()}{setting.meaning[1:]}{limits}{unit}.{only}{default}"
    if bool in setting.types:
        flags = f"{setting.flag}/--no-{setting.flag[2:]}" if setting.default else setting.flag
        return click.Option([flags, setting.name], is_flag=True, default=None, help=text)
    bare: dict[str, Any] = (
        {} if setting.bare is None else {"is_flag": False, "flag_value": setting.bare}
    )
    return click.Option(
        [setting.flag, setting.name],
        metavar=setting.metavar,
        help=text,
        **bare,
        multiple=setting.repeated,
        envvar=f"DIVMATCH_{setting.name.upper()}" if len(setting.name) > 1 else None,
    )


def methods_text(of: Family[Any]) -> str:
    """The docstrings of all methods: the manual's description."""
    return "\n\n".join(f"METHOD {name}\n\n{e.doc}" for name, e in of.manual().items())


def estimate(of: Quantity, options: dict[str, Any]) -> int:
    """Run one quantity on two files."""
    session, chosen, several = prepared(of, options)
    p, q, log_q = options["reference"], options["candidate"], options.get("log_q")
    if (q is None) == (log_q is None):
        what = "missing argument 'Q'" if q is None else "expected Q or --log-q, not both"
        raise SettingError(
            f"{of.name}: {what}; --log-q takes the place of Q" if of.known else f"{of.name}: {what}"
        )
    if log_q is not None:
        x = read_known(session, p, log_q)
        with session.running():
            results = session.infer_all(chosen, x, None, several)
        return finish(session, results, *apart(x, log_q))
    x, y = (read_either if of.moments else read_pair)(session, p, q)
    kept: list[Any] = []
    with session.running(), told(of, options):
        asked = {} if plans.wanted(session) is None else {"kept": kept}
        results = session.infer_all(chosen, x, y, several, **asked)
        results, forms = plans.planned(session, results, kept)
        if options.get("both"):
            results += [
                replace(other, direction="Q||P", id=f"{other.id or of.name}:reverse")
                for other in session.infer_all(chosen, y, x, several)
            ]
    return finish(session, results, x, y, forms=forms)


@contextmanager
def told(of: Quantity, options: Mapping[str, Any]) -> Iterator[None]:
    """Show how far a long estimate is, one item for every pass over all pairs."""
    if not of.told:
        yield
        return
    from divmatch.cli.progress import Progress
    from divmatch.kernels.execution import executing

    with Progress(options["progress"], None, of.name) as progress:

        def passed(what: str) -> None:
            progress.at(what)
            progress.done()

        with executing(told=passed):
            yield


def prepared(
    of: Quantity, options: Mapping[str, Any]
) -> tuple[Session, Estimator, list[dict[str, Any]]]:
    """What can be said before any data are read: the session, the method, its settings."""
    plans.refuse_never(of, options["output"])
    session = Session(of.name, options, plans=callable(of.unplanned))
    given = {name: options[name] for name in of.settings() if options[name] not in (None, ())}
    if options.get("log_q") is None:
        chosen = of.chosen(options["method"], given)
        if options.get("unit") == "bits" and chosen.own_unit:
            raise SettingError(
                f"--unit bits: {of.name} --method {chosen.method} is not measured in nats"
            )
    else:
        chosen = of.chosen_for_density(options["method"])
        refuse_with_density(options)
    several = listed(chosen, {**of.on_command, **given})
    plans.refuse_unplanned(session, of, several[0])
    return session, chosen, several


def refuse_with_density(options: Mapping[str, Any]) -> None:
    """What needs rows of Q, or would change the rows whose log-densities are given."""
    for flag, given in (
        ("--both", options["both"]),
        ("--weights-q", options["weights_q"]),
        ("--permutations", options["permutations"]),
    ):
        if given:
            raise SettingError(f"{flag}: needs rows of Q, --log-q has none; leave it out")
    for name, allowed in (("scale", ("auto", "none")), ("na", ("error", "drop"))):
        if options[name] not in allowed:
            raise SettingError(
                f"--{name} {options[name]}: would change the rows that --log-q belongs to; choose "
                f"{' or '.join(allowed)}"
            )


def listed(chosen: Method, given: dict[str, Any]) -> list[dict[str, Any]]:
    """Checked settings, one set for each value of a setting that was given several."""
    lists: list[list[str | None]] = [
        [part.strip() for part in str(given[s.name]).split(",")]
        if s.many and s.name in given
        else [None]
        for s in chosen.settings
    ]
    for setting, several in zip(chosen.settings, lists, strict=True):
        twice = next((part for part in several if several.count(part) > 1), None)
        if twice is not None:
            raise SettingError(f"{setting.flag}: '{twice}' is named twice")
    made = []
    for values in product(*lists):
        parts = zip(chosen.settings, values, strict=True)
        made.append(chosen.checked(given | {s.name: v for s, v in parts if v is not None}))
    return made


def read_pair(session: Session, p: str, q: str) -> tuple[Samples, Samples]:
    """Both files as samples with the same columns, on the scale of P."""
    from divmatch.encoding import encode
    from divmatch.files import check_readable, read_table

    check_readable([p, q])
    session.spare([p, q])
    reading = session.reading()
    x, y = encode(
        read_table(p, reading, role="p"), read_table(q, reading, role="q"), reading=reading
    )
    return x, y


def read_either(session: Session, p: str, q: str) -> tuple[Samples, Samples]:
    """Two samples, or what is stored of them: a mean and a covariance, or a Gaussian mixture."""
    from divmatch.encoding import encode
    from divmatch.files import check_readable, read_table
    from divmatch.mixtures import read_mixture
    from divmatch.moments import Moments, read_moments

    check_readable([p, q])
    stored = [read_mixture(path) or read_moments(path) for path in (p, q)]
    if stored == [None, None]:
        return read_pair(session, p, q)
    name = next(one.name for one in stored if one is not None)
    refuse_with_moments(session.options, name)
    session.spare([p, q])
    reading = replace(session.reading(), scale="none")

    def read(moments: Moments | None, path: str, role: str) -> Samples:
        if moments is not None:
            return moments
        return encode(read_table(path, reading, role=role), reading=reading)[0]

    return read(stored[0], p, "p"), read(stored[1], q, "q")


def refuse_with_moments(options: Mapping[str, Any], name: str) -> None:
    """What needs rows, or would change the columns that the moments belong to."""
    for flag in ("permutations", "columns", "weights", "sample"):
        if options[flag]:
            raise SettingError(f"--{flag}: {name} holds moments and no rows; leave it out")
    if options["scale"] not in ("auto", "none"):
        raise SettingError(
            f"--scale {options['scale']}: {name} holds moments and no rows; choose none"
        )


def read_known(session: Session, p: str, log_q: str) -> Samples:
    """P in its own unit, with the log-densities of Q beside its rows."""
    from divmatch.encoding import encode
    from divmatch.files import check_readable, read_table
    from divmatch.samples import with_densities

    check_readable([p])
    session.spare([p])
    reading = replace(session.reading(), log_q=log_q, scale="none")
    table = read_table(p, reading, role="p")
    if table.categories:
        name = table.categories[0].name
        raise SampleError(
            f"{table.name}: column '{name}' holds categories, which have no density; leave it out "
            f"with --columns '!{name}'"
        )
    (x,) = encode(table, reading=reading)
    return with_densities(x, x.beside["log_q"], log_q)


def apart(x: Samples, log_q: str) -> tuple[Samples, Samples]:
    """What the record lists: the rows, and the log-densities as an input of their own."""
    return replace(x, beside={}), Samples(x.beside["log_q"][:, None], name=log_q)


def finish(
    session: Session,
    results: list[Result],
    *samples: Samples,
    roles: str = "pq",
    text: Any = None,
    forms: Mapping[str, Any] | None = None,
) -> int:
    """Units, warnings, verdict, outputs, exit code."""
    from divmatch.inference import in_bits

    if session.options.get("unit") == "bits":
        results = [in_bits(result) for result in results]
    read, x = notes_of(*samples), samples[0]
    results = [
        replace(with_notes(result, read), unit=labelled(result.unit, session.reading(), x))
        for result in results
    ]
    session.settings |= {"level": session.options["level"], "scale": x.origin.get("scale", "none")}
    for result in results:
        session.warn(result.warnings if result is results[0] else result.warnings[len(read) :])
        for key, value in result.params.items():
            session.explain(f"{result.metric}: {key} = {value}")
    inputs = session.inputs(samples, roles[: len(samples)])
    return session.report(inputs, results, session.verdict(results), text=text, forms=forms)
