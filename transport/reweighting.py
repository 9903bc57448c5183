"""`divmatch match weights`: what its methods share."""

from divmatch.matcher import Task

WEIGHTS = Task(
    "weights",
    product="weights",
    default="entropy",
    examples=(
        "divmatch match weights real.npy gen.npy -o w.npy",
        "divmatch match weights gen.parquet real.parquet --columns amount,device --moments 2 -o w.npy",
        "divmatch match weights gen.parquet --margins census.toml --columns age,device -o w.npy",
        "divmatch match weights gen.npy real.npy --method ratio:ulsif -o w.npy",
        "divmatch match weights gen.npy real.npy --method mmd --beyond 200 -o w.npz",
    ),
)
