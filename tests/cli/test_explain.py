"""`divmatch explain`: what it prints, writes and decides."""

import csv
import io
import json
from importlib.resources import files

import jsonschema
import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from divmatch.estimators.explanation import explained
from divmatch.samples import as_samples
from tests.reference.explanation import witness
from tests.tolerances import ROUNDING

WITNESS = "energy witness"


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Orders before and after: other devices, larger amounts on one of them, gaps in the age."""
    made = tmp_path_factory.mktemp("explain")
    for name, n, seed, ios in (("p", 400, 0, 0.3), ("q", 500, 1, 0.55), ("same", 300, 2, 0.3)):
        rng = np.random.default_rng(seed)
        device = rng.choice(["ios", "android", "web"], n, p=[ios, 0.9 - ios, 0.1])
        amount = np.round(np.exp(rng.normal(size=n) + (name == "q") * (device == "ios")) * 20, 2)
        age = np.round(rng.normal(40, 10, n))
        age[rng.random(n) < 0.03] = np.nan
        table = {
            "amount": amount,
            "age": pa.array(age, from_pandas=True),
            "device": device,
            "mass": rng.random(n),
        }
        parquet.write_table(pa.table(table), made / f"{name}.parquet")
        np.save(made / f"{name}.npy", np.column_stack([amount, rng.normal(size=n)]))
    np.save(made / "few.npy", np.arange(10.0).reshape(5, 2))
    return made


@pytest.fixture
def explain(here, tables, monkeypatch):
    """Run it in the folder of the tables, on amount and device unless told otherwise."""

    def start(line):
        monkeypatch.chdir(tables)
        return here(f"explain {line}")

    return start


PAIR = "p.parquet q.parquet --columns amount,device"


def results(printed):
    return {row["id"]: row for row in json.loads(printed)["results"]}


def test_text_has_the_whole_the_columns_and_the_rules(explain):
    code, printed, errors = explain(PAIR)
    lines = printed.splitlines()
    assert (code, errors) == (0, "")
    assert lines[0].startswith("difference of p.parquet and q.parquet  0.0")
    assert "p = 0.005 (199 permutations)   n = 400, 500   d = 2" in lines[0]
    assert lines[1].startswith("marginals explain ")
    assert {line.split()[0] for line in lines[4:6]} == {"amount", "device"}
    assert any("ios 26." in line and "-> 57%" in line for line in lines)
    rule = next(line for line in lines if " x more mass [" in line)
    assert "device = ios" in rule


def test_json_follows_the_schema_and_adds_up(explain):
    printed = explain(f"{PAIR} -f json")[1]
    schema = json.loads(files("divmatch").joinpath("result.schema.json").read_text())
    jsonschema.validate(json.loads(printed), schema)
    found = results(printed)
    shares = [found[f"share:column={name}"]["value"] for name in ("amount", "device")]
    assert sum(shares) == pytest.approx(1.0)
    parts = [found[f"share:part={part}"]["value"] for part in ("marginal", "dependence")]
    assert sum(parts) == pytest.approx(1.0)
    assert found["share:column=device"]["params"]["word"] == "ios"
    assert found["share:column=amount"]["columns"] == ["amount"]
    assert all(one["ci"]["low"] <= one["value"] <= one["ci"]["high"] for one in found.values())


def test_the_whole_is_that_of_the_estimator(explain, tables):
    x, y = (np.load(tables / f"{name}.npy") for name in "pq")
    expected = explained(as_samples(x, "x"), as_samples(y, "y"), bins=6, seed=3)
    found = results(explain("p.npy q.npy --bins 6 --seed 3 -f json")[1])
    assert found["difference"]["value"] == expected.whole.value
    assert found["share:column=0"]["se"] == expected.effects[0].shares[0].se


def test_scale_is_no_matter_of_ranks(explain):
    one, other = (
        explain(f"p.npy q.npy --scale {s} -f json --no-run")[1] for s in ("none", "ref-sd")
    )
    assert one == other


def test_csv_and_markdown_name_every_number(explain):
    rows = list(csv.DictReader(io.StringIO(explain(f"{PAIR} -f csv")[1])))
    assert [row["id"] for row in rows[:3]] == [
        "difference",
        "share:part=marginal",
        "share:part=dependence",
    ]
    assert {row["metric"] for row in rows} >= {"difference", "share", "rule"}
    printed = explain(f"{PAIR} -f markdown")[1]
    assert "| share:column=device |" in printed
    assert "| rule:" in printed


def test_value_is_one_bare_number(explain):
    printed = explain(f"{PAIR} -f value")[1]
    assert float(printed) == results(explain(f"{PAIR} -f json")[1])["difference"]["value"]


def test_nothing_to_explain_is_said(explain):
    code, printed, errors = explain("p.parquet same.parquet --columns amount,device")
    assert code == 0
    assert printed.splitlines()[1].startswith("nothing to explain: ")
    assert "column " not in printed.splitlines()[2:]
    assert errors.startswith("divmatch: warning[W76]: nothing to explain")
    found = results(explain("p.parquet same.parquet --columns amount,device -q -f json")[1])
    assert not any(one["metric"] in ("share", "dependence") for one in found.values())


def test_without_permutations_the_interval_decides(explain):
    found = results(explain(f"{PAIR} -B 0 -f json")[1])
    assert found["difference"]["test"] is None
    assert "share:column=device" in found
    errors = explain("p.parquet same.parquet --columns amount,device -B 0")[2]
    assert "nothing to explain" in errors


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("p.parquet q.parquet --alpha 0.01", 1),
        ("p.parquet q.parquet --alpha 0.01 --exit-zero", 0),
        ("p.parquet same.parquet --alpha 0.01", 0),
        ("p.parquet q.parquet --max 0.001", 1),
        ("p.parquet q.parquet --max 0.5", 0),
        ("p.parquet q.parquet --min 0.5", 1),
    ],
)
def test_limits_decide_the_exit_code(explain, line, code):
    assert explain(f"{line} --columns amount,device -q")[0] == code


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("p.parquet q.parquet", "p.parquet: column 'age' has"),
        ("p.npy q.npy --rows rows.txt", "--rows rows.txt: expected a name that ends with .parquet"),
        ("p.npy q.npy --rows p.npy/rows.csv", "p.npy/rows.csv: "),
        ("p.npy q.npy -B 9 --alpha 0.01", "--permutations 9: p-values below 1 / 10 cannot occur"),
        ("p.npy q.npy --bins 1", "1"),
        ("p.npy q.parquet", "q.parquet"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line(explain, line, message):
    code, printed, errors = explain(line)
    assert (code in (2, 4), printed, errors.count("\n")) == (True, "", 1)
    assert message in errors


def test_too_few_rows_are_inconclusive(explain):
    code, _, errors = explain("few.npy few.npy")
    assert code == 3
    assert "5 rows by their weights, expected at least 8" in errors


def test_missing_values_are_dropped_filled_or_marked(explain):
    dropped, filled, marked = (
        results(explain(f"p.parquet q.parquet --columns amount,age --na {na} -q -f json")[1])
        for na in ("drop", "mean", "category")
    )
    assert dropped["difference"]["n"][0] < filled["difference"]["n"][0] == 400
    assert marked["share:column=age is missing"]["params"]["word"] == "yes"


def test_a_table_of_categories_alone_is_explained(explain):
    found = results(explain("p.parquet q.parquet --columns device -f json")[1])
    assert found["share:column=device"]["value"] == pytest.approx(1.0)


def test_weights_are_taken(explain):
    line = "p.parquet q.parquet --columns amount,device --weights mass -f json"
    weighted = results(explain(line)[1])["difference"]
    assert weighted["value"] != results(explain(f"{PAIR} -f json")[1])["difference"]["value"]


@pytest.mark.parametrize("ending", ["csv", "parquet", "npz"])
def test_rows_have_the_witness_of_plain_loops(explain, tables, ending):
    line = f"p.npy q.npy --sample 12 --rows rows.{ending} --scale none -q"
    assert explain(line)[0] == 0
    path = tables / f"rows.{ending}"
    if ending == "npz":
        with np.load(path) as made:
            rows = [(role, made[f"row_{role}"], made[f"witness_{role}"]) for role in "pq"]
    else:
        table = parquet.read_table(path).to_pylist() if ending == "parquet" else None
        table = table or list(csv.DictReader(path.read_text().splitlines()))
        rows = [
            (
                role,
                np.array([int(r["row"]) for r in table if r["role"] == role]),
                np.array([float(r[WITNESS]) for r in table if r["role"] == role]),
            )
            for role in "pq"
        ]
    (x, y) = (np.load(tables / f"{role}.npy")[numbers] for role, numbers, _ in rows)
    for (_, _, found), block, own in zip(rows, (x, y), "xy", strict=True):
        expected = [witness(z, x, y, own) for z in block]
        assert found == pytest.approx(expected, abs=ROUNDING(100, scale=1000.0))


def test_the_same_seed_prints_the_same(explain):
    one, other, third = (explain(f"{PAIR} -f json --no-run --seed {s}")[1] for s in (1, 1, 2))
    assert one == other != third


def test_top_limits_what_is_shown(explain):
    printed = explain(f"{PAIR} --top 1")[1]
    assert "1 more column: " in printed
    assert printed.count(" mass [") <= 1


def test_python_says_the_same(tables):
    import divmatch

    x, y = (np.load(tables / f"{name}.npy") for name in "pq")
    found = divmatch.explain(x, y, bins=6)
    assert found.parts.whole == explained(as_samples(x, "x"), as_samples(y, "y"), bins=6).whole
    assert found.rules[0].columns == ("0",)
    assert found.test.p_value == 0.005
