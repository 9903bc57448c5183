"""The options of `divmatch match` beside the settings of a task: where results go, what is measured."""

from typing import Any

import click

from divmatch.catalogue import QUANTITIES
from divmatch.cli.options import option, output_options
from divmatch.cli.session import Session
from divmatch.errors import SettingError

PRODUCT = "Write FILE: the result as .npy .npz .parquet, the report as .json .ndjson .csv .tsv .md .txt .xml."
PLOT = "Draw P before, P after and Q, column by column (needs matplotlib)."


def to_option() -> click.Option:
    """Q by name."""
    return option("--to", metavar="Q", envvar=None, help="Q, in the place of the second argument.")


def metric_option(of: Any) -> click.Option:
    """What before and after are measured with."""
    other = f", {of.unheld} where no row of P can be held out" if of.unheld != of.metric else ""
    return option(
        "--metric",
        metavar="NAME",
        help=f"Divergence before and after: {', '.join(QUANTITIES)}, with settings if wanted, such as "
        f"mmd:kernel=laplace; or none.  [default: {of.metric}{other}]",
    )


def output_options_of(of: Any, *, watched: bool) -> list[click.Parameter]:
    """Where the product and the report go."""
    if of.product == "pairs":
        from divmatch.cli.pairs import pairs_options

        return pairs_options()
    made = [*output_options(PRODUCT), *shown_options(PLOT, watched=watched)]
    if of.product == "rows":
        text = "Write the weights of the rows chosen, in their order; sum 1."
        made.insert(1, option("--weights-out", metavar="FILE.npy", help=text))
    return made


def shown_options(plot: str, *, watched: bool) -> list[click.Parameter]:
    """What shows how it went."""
    made: list[click.Parameter] = [option("--plot", metavar="FILE.png", help=plot)]
    if watched:
        text = "Write a line for each iteration: how far it was."
        made.append(option("--trace", metavar="FILE.csv", help=text))
    return made


def kept_options(of: Any) -> list[click.Parameter]:
    """Where long methods go on."""
    return [checkpoint_option()] if any(one.long for one in of.methods.values()) else []


def checkpoint_option() -> click.Option:
    """Where a fit goes on."""
    text = "Keep the state of a long fit there, and go on from it; removed at the end."
    return option("--checkpoint", metavar="FILE", help=text)


def with_to(options: dict[str, Any]) -> dict[str, Any]:
    """Q by name is the second argument."""
    q, to = options.get("candidate"), options.get("to")
    if to is None:
        return options
    if q is not None:
        raise SettingError(f"--to {to}: Q is {q} already; leave one of them out")
    return {**options, "candidate": to}


def check_weights_out(session: Session) -> None:
    """Weights go to a file of their own, which can be written."""
    from divmatch.outputs import check_writable

    path = session.options.get("weights_out")
    if path is None:
        return
    if not path.endswith(".npy"):
        raise SettingError(f"--weights-out {path}: expected FILE.npy")
    if path in session.options["output"]:
        raise SettingError(f"--weights-out {path}: -o writes that file; choose another name")
    check_writable([path], session.options["mkdir"])
