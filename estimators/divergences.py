"""Divergences with a density ratio: declared here, estimated by the families beside this file."""

from typing import Annotated, Literal

from divmatch.estimator import Quantity
from divmatch.estimators.generators import generator
from divmatch.settings import Setting

KL = Quantity(
    "kl",
    title="KL",
    unit="nats",
    direction="P||Q",
    default="auto",
    degenerate=True,
    examples=(
        "divmatch kl real.npy gen.npy",
        "divmatch kl real.npy gen.npy --both --unit bits",
        "divmatch kl real.npy gen.npy --method knn -k 3",
        "divmatch kl real.npy gen.npy --method gaussian -f json",
        "divmatch kl real.npy --log-q logq.npy",
    ),
)

RENYI = Quantity(
    "renyi",
    title=lambda settings: (
        f"{'Tsallis' if settings.get('tsallis') else 'Renyi'}({settings['alpha']:g})"
    ),
    unit=lambda settings: "1" if settings.get("tsallis") else "nats",
    nats=True,
    direction="P||Q",
    default="auto",
    degenerate=True,
    examples=(
        "divmatch renyi real.npy gen.npy --alpha 2",
        "divmatch renyi real.npy gen.npy --alpha 0.5,2 -f json",
    ),
)

FDIV = Quantity(
    "fdiv",
    title="{kind}",
    unit=lambda settings: generator(settings["kind"]).unit,
    nats=True,
    direction="P||Q",
    default="auto",
    degenerate=True,
    examples=(
        "divmatch fdiv real.npy gen.npy --kind js",
        "divmatch fdiv real.npy gen.npy --kind js,tv,hellinger -f json",
    ),
)


def kind_name(text: str) -> str:
    """Check the name of an f-divergence and spell it the usual way."""
    return generator(text).name


Kind = Annotated[
    str,
    Setting(
        "which f-divergence: js, tv, hellinger, chi2, alpha:A, ...", parse=kind_name, many=True
    ),
]
Order = Annotated[
    float,
    Setting("order of the divergence; 1 is KL", above=0, infinite=True, many=True),
]
Tsallis = Annotated[
    bool,
    Setting("report the Tsallis divergence (I - 1)/(a - 1) instead of ln(I)/(a - 1)"),
]

NeighbourNumber = Annotated[
    int | Literal["auto"],
    Setting(
        "number of nearest neighbours; auto is 5 for distances, sqrt(min(n, m)) for labels", least=1
    ),
]

# one default in all methods: those of a command share their options
KIND = "js"
ORDER = 2.0
