"""`divmatch match plan`: pairs of rows as tables, what is said of them."""

import csv
import io
import json
import re

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

import divmatch
from tests.tolerances import SAME

LINE = "match plan near.npy p.npy"
NAMES = ["row_p", "row_q", "mass", "cost"]


def test_every_file_holds_the_same_pairs(here, data, tmp_path):
    names = ["a.csv", "a.tsv", "a.parquet", "a.npz"]
    outputs = " ".join(f"-o {tmp_path / name}" for name in names)
    code, printed, errors = here(f"{LINE} --one-to-one {outputs}")
    assert (code, errors) == (0, "")
    assert re.fullmatch(
        r"plan for near\.npy \(200 rows\) to match p\.npy: cost 7\.99 -> 0\.0\d+\n"
        r"200 pairs with 1 of the mass   least cost 0\.0\d+ \(proven\)   "
        r"300 rows of Q without a partner\nexact cost=sqeuclidean p=1 one_to_one=True   converged\n",
        printed,
    )
    couples = divmatch.match.plan(
        np.load(data / "near.npy"), np.load(data / "p.npy"), one_to_one=True
    ).couples
    expected = [couples.rows, couples.columns, couples.masses, couples.costs]
    rows = list(csv.reader(io.StringIO((tmp_path / "a.csv").read_text())))
    assert rows[0] == NAMES
    assert SAME(np.array(rows[1:], dtype=float), np.array(expected).T)
    assert (tmp_path / "a.tsv").read_text() == (tmp_path / "a.csv").read_text().replace(",", "\t")
    table = parquet.read_table(tmp_path / "a.parquet")
    assert table.column_names == NAMES
    with np.load(tmp_path / "a.npz", allow_pickle=False) as saved:
        for name, values in zip(NAMES, expected, strict=True):
            assert table[name].to_pylist() == values.tolist() == saved[name].tolist()
        assert saved["f"].shape == (200,)


def test_near_rows_find_their_originals(here):
    """near.npy is the first 200 rows of p.npy with a little noise."""
    code, printed, _ = here(f"{LINE} --one-to-one -f csv")
    rows = list(csv.DictReader(io.StringIO(printed)))
    assert code == 0
    assert np.mean([row["row_p"] == row["row_q"] for row in rows]) > 0.9


def test_rows_are_counted_as_in_the_file(here, data, tmp_path):
    values = np.load(data / "p.npy")[:20, 0].tolist()
    table = pa.table({"a": [None, None, *values]})
    parquet.write_table(table, data / "with-gaps.parquet")
    parquet.write_table(pa.table({"a": values}), data / "without-gaps.parquet")
    code, _, _ = here(
        f"match plan with-gaps.parquet without-gaps.parquet --na drop -q -o {tmp_path}/a.csv"
    )
    rows = list(csv.DictReader(io.StringIO((tmp_path / "a.csv").read_text())))
    assert code == 0
    assert all(int(row["row_p"]) == int(row["row_q"]) + 2 for row in rows)


def test_top_k_of_the_entropic_plan(here):
    code, printed, _ = here(f"{LINE} --method sinkhorn --top-k 3 -f csv -q")
    rows = list(csv.DictReader(io.StringIO(printed)))
    assert code == 0
    assert [int(row["row_p"]) for row in rows] == [k // 3 for k in range(600)]


def test_report_is_a_result_and_limits_are_of_the_cost(here):
    code, printed, _ = here(f"{LINE} -f json --no-run --max 0.001 --decide point")
    held = json.loads(printed)
    assert code == 1
    assert [one["id"] for one in held["results"]] == ["before", "after"]
    assert held["settings"]["fit"]["pairs"] >= 500
    assert held["results"][1]["unit"] == "data unit^2"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (f"{LINE} --one-to-one --weights-q mass.npy", "--one-to-one: pairs rows one by one"),
        (f"{LINE} --one-to-one --method sinkhorn", "has no setting 'one_to_one'; --one-to-one"),
        (f"{LINE} -o a.npy", "no format has the suffix '.npy'"),
        (f"{LINE} --top-k 0", "--top-k 0: expected a whole number at least 1"),
        (f"{LINE} --metric energy", "no such option '--metric'"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(here, data, line, message):
    code, printed, said = here(line)
    assert (code, printed) == (2, "")
    assert message in said
    assert said.count("\n") == 1
    assert not (data / "a.npy").exists()
