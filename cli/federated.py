"""`divmatch ot --federated`: the distance between two parties that keep their rows to themselves."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import click

from divmatch.cli import plans
from divmatch.cli.estimate import estimate as estimate_here
from divmatch.cli.estimate import finish, prepared, read_pair
from divmatch.cli.options import Number, WholeNumber, choice, option, progress_option
from divmatch.cli.progress import Progress
from divmatch.cli.session import Session
from divmatch.errors import SettingError
from divmatch.estimator import Quantity
from divmatch.record import Note, Result
from divmatch.samples import Samples

DEFAULTS = {
    "support": 200,
    "max_support": 2000,
    "interpolation": "exact",
    "rounds": 20,
    "tol": 1e-4,
    "time": "random",
    "timeout": 600.0,
}
OWN = ("share", "role", *DEFAULTS)
MOST = 100_000

NOTES = """

FEDERATED

With --federated two parties find W_p(P, Q) without giving away their rows. Both know a measure xi, at
first standard normal atoms; each moves it towards its own rows and gives back an interpolating
measure, at the share --time of the way, and how far it is. The next xi lies between the two. The value
is the least W_p(xi, P) + W_p(xi, Q) of all rounds: never below the distance (the triangle
inequality), and equal to it once xi lies on a shortest way. The rounds can end elsewhere, on a local
fixed point, so that a gap remains; with both files at hand it is stated (W55). For 400 and 300 rows of
four columns it was 13% with --time 0.5 and 0.4 to 4% with random times, which pass nearer to either
party; for samples far apart it is much smaller. Costs are euclidean, cityblock, chebyshev and lp:Q,
for any p.

Exact interpolation has an atom for each pair of a plan, never moves away from the distance, and grows;
beyond --max-support atoms, and with --interpolation barycentric, every atom goes to the mean of where
its mass goes. It ends when the bound changes by less than --tol, or after --rounds.

With --share DIR each party runs its own process with its own file, the same settings and seed, on any
machine that sees the folder, which must be empty: --role first keeps xi, writes xi-K.npz and at last
result.npz; --role second answers with H-K.npz. Files appear whole, by a rename, and hold numbers alone.
Who waits longer than --timeout ends with exit code 3; what is left of such a run must be removed before
the next.

Interpolating measures tell about the rows: where a time is near 1 an atom comes close to a row, which
random times are now and then. --time 0.5 tells least, and has the largest gap. There is no formal
guarantee of privacy.

Cost: three exact problems of --support atoms a round.

Source: Rakotomamonjy, Nadjahi & Ralaivola 2023 (NeurIPS, arXiv 2310.01973), Algorithm 1.
"""


def options() -> list[click.Parameter]:
    """What only the federated distance has."""

    def text(name: str, meaning: str) -> str:
        value = DEFAULTS[name]
        return (
            f"{meaning}  [default: {value:g}]"
            if isinstance(value, float)
            else f"{meaning}  [default: {value}]"
        )

    return [
        option(
            "--federated",
            is_flag=True,
            help="An upper bound from measures between P and Q alone: neither gives away its rows.",
        ),
        option(
            "--share",
            metavar="DIR",
            help="Exchange files with the other party's process in this empty folder; P is the own file.",
        ),
        option("--role", type=choice("first", "second"), help="Which party this one is."),
        option(
            "--timeout",
            metavar="S",
            type=Number(0, 1e7, min_open=True),
            help=text("timeout", "Seconds to wait for a file of the other party."),
        ),
        option(
            "--support",
            metavar="N",
            type=WholeNumber(1, MOST),
            help=text("support", "Atoms of the first measure."),
        ),
        option(
            "--max-support",
            metavar="N",
            type=WholeNumber(1, MOST),
            help=text("max_support", "Most atoms; beyond them steps are barycentric."),
        ),
        option(
            "--interpolation",
            type=choice("exact", "barycentric"),
            help=text(
                "interpolation", "An atom for each pair of the plan, or each atom to a mean."
            ),
        ),
        option(
            "--rounds",
            metavar="N",
            type=WholeNumber(1, 10_000),
            help=text("rounds", "Most rounds."),
        ),
        option(
            "--tol",
            metavar="X",
            type=Number(0, 1, max_open=True),
            help=text("tol", "Relative change of the bound at which it ends."),
        ),
        option(
            "--time",
            metavar="T|random",
            help=text(
                "time", "Where on the way between two measures the next one lies, in (0, 1)."
            ),
        ),
        progress_option(),
    ]


def estimate(of: Quantity, given: dict[str, Any]) -> int:
    """The distance at hand, or with --federated between two parties."""
    if not given["federated"]:
        own = next((name for name in OWN if given[name] is not None), None)
        if own is not None:
            raise SettingError(f"--{own.replace('_', '-')}: has an effect only with --federated")
        return estimate_here(of, given)
    session, _, several = prepared(of, given)
    if (path := plans.wanted(session)) is not None:
        raise SettingError(f"-o {path}: --federated has no plan of the rows; leave one of them out")
    filled = {**given, **{k: v for k, v in DEFAULTS.items() if given[k] is None}}
    refuse(filled)
    terms = terms_of(session, filled, several[0])
    return (together if given["share"] is None else apart)(session, of, filled, terms)


def refuse(given: Mapping[str, Any]) -> None:
    """What cannot be combined."""
    for name in ("debias", "columnwise", "orlicz", "permutations"):
        if given[name]:
            raise SettingError(f"--{name}: cannot be combined with --federated; leave one out")
    share, q = given["share"], given["candidate"]
    if share is None:
        for name in ("role", "timeout"):
            if given[name] not in (None, DEFAULTS.get(name)):
                raise SettingError(f"--{name}: has an effect only with --share")
        if q is None:
            raise SettingError("ot: missing argument 'Q'; with --share DIR it is the other party's")
        return
    if q is not None:
        raise SettingError("--share: each party gives its own file alone; leave out Q")
    if given["role"] is None:
        raise SettingError("--share: missing --role first or second; each party has one of them")
    for name, allowed in (("scale", ("auto", "none")), ("na", ("error", "drop"))):
        if given[name] not in allowed:
            raise SettingError(
                f"--{name} {given[name]}: would be of the own file alone; with --share choose "
                f"{' or '.join(allowed)}"
            )


def terms_of(session: Session, given: Mapping[str, Any], settings: Mapping[str, Any]) -> Any:
    """What both parties must agree on."""
    from divmatch.transport.exact import order_of
    from divmatch.transport.federated import Terms

    made = Terms(
        p=order_of(settings["p"], settings["cost"]),
        cost=settings["cost"],
        support=given["support"],
        most=given["max_support"],
        exact=given["interpolation"] == "exact",
        rounds=given["rounds"],
        tol=given["tol"],
        time=time_of(str(given["time"])),
        seed=session.seed,
    )
    made.check()
    return made


def time_of(text: str) -> float | None:
    """A share of the way; None for a random one."""
    if text == "random":
        return None
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        raise SettingError(f"--time {text}: expected a number above 0, below 1, or random")
    return value


def together(session: Session, of: Quantity, given: Mapping[str, Any], terms: Any) -> int:
    """Both files are here: the bound, and how far it is above the exact distance."""
    from divmatch.randomness import stream
    from divmatch.samples import check_partners
    from divmatch.transport.federated import Measure, alone

    x, y = read_pair(session, given["reference"], given["candidate"])
    check_partners(x, y)
    with session.running():
        course, _ = alone(Measure.of(x), Measure.of(y), terms)
        settings = {"p": terms.p, "cost": terms.cost, "debias": False, "columnwise": False}
        exact = of.methods["exact"](x, y, **settings, rng=stream(0, "exact")).value
    gap = max(course.best - exact, 0.0)
    more, share = {"exact_distance": exact, "above_exact": gap}, ""
    if exact > 0:
        more["relative_gap"] = gap / exact
        share = f" ({gap / exact:.2g} of it)"
    note = Note(
        "W55",
        f"an upper bound: the exact distance is {exact:.6g}, the federated one {gap:.2g}{share} above",
    )
    return finish(session, [result(of, course, (x, y), note, more)], x, y)


def apart(session: Session, of: Quantity, given: Mapping[str, Any], terms: Any) -> int:
    """One of the two files is here."""
    from divmatch.samples import check_partners
    from divmatch.transport.federated import Measure
    from divmatch.transport.federated_share import Share, as_first, as_second

    role = "p" if given["role"] == "first" else "q"
    x = read_own(session, given["reference"], role)
    check_partners(x, None)
    party = as_first if given["role"] == "first" else as_second
    with session.running(), Progress(given["progress"], terms.rounds, "ot") as shown:

        def look(name: str) -> None:
            shown.at(name)

        share = Share(given["share"], given["role"], given["timeout"], look, shown.done)
        course, _ = party(share, Measure.of(x), terms)
    note = Note("W55", "an upper bound: the rounds may end on a measure that is on no shortest way")
    made = result(of, course, (x,), note, {"role": given["role"]})
    return finish(session, [made], x, roles=role)


def read_own(session: Session, path: str, role: str) -> Samples:
    """One file, in its own unit and with numbers alone: the other party knows no other scale."""
    from divmatch.encoding import encode
    from divmatch.files import check_readable, read_table

    check_readable([path])
    session.spare([path])
    reading = replace(session.reading(), scale="none", categorical="error")
    return encode(read_table(path, reading, role=role), reading=reading)[0]


def result(
    of: Quantity,
    course: Any,
    samples: tuple[Samples, ...],
    note: Note,
    more: Mapping[str, Any],
) -> Result:
    """The least bound of all rounds."""
    notes = (note, *course.notes())
    params = course.params()
    if course.capped:
        params["capped"] = True  # steps beyond --max-support were barycentric
    return Result(
        metric=of.name,
        method="federated",
        value=course.best,
        unit=of.unit_of(params),
        direction=of.direction,
        n=tuple(one.n for one in samples),
        d=samples[0].d,
        params={**params, **more},
        exact=False,
        status="warn",
        warnings=notes,
    )
