"""`divmatch marginals`: which columns meet, what is missing, limits, parts, formats."""

import csv
import io
import json

import jsonschema
import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from scipy import stats

from divmatch.files import read_parts
from divmatch.kernels.execution import executing
from divmatch.tables import Reading


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Mixed tables of 400 and 300 rows; in q amounts, devices and gaps differ, and one column is empty."""
    made = tmp_path_factory.mktemp("marginals")
    for name, n, moved in (("p", 400, 0.0), ("q", 300, 0.5), ("same", 300, 0.0)):
        rng = np.random.default_rng(n)
        age = np.round(rng.normal(40, 10, n))
        age[rng.random(n) < 0.02 + moved / 5] = np.nan
        shares = [0.3 + moved / 2, 0.5 - moved / 2, 0.2]
        table = pa.table(
            {
                "amount": np.exp(rng.normal(size=n) + moved),
                "age": pa.array(age, from_pandas=True),
                "device": rng.choice(["ios", "android", "web"], n, p=shares),
                "emb": pa.array(list(rng.normal(size=(n, 2)))),
                "a, b*": rng.random(n) < 0.3,
            }
        )
        parquet.write_table(table, made / f"{name}.parquet")
        flat = table.drop_columns(["emb"])
        (made / f"{name}.csv").write_text(csv_of(flat))
    lost = parquet.read_table(made / "q.parquet").drop_columns(["device"])
    parquet.write_table(lost, made / "lost.parquet")
    empty = lost.append_column("device", pa.nulls(300))
    parquet.write_table(empty, made / "empty.parquet")
    infinite = lost.append_column("device", pa.array([np.inf] * 300))
    parquet.write_table(infinite, made / "number.parquet")
    return made


def csv_of(table):
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(table.column_names)
    for row in table.to_pylist():
        writer.writerow(["" if value is None else value for value in row.values()])
    return buffer.getvalue()


@pytest.fixture
def marginals(here, tables, monkeypatch):
    """Run it in the folder of the tables."""

    def start(line):
        monkeypatch.chdir(tables)
        return here(f"marginals {line}")

    return start


def results(printed):
    return {row["id"]: row for row in map(json.loads, printed.splitlines())}


def column(name, of):
    values = parquet.read_table(of / f"{name[0]}.parquet").column(name[1]).to_numpy()
    return values[~np.isnan(values)]


def test_each_column_has_the_statistics_of_its_kind(marginals):
    found = results(marginals("p.parquet q.parquet -f ndjson")[1])
    of = {
        "number": ("w1", "ks", "js", "psi", "missing"),
        "category": ("js", "psi", "chi2", "missing"),
    }
    kinds = dict.fromkeys(("amount", "age", "emb[0]", "emb[1]", "a, b*"), "number")
    kinds["device"] = "category"
    expected = {f"{name}:column={c}" for c, kind in kinds.items() for name in of[kind]}
    assert set(found) == expected
    assert all(row["columns"] == [row["params"]["column"]] for row in found.values())


def test_numbers_are_those_of_the_raw_columns(marginals, tables):
    found = results(marginals("p.parquet q.parquet -f ndjson")[1])
    x, y = column(("p", "age"), tables), column(("q", "age"), tables)
    ks = found["ks:column=age"]
    assert ks["test"]["p_value"] == pytest.approx(stats.ks_2samp(x, y).pvalue)
    assert ks["n"] == [len(x), len(y)]
    unit = np.subtract(*np.quantile(x, [0.75, 0.25]))
    assert found["w1:column=age"]["value"] == pytest.approx(stats.wasserstein_distance(x, y) / unit)


def test_categories_are_categories(marginals, tables):
    found = results(marginals("p.parquet q.parquet -f ndjson --columns device")[1])
    counts = [
        [
            parquet.read_table(tables / f"{t}.parquet").column("device").to_pylist().count(w)
            for w in ("ios", "android", "web")
        ]
        for t in "pq"
    ]
    expected = stats.chi2_contingency(counts, correction=False)
    assert found["chi2:column=device"]["value"] == pytest.approx(expected.statistic)


def test_p_values_are_adjusted_over_the_run(marginals):
    found = results(marginals("p.parquet q.parquet -f ndjson --adjust bh")[1])
    tests = [row["test"] for row in found.values() if row["test"]]
    raw = [test["p_value"] for test in tests]
    assert [t["p_adjusted"] for t in tests] == pytest.approx(stats.false_discovery_control(raw))


def test_missing_values_are_counted_or_said(marginals):
    code, printed, errors = marginals("p.parquet q.parquet --columns age --statistics ks -f ndjson")
    (row,) = results(printed).values()
    gone = row["params"]["missing"]
    assert gone[1] > gone[0] > 0
    assert (row["status"], row["warnings"][0]["code"]) == ("warn", "W35")
    assert f"lacks {gone[0]} and {gone[1]} values" in errors
    assert marginals("p.parquet q.parquet --columns age -q")[0] == code == 0


def test_a_column_that_is_empty_now_is_missing_and_without_numbers(marginals):
    code, printed, _ = marginals("p.parquet empty.parquet --columns device -f ndjson -q")
    found = results(printed)
    assert code == 3
    assert found["missing:column=device"]["value"] == 1.0
    assert found["chi2:column=device"]["status"] == "inconclusive"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("p.parquet lost.parquet", "lost.parquet: lacks 'device', compared with p.parquet"),
        ("lost.parquet p.parquet", "p.parquet: has 'device' in addition"),
        ("p.parquet number.parquet", "column 'device' holds numbers, but categories in p.parquet"),
        (
            "number.parquet number.parquet",
            "column 'device' has 300 infinite values, first at row 0",
        ),
        ("p.parquet q.parquet --columns !nothing", "excluded column 'nothing' not found"),
        ("p.parquet q.parquet --statistics kss", "--statistics kss: expected one of w1, ks"),
        ("p.parquet q.parquet --statistics ks,ks", "each once"),
        ("p.parquet q.parquet --max 1", "--max: holds for one statistic"),
        ("p.parquet q.parquet --columns device --statistics ks", "no column has one of them"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(marginals, line, message):
    code, printed, errors = marginals(line)
    assert (code, printed, errors.count("\n")) == (2, "", 1)
    assert message in errors


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("p.parquet same.parquet --alpha 0.01", 0),
        ("p.parquet q.parquet --alpha 0.01", 1),
        ("p.parquet q.parquet --alpha 0.01 --exit-zero", 0),
        ("p.parquet q.parquet --statistics psi --max 0.1", 1),
        ("p.parquet q.parquet --statistics psi --max 9", 0),
    ],
)
def test_limits_decide_the_exit_code(marginals, line, code):
    found, printed, _ = marginals(f"{line} -q")
    assert found == code
    assert "rules passed" in printed


def test_the_table_begins_with_what_changed_most(marginals):
    lines = marginals("p.parquet q.parquet --columns amount,emb,device -q")[1].splitlines()
    assert {line.split()[0] for line in lines[1:3]} == {"amount", "device"}
    assert "P=p.parquet, Q=q.parquet; 4 columns" in lines[5]


def test_text_tables_have_the_numbers_of_parquet(marginals):
    names = ("amount", "age", "device")
    found = [
        results(marginals(f"p.{kind} q.{kind} -q -f ndjson --columns {','.join(names)}")[1])
        for kind in ("csv", "parquet")
    ]
    assert found[0] == found[1]


@pytest.mark.parametrize("shape", [(), (4, 3, 2)])
def test_arrays_that_are_no_tables_are_refused(here, data, shape):
    np.save(data / "shape.npy", np.zeros(shape))
    code, _, errors = here("marginals p.npy shape.npy")
    assert (code, f"shape.npy: has shape {shape}, expected rows" in errors) == (2, True)


def test_arrays_meet_by_position(here):
    found = results(here("marginals p.npy q.npy -q -f ndjson --columns 1,3")[1])
    x, y = np.load("p.npy")[:, 3], np.load("q.npy")[:, 3]
    expected = stats.ks_2samp(x, y)
    assert found["ks:column=3"]["test"]["p_value"] == pytest.approx(expected.pvalue)
    assert not any(name.endswith("=0") for name in found)


@pytest.mark.parametrize("extra", ["", " --alpha 0.5 --no-run"])
def test_json_follows_the_schema(marginals, extra):
    from importlib.resources import files

    document = json.loads(marginals(f"p.parquet empty.parquet -q -f json{extra}")[1])
    schema = json.loads(files("divmatch").joinpath("result.schema.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(document)


def test_flat_rows_name_the_column_and_the_adjusted_p_value(marginals):
    printed = marginals("p.parquet q.parquet -q -f csv")[1]
    row = next(r for r in csv.DictReader(io.StringIO(printed)) if r["id"] == "ks:column=amount")
    assert row["columns"] == "amount"
    assert float(row["p_adjusted"]) > float(row["p_value"])


def test_size_of_the_parts_and_threads_change_no_byte(marginals, monkeypatch):
    line = "p.parquet q.parquet -q -f json --no-run"
    whole = marginals(f"{line} -j 1")[1]
    monkeypatch.setattr("divmatch.cli.marginal_columns.PART_BYTES", 1)
    assert marginals(f"{line} -j 2")[1] == whole != ""


def test_a_part_holds_its_own_columns_only(tables):
    parts = read_parts(str(tables / "p.parquet"), Reading())
    assert parts.read(["age", "a, b*"]).names == ("age", "a, b*")
    with executing(memory=1 << 14):
        from divmatch.cli.marginal_columns import parts_of

        names = [(name, name) for name in parts.names]
        assert len(list(parts_of(names, [parts, parts]))) == 5


def test_a_random_part_of_the_rows_is_the_same_in_every_column(tables):
    parts = read_parts(str(tables / "p.parquet"), Reading(sample=50))
    picked = [parts.read([name]).picked.tolist() for name in ("age", "device")]
    assert picked[0] == picked[1]


def test_help_keeps_its_table(here):
    lines = here("marginals --help")[1].splitlines()
    starts = [line.split()[0] for line in lines if line.startswith("    ") and line[4] != " "]
    assert {"w1", "ks", "cvm", "chi2", "missing"} <= set(starts)
