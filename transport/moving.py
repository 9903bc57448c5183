"""`divmatch match flow`: what its methods share."""

from typing import Annotated, Literal

from divmatch.matcher import Task
from divmatch.settings import Setting

Steps = Annotated[int, Setting("most steps", least=1)]
Step = Annotated[
    float,
    Setting("length of a step as a multiple of Polyak's, objective / |velocity|²", above=0, most=2),
]
Dynamics = Annotated[
    Literal["gradient", "langevin"],
    Setting("descent along the gradient, or rows with inertia, friction and noise"),
]
Friction = Annotated[
    float | None, Setting("friction of langevin as a multiple of the critical one (1)", above=0)
]
Temperature = Annotated[
    float | None,
    Setting("energy of langevin's noise as a share of the objective (0.1)", least=0, below=1),
]
Momentum = Annotated[
    float, Setting("share of the last step's direction, of gradient", least=0, below=1)
]
Tol = Annotated[
    float,
    Setting(
        "objective at which it stops, in units of what samples of one distribution have", above=0
    ),
]
Every = Annotated[
    int | None, Setting("keep the rows every so many steps, beside the result in .npz", least=1)
]
Projections = Annotated[int, Setting("directions drawn for each step", least=4)]

FLOW = Task(
    "flow",
    product="points",
    default="sliced-riesz",
    choice="divergence",
    examples=(
        "divmatch match flow gen.npy real.npy -o moved.npy",
        "divmatch match flow gen.npy real.npy --divergence mmd --steps 500 -o moved.npz --every 50",
        "divmatch match flow gen.npy real.npy --divergence mmd --schedule adaptive -o moved.npy",
        "divmatch match flow gen.npy real.npy --dynamics langevin --temperature 0.2 -o moved.npy",
        "divmatch match flow gen.parquet real.parquet --columns amount,age --trace curve.csv -o m.parquet",
    ),
)
