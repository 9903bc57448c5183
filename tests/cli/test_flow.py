"""`divmatch match flow`: options of its own, and units of what it writes."""

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

FAST = "--metric none -q"


@pytest.fixture(scope="module")
def files(data):
    rng = np.random.default_rng(5)
    for name, shift in (("old", 0.0), ("new", 2.0)):
        table = {
            "id": [f"{name}{k}" for k in range(60)],
            "amount": 1000 * (rng.normal(size=60) + shift),
            "score": rng.normal(size=60) - shift,
        }
        parquet.write_table(pa.table(table), data / f"{name}.parquet")
    return data


def test_divergence_is_the_method(here, files):
    code, printed, _ = here("match flow p.npy q.npy --divergence energy -o moved.npy -q")
    assert code == 0
    assert "\nenergy " in printed


def test_settings_choose_the_method(here):
    assert "\nmmd " in here("match flow p.npy q.npy --kernel gaussian -q")[1]


def test_moved_rows_of_a_table_have_its_units_and_other_columns(here, files):
    line = f"match flow old.parquet new.parquet --columns amount,score -o moved.parquet {FAST}"
    assert here(line)[0] == 0
    moved, new = (parquet.read_table(files / f"{name}.parquet") for name in ("moved", "new"))
    assert moved.column_names == ["id", "amount", "score"]
    for name, unit in (("amount", 1000), ("score", 1)):
        gap = moved[name].to_numpy().mean() - new[name].to_numpy().mean()
        assert abs(gap) < 0.3 * unit


def test_words_cannot_be_moved(here, files):
    code, printed, errors = here("match flow old.parquet new.parquet --columns id,score")
    assert (code, printed) == (2, "")
    assert "words and missing values cannot be moved" in errors


def test_rows_on_the_way_are_in_npz(here, data):
    code, *_ = here(f"match flow p.npy q.npy --every 1 --tol 0.1 -o moved.npz {FAST}")
    assert code == 0
    with np.load(data / "moved.npz") as made:
        assert made["snapshots"].shape[1:] == made["points"].shape
        assert made["snapshots"][-1] == pytest.approx(made["points"])
        assert made["snapshot_steps"].tolist() == list(range(1, len(made["snapshots"]) + 1))


def test_rows_on_the_way_need_npz(here):
    code, _, errors = here("match flow p.npy q.npy --every 10 -o moved.npy")
    assert code == 2
    assert "-o FILE.npz" in errors


def test_trace_has_a_line_for_every_step(here, data):
    assert here(f"match flow p.npy q.npy --tol 0.1 --trace trace.csv {FAST}")[0] == 0
    lines = (data / "trace.csv").read_text().splitlines()
    assert lines[0] == "iteration,objective,moved"
    assert len(lines) > 3


def test_limit_on_a_flow_that_was_not_converged_is_inconclusive(here):
    code, _, errors = here("match flow p.npy q.npy --steps 1 --tol 1e-6 --max 100")
    assert code == 3
    assert "W86" in errors
