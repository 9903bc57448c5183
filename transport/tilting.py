"""Weights that give columns of scores the means that are asked for: exponential tilting and its kin."""

from dataclasses import replace
from typing import Annotated

import numpy as np

from divmatch.errors import SettingError, suggestion
from divmatch.margins import Margins
from divmatch.matcher import Fit, Watch
from divmatch.record import Note
from divmatch.samples import Samples
from divmatch.settings import Setting
from divmatch.transport.balancing import Delta, Kind, MaxWeight, balanced, divergence_of
from divmatch.transport.constraints import constraints_of
from divmatch.transport.reweighting import WEIGHTS

FEW = 0.1  # share of the rows below which draws by these weights repeat themselves


def parsed(text: str) -> dict[str, float]:
    """`helpful=0.8,toxic=0.01`: means by column."""
    made: dict[str, float] = {}
    for part in filter(None, (one.strip() for one in text.replace(";", ",").split(","))):
        name, equals, value = part.rpartition("=")
        try:
            number = float(value)
        except ValueError:
            number = float("nan")
        if not equals or not name.strip() or number - number != 0:
            raise SettingError(f"--targets {part}: expected COLUMN=NUMBER, such as helpful=0.8")
        if name.strip() in made:
            raise SettingError(f"--targets: '{name.strip()}' is given twice")
        made[name.strip()] = number
    if not made:
        raise SettingError("--targets: expected COLUMN=NUMBER, such as helpful=0.8")
    return made


def _checked(text: str) -> str:
    parsed(text)
    return text


Targets = Annotated[
    str | None,
    Setting(
        "mean that each of these columns is to have",
        shown="COL=X,...",
        parse=_checked,
        repeated=True,
    ),
]


@WEIGHTS.method(
    "tilt",
    source="Go, Korbak, Kruszewski, Rozen, Ryu & Dymetman 2023, arXiv 2302.08215",
    candidate="never",
    variant="kind",
)
def tilt(
    x: Samples,
    *,
    targets: Targets = None,
    kind: Kind = None,
    delta: Delta = 0.0,
    max_weight: MaxWeight = float("inf"),
    watch: Watch,
) -> Fit:
    """Weights that give columns of scores the means that are asked for, nearest to the old weights.

    The target p(x) ∝ q(x) exp(λ·φ(x)) of a distribution that is controlled by expectations, E_p φ = m, with φ
    the columns of --targets; --kind takes another f-divergence than KL, as for the method gel.

    Use it to see what a model would be like whose outputs are as helpful, or as rarely toxic, as asked:
    scores of samples in, weights out, from which samples can be drawn again. A warning says when the weights
    are worth less than a tenth of the rows: new draws would repeat a few of them.

    Parameters
    ----------
    x : Samples
        Rows of P, shape (n, d), weighted or not, with the columns of scores among them.
    targets : str
        COLUMN=NUMBER, several separated by commas; `device=ios=0.4` is the share of a category.
    kind : str or float
        As for the method gel; et unless given.
    delta : float
        As for the method entropy.
    max_weight : float
        As for the method entropy.
    watch : Watch
        Is told the largest residual of every step.

    Returns
    -------
    Fit
        Weights, sum 1; residuals are at most 1e-8 standard deviations.

    Raises
    ------
    InconclusiveError
        When no weights have these means; each one that fails is named.

    Notes
    -----
    Cost: O(n k²) a Newton step for k columns.

    Source: Go, Korbak, Kruszewski, Rozen, Ryu & Dymetman 2023, Aligning language models with preferences
    through f-divergence minimization, arXiv 2302.08215, section 2; Khalifa, Elsahar & Dymetman 2021.

    Examples
    --------
    >>> import divmatch
    >>> found = divmatch.match.weights([-1.0, 0.0, 1.0], method="tilt", targets="0=0.5")
    >>> found.weights.round(4).tolist()
    [0.1162, 0.2676, 0.6162]
    """
    if targets is None:
        raise SettingError("--method tilt: give --targets COLUMN=NUMBER, such as helpful=0.8")
    names = x.columns or tuple(map(str, range(x.d)))
    wanted = parsed(targets)
    for name in wanted:
        if name not in names:
            near = suggestion(name, names)
            raise SettingError(f"--targets {name}: {x.name} has no such column of numbers{near}")
    margins = Margins({}, {name: {"mean": value} for name, value in wanted.items()})
    kind = "et" if kind is None else kind
    found = balanced(
        x,
        constraints_of(x, None, 1, False, margins, delta),
        divergence_of(kind, max_weight),
        delta,
        watch,
    )
    found = replace(found, params={"kind": kind})
    share = 1.0 / (x.n * float(np.sum(found.applied(x).masses() ** 2)))
    if share >= FEW:
        return found
    note = Note(
        "W74",
        f"{x.name}: the weights are worth {share:.1%} of the rows; draws by them repeat a few: ask for less",
    )
    return replace(found, notes=(*found.notes, note))
