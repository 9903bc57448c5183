"""Transport plans as outputs of `divmatch ot` and `divmatch sinkhorn`."""

import json

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from divmatch.transport.plans import LEFT_OUT
from tests.tolerances import ROUNDING, SAME


@pytest.mark.parametrize(
    ("line", "p"),
    [
        ("ot p.npy q.npy", 2),
        ("ot line-p.npy line-q.npy -p 1", 1),
        ("sinkhorn near.npy near.npy --no-debiased", 2),
    ],
)
def test_saved_plan_costs_what_the_result_says(here, data, tmp_path, line, p):
    code, printed, _ = here(f"{line} -q -f json -o {tmp_path}/plan.npz")
    assert code == 0
    result = json.loads(printed)["results"][0]
    with np.load(tmp_path / "plan.npz", allow_pickle=False) as saved:
        held = dict(saved)
    x, y = (np.load(data / name) for name in line.split()[1:3])
    x, y = (rows.reshape(len(rows), -1) for rows in (x, y))
    costs = cdist(x, y)[held["row"], held["col"]] ** p
    expected = result["params"].get("cost_of_plan", result["value"] ** p)
    assert held["mass"] @ costs == pytest.approx(expected, rel=100 * held["left_out"] + 1e-12)
    sums = np.bincount(held["row"], held["mass"], len(x))
    assert sums == pytest.approx(held["weights_p"], abs=held["left_out"] + ROUNDING(500))
    assert len(held["row"]) == result["params"]["plan_pairs"]


def test_a_saved_plan_changes_no_number(here, tmp_path):
    line = "ot line-p.npy line-q.npy -p 1 -q -f json --no-run"
    plain, saved = (json.loads(here(line + rest)[1]) for rest in ("", f" -o {tmp_path}/a.npz"))
    assert saved["results"][0]["value"] == plain["results"][0]["value"]
    assert saved["results"][0]["se"] == pytest.approx(plain["results"][0]["se"], rel=1e-9)


def test_same_plan_same_bytes(here, tmp_path):
    files = [tmp_path / f"{k}.npz" for k in range(2)]
    for path in files:
        here(f"ot p.npy q.npy -q -o {path}")
    assert SAME(*(np.frombuffer(path.read_bytes(), dtype=np.uint8) for path in files))


def test_what_does_not_fit_is_left_out_aloud(here, tmp_path, monkeypatch):
    from divmatch.transport import entropic_plan

    monkeypatch.setattr(entropic_plan, "PAIR_BYTES", 1 << 16)
    line = f"sinkhorn near.npy near.npy --no-debiased --max-memory 64MiB -o {tmp_path}/plan.npz -f json"
    code, printed, said = here(line)
    result = json.loads(printed)["results"][0]
    assert code == 0
    assert "warning[W46]: pairs of up to" in said
    assert "W46" in [note["code"] for note in result["warnings"]]
    left_out = float(np.load(tmp_path / "plan.npz")["left_out"])
    assert left_out == result["params"]["plan_left_out"] > LEFT_OUT


@pytest.mark.parametrize("setting", ["--debias", "--columnwise"])
def test_many_plans_are_refused_before_the_work(here, tmp_path, setting):
    code, _, said = here(f"ot p.npy q.npy {setting} -o {tmp_path}/plan.npz")
    assert code == 2
    assert said.startswith(f"divmatch: error: -o {tmp_path}/plan.npz: {setting} takes")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("sliced p.npy q.npy", "a plan for each direction"),
        ("frechet p.npy q.npy", "match map --method gaussian"),
        ("ot p.npy q.npy --federated", "--federated has no plan of the rows"),
    ],
)
def test_where_there_is_no_plan_it_is_said_why(here, tmp_path, line, why):
    code, _, said = here(f"{line} -o {tmp_path}/plan.npz")
    assert (code, said.count("\n")) == (2, 1)
    assert why in said
    assert not list(tmp_path.iterdir())


def test_orlicz_plan_is_saved_with_its_norm(here, tmp_path):
    code, printed, _ = here(f"ot p.npy q.npy --orlicz exp -q -f value -o {tmp_path}/plan.npz")
    assert code == 0
    with np.load(tmp_path / "plan.npz", allow_pickle=False) as saved:
        assert float(printed) == saved["norm"]
        assert saved["total_cost"] == pytest.approx(1.0, abs=1e-10)
        assert str(saved["orlicz"]) == "exp"


def test_other_commands_have_no_plan(here, tmp_path):
    code, _, said = here(f"energy p.npy q.npy -o {tmp_path}/plan.npz")
    assert code == 2
    assert "no format has the suffix '.npz'" in said


def test_eps_is_rounded_in_text_alone(here):
    line = "sinkhorn near.npy near.npy --no-debiased -q"
    assert len(here(line)[1].partition("eps=abs:")[2].split()[0]) <= 6
    held = json.loads(here(f"{line} -f json")[1])["results"][0]["params"]["eps"]
    assert len(held) > 12


def test_a_long_sinkhorn_tells_its_sweeps(here, data):
    rng = np.random.default_rng(0)
    for name in ("many-p", "many-q"):
        np.save(data / f"{name}.npy", rng.normal(size=(1_100, 2)))
    line = "sinkhorn many-p.npy many-q.npy --eps 1 --tol 1e-2 -q -f value --progress "
    errors = here(line + "json")[2]
    events = [json.loads(event) for event in errors.splitlines()]
    assert [event["done"] for event in events] == list(range(1, len(events) + 1))
    assert events[-1]["item"].startswith("1,100 x 1,100 rows, eps ")
    assert here(line + "never")[2] == ""
