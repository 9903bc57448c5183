"""The files that the README's pipelines and the examples of the commands name."""

from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet
from sklearn.datasets import load_diabetes


def prepare(folder: Path) -> None:
    """Write them into a folder, the same numbers every time."""
    rng = np.random.default_rng(0)
    np.save(folder / "real.npy", rng.normal(size=(400, 4)))
    real = np.load(folder / "real.npy")  # and the log-density of a standard normal at its rows
    np.save(folder / "logq.npy", -0.5 * (real**2).sum(axis=1) - 2 * np.log(2 * np.pi))
    np.save(folder / "gen.npy", rng.normal(0.3, 1.0, size=(300, 4)))
    np.save(folder / "other.npy", rng.normal(size=(350, 4)))
    np.save(folder / "scores.npy", -real)  # of the standard normal that they come from
    np.savez(
        folder / "mixture.npz",
        weights=np.array([0.5, 0.5]),
        means=np.vstack([np.zeros(4), np.ones(4)]),
        covariances=np.ones(2),
    )
    np.savez(
        folder / "other-mixture.npz",
        weights=np.array([0.25, 0.75]),
        means=np.vstack([np.zeros(4), np.full(4, 2.0)]),
        covariances=np.ones((2, 4)),
        n=300,
    )
    _rows(folder)
    (folder / "gen").mkdir()
    for step, shift in ((100, 1.0), (200, 0.5), (300, 0.1)):
        np.save(folder / "gen" / f"step-{step}.npy", rng.normal(shift, 1.0, size=(300, 4)))
    (folder / "census.toml").write_text(
        "[age]\nmean = 45\n[device]\nios = 40\nandroid = 35\nweb = 25\n"
    )
    (folder / "ci.toml").write_text("[defaults]\nseed = 1\n")
    for name, shift, gaps in (("real", 0.0, 0), ("gen", 0.4, 0), ("new", 0.4, 5)):
        parquet.write_table(_orders(rng, shift, gaps), folder / f"{name}.parquet")
    _map(folder)
    _visits(rng, folder)
    _patients(folder)
    for name, rows in (("train", 300), ("test", 200)):
        np.save(folder / f"{name}.npy", rng.normal(size=(rows, 4)))
    _models(folder)


def _models(folder: Path) -> None:
    """Two embeddings of the same things, classes, a latent space, margins of models."""
    rng = np.random.default_rng(2)
    text = rng.normal(size=(120, 6))
    np.save(folder / "text.npy", text)
    np.save(folder / "image.npy", text[:, :4] + rng.normal(0.0, 0.5, size=(120, 4)))
    np.save(folder / "classes.npy", np.arange(300) % 3)
    np.save(folder / "means.npy", rng.normal(0.0, 0.8, size=(150, 2)))
    np.save(folder / "sds.npy", np.full((150, 2), 0.6))
    np.save(folder / "logvars.npy", np.full((150, 2), 2 * np.log(0.6)))
    for name, shift in (("unlearned", 0.3), ("oracle", 0.0)):
        np.save(folder / f"{name}.npy", rng.normal(shift, 1.0, size=(60, 40)))


def _map(folder: Path) -> None:
    """A map of amounts and ages: one to three quarters of itself, the other as it is."""
    np.savez(
        folder / "map.npz",
        format="divmatch map 1",
        kind="gaussian",
        columns=np.array(["amount", "age"]),
        cost="sqeuclidean",
        scale="none",
        low=np.zeros(2),
        high=np.full(2, 100.0),
        map_mean=np.zeros(2),
        map_target=np.zeros(2),
        map_factor=np.diag(np.sqrt([0.75, 1.0])),
    )


def _visits(rng: np.random.Generator, folder: Path) -> None:
    """Patients before and after; visits in sessions at sites, of an old and a new page."""
    before = rng.normal(size=(60, 2))
    for name, rows in (("before", before), ("after", before + rng.normal(0.1, 0.3, (60, 2)))):
        table = np.column_stack([np.arange(60), rows])
        np.savetxt(folder / f"{name}.csv", table, "%.6g", ",", header="patient,x,y", comments="")
    for first, name in ((0, "visits-old"), (40, "visits-new")):
        session = np.repeat(np.arange(first, first + 40), 3)
        table = {"session": session, "site": session % 2, "seconds": rng.exponential(9.0, 120)}
        parquet.write_table(pa.table(table), folder / f"{name}.parquet")


def _patients(folder: Path) -> None:
    """Real patients: volunteers, the likelier the older and the heavier, and the register of the others."""
    table = load_diabetes(scaled=False).data[:, [0, 2, 3]]
    rng = np.random.default_rng(3)
    age, bmi, _ = ((table - table.mean(0)) / table.std(0)).T
    came = rng.random(len(table)) < 1 / (1 + np.exp(0.3 - 0.6 * age - 0.5 * bmi))
    for name, rows in (("volunteers", table[came]), ("register", table[~came])):
        columns = dict(zip(("age", "bmi", "bp"), rows.T, strict=True))
        parquet.write_table(pa.table(columns), folder / f"{name}.parquet")


def _orders(rng: np.random.Generator, shift: float, gaps: int) -> pa.Table:
    """Amounts, the last few missing; an age, a device, a row weight."""
    amount = rng.lognormal(3 + shift, 0.5, size=300)
    return pa.table(
        {
            "amount": pa.array([*amount[: 300 - gaps], *[None] * gaps]),
            "age": rng.integers(18, 80, 300),
            "device": pa.array(rng.choice(["ios", "android", "web"], 300)),
            "weight": rng.uniform(0.5, 1.5, 300),
        }
    )


def _rows(folder: Path) -> None:
    """Logits and probabilities of a teacher and a student, a mask, chosen probabilities."""
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(200, 8))
    for name, rows in (("t", logits), ("s", logits + rng.normal(0.0, 0.3, size=(200, 8)))):
        np.save(folder / f"z{name}.npy", rows)
        masses = np.exp(rows) / np.exp(rows).sum(axis=1, keepdims=True)
        np.save(folder / ("teacher.npy" if name == "t" else "student.npy"), masses)
    np.save(folder / "mask.npy", np.arange(200) % 5 > 0)
    np.save(folder / "eps.npy", rng.uniform(0.001, 0.2, size=200))
