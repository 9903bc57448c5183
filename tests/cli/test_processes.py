"""Exit codes, streams, signals and atomic outputs, each in a process of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import numpy as np
import pytest

from tests.docs.data import prepare

DIVMATCH = str(Path(sys.executable).parent / "divmatch")
QUANTITIES = ("kl", "mmd", "energy", "sliced")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("cli")
    prepare(made)
    big = np.random.default_rng(0).normal(size=(30_000, 20))
    np.save(made / "big.npy", big)
    np.save(made / "constant.npy", np.ones((50, 4)))
    return made


def run(folder, *arguments, shell=None, **changes):
    env = {
        **os.environ,
        "PATH": f"{Path(DIVMATCH).parent}{os.pathsep}{os.environ['PATH']}",
    } | changes
    command = ["bash", "-c", shell] if shell else [DIVMATCH, *arguments]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)


# ----------------------------------------------------------------------------------- exit codes


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ("energy real.npy gen.npy", 0),
        ("energy real.npy gen.npy --max 10", 0),
        ("energy real.npy gen.npy --max 0.01", 1),
        ("energy real.npy gen.npy --max 0.01 --exit-zero", 0),
        ("energy real.npy gen.npy --max 0.05", 0),  # the value is above, its lower bound is not
        ("energy real.npy gen.npy --max 0.05 --decide point", 1),
        ("energy real.npy gen.npy --min 10", 1),
        ("energy real.npy other.npy --strict", 2),
        ("energy real.npy", 2),
        ("enrgy real.npy gen.npy", 2),
        ("energy real.npy gen.npy --pwer 1", 2),
        ("energy real.npy gen.npy --power 3", 2),
        ("energy real.npy gen.npy --power nan", 2),
        ("energy real.npy missing.npy", 2),
        ("energy real.npy real.parquet", 2),
        ("energy real.npy gen.npy -o out.xyz", 2),
        ("energy real.npy gen.npy -o absent/out.json", 4),
        ("energy real.npy gen.npy --device gpu", 2),
        ("energy real.npy gen.npy --config absent.toml", 2),
        ("kl real.npy gen.npy --method gaussian -k 3", 2),
        ("score real.npy gen.npy --metrics enrgy", 2),
        ("score real.npy gen.npy missing.npy", 2),
        ("kl constant.npy gen.npy --method gaussian", 3),
        ("kl constant.npy gen.npy --method gaussian --inconclusive pass", 0),
        ("kl constant.npy gen.npy --method gaussian --inconclusive fail", 1),
        ("", 2),
        ("--version", 0),
        ("--help", 0),
    ],
)
def test_exit_code(folder, arguments, code):
    assert run(folder, *arguments.split()).returncode == code


@pytest.mark.parametrize("arguments", ["--help", "energy real.npy gen.npy"])
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_full_disk_is_exit_four(folder, arguments):
    found = run(folder, shell=f"divmatch {arguments} > /dev/full")
    assert (found.returncode, found.stderr.count("\n")) == (4, 1)


def test_bug_is_exit_seventy_and_one_hint(folder, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import divmatch.catalogue as c\n"
        "c.QUANTITIES['energy'] = ('divmatch.no_such_module', 'broken on purpose')\n"
    )
    found = run(folder, "energy", "real.npy", "gen.npy", PYTHONPATH=str(tmp_path))
    assert found.returncode == 70
    assert "Traceback" not in found.stderr
    assert "DIVMATCH_DEBUG=1" in found.stderr
    found = run(
        folder, "energy", "real.npy", "gen.npy", PYTHONPATH=str(tmp_path), DIVMATCH_DEBUG="1"
    )
    assert "Traceback" in found.stderr


def test_closed_pipe_is_quiet(folder):
    shell = "divmatch score real.npy gen/*.npy gen/*.npy -f ndjson -q | head -1 | wc -l; echo ${PIPESTATUS[0]}"
    found = run(folder, shell=shell)
    assert found.stderr == ""
    assert found.stdout.split()[0] == "1"
    assert found.stdout.split()[1] in ("0", "141")


def test_pipe_closed_at_once_dies_of_sigpipe(folder):
    found = run(folder, shell="divmatch energy real.npy gen.npy | true; echo ${PIPESTATUS[0]}")
    assert (found.stdout.strip() in ("141", "0"), found.stderr) == (True, "")


def test_closed_standard_output(folder):
    found = run(folder, shell="divmatch energy real.npy gen.npy >&-; echo code $?")
    assert "Traceback" not in found.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_in_a_kernel_kills_and_leaves_no_file(folder, tmp_path, number):
    out = tmp_path / "out.json"
    command = [DIVMATCH, "mmd", "big.npy", "big.npy", "-o", str(out), "--threads", "2", "-B", "999"]
    child = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)
    time.sleep(3)
    child.send_signal(number)
    _, errors = child.communicate(timeout=30)
    assert child.returncode == -number
    assert "Traceback" not in errors
    assert list(tmp_path.iterdir()) == []


def test_kill_leaves_each_output_absent_or_whole(folder, tmp_path):
    out = tmp_path / "out.json"
    for delay in np.linspace(0.05, 0.9, 12):
        command = [DIVMATCH, "energy", "real.npy", "gen.npy", "-o", str(out), "-q"]
        child = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
        time.sleep(float(delay))
        child.kill()
        child.wait()
        if out.exists():
            assert json.loads(out.read_text())["results"][0]["metric"] == "energy"
            out.unlink()


# -------------------------------------------------------------------------------------- streams


@pytest.mark.parametrize(
    "arguments", ["energy real.npy missing.npy", "energy real.npy gen.npy --powr 1"]
)
def test_an_error_is_one_line_on_stderr_alone(folder, arguments):
    found = run(folder, *arguments.split())
    assert found.stdout == ""
    assert found.stderr.count("\n") == 1
    assert found.stderr.startswith("divmatch: error: ")


@pytest.mark.parametrize("name", QUANTITIES)
def test_success_is_silent_on_stderr(folder, name):
    assert run(folder, name, "real.npy", "gen/step-100.npy").stderr == ""


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        ("enrgy a b", "'energy'"),
        ("energy real.npy gen.npy --permutatons 9", "'--permutations'"),
        ("mmd real.npy gen.npy --kernel gausian", "'gaussian'"),
        ("energy real.parquet gen.parquet --columns amout", "'amount'"),
        ("score real.npy gen.npy --metrics mmd:kernl=laplace", "'kernel'"),
    ],
)
def test_near_misses_are_suggested(folder, arguments, meant):
    assert f"did you mean {meant}" in run(folder, *arguments.split()).stderr


def test_colour_only_on_request(folder):
    command = ["energy", "real.npy", "gen.npy", "--max", "10"]
    assert "\033" not in run(folder, *command).stdout
    assert "\033" in run(folder, *command, "--color", "always").stdout
    assert "\033" not in run(folder, *command, NO_COLOR="1", FORCE_COLOR="").stdout


# ---------------------------------------------------------------------------------- lazy imports


@pytest.mark.parametrize(
    ("arguments", "allowed"),
    [
        (["--help"], set()),
        (["--version"], set()),
        (["energy", "real.npy", "gen.npy"], {"numpy"}),
        (["mmd", "real.npy", "gen.npy"], {"numpy"}),
        (["sliced", "real.npy", "gen.npy"], {"numpy"}),
        (["kl", "real.npy", "gen.npy"], {"numpy"}),
        (["energy", "real.parquet", "missing.parquet"], {"numpy"}),
    ],
)
def test_only_what_is_needed_is_imported(folder, arguments, allowed):
    heavy = (
        "('numpy', 'scipy', 'numba', 'rich', 'sklearn', 'ot', 'pyarrow', 'cupy', 'threadpoolctl')"
    )
    code = (
        "import sys; from divmatch.cli.main import run; run(sys.argv[1:]); "
        f"print('LOADED', *[m for m in {heavy} if m in sys.modules])"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=folder, capture_output=True, text=True
    )
    assert set(found.stdout.rpartition("LOADED")[2].split()) <= allowed


def test_completion_imports_nothing_and_completes(folder):
    found = run(
        folder, _DIVMATCH_COMPLETE="bash_complete", COMP_WORDS="divmatch en", COMP_CWORD="1"
    )
    assert "energy" in found.stdout


# ----------------------------------------------------------------------------------- determinism


@pytest.mark.parametrize("name", [*QUANTITIES, "test", "score"])
def test_same_bytes_for_any_threads_and_run(folder, name):
    command = [name, "real.npy", "gen.npy", "--no-run", "-f", "json", "-q"]
    command += [] if name == "kl" else ["--permutations", "19"]
    found = [run(folder, *command, "--threads", n).stdout for n in ("1", "2", "2")]
    assert found[0] == found[1] == found[2] != ""


def test_random_seed_is_reported(folder):
    assert run(folder, "energy", "real.npy", "gen.npy", "--seed", "random").stderr.startswith(
        "divmatch: seed "
    )


# --------------------------------------------------------------------------------------- formats


@pytest.mark.parametrize("name", [*QUANTITIES, "test", "score"])
def test_json_follows_the_schema(folder, name):
    schema = json.loads(run(folder, "schema", "result").stdout)
    for extra in ([], ["--max", "0.01", "-B", "19"]):
        extra = [*extra, "missing.npy"] if name == "score" else extra
        found = run(folder, name, "real.npy", "gen.npy", "-f", "json", "-q", *extra)
        jsonschema.Draft202012Validator(schema).validate(json.loads(found.stdout))


def test_value_is_the_number_of_the_json(folder):
    bare = run(folder, "energy", "real.npy", "gen.npy", "-f", "value").stdout
    whole = json.loads(run(folder, "energy", "real.npy", "gen.npy", "-f", "json").stdout)
    assert float(bare) == whole["results"][0]["value"]


def test_every_suffix_is_written_whole(folder, tmp_path):
    suffixes = ("json", "ndjson", "csv", "tsv", "md", "txt", "xml", "parquet")
    paths = [tmp_path / f"out.{suffix}" for suffix in suffixes]
    outputs = [word for path in paths for word in ("-o", str(path))]
    run(folder, "energy", "real.npy", "gen.npy", "--max", "0.01", *outputs)
    assert all(path.stat().st_size > 0 for path in paths)
    assert ElementTree.parse(paths[6]).getroot().get("failures") == "1"
    assert paths[7].read_bytes().startswith(b"PAR1")


def test_github_annotates_a_failure(folder):
    found = run(folder, "energy", "real.npy", "gen.npy", "--max", "0.01", "-f", "github")
    assert found.stdout.startswith("::error ")


# ----------------------------------------------------------------------------------------- score


def test_bad_file_is_a_row_and_the_rest_go_on(folder):
    (folder / "broken.npy").write_bytes(b"\x93NUMPY\x01\x00")
    found = run(
        folder, "score", "real.npy", "broken.npy", "gen.npy", "--metrics", "energy", "-f", "ndjson"
    )
    rows = [json.loads(line) for line in found.stdout.splitlines()]
    assert [row["status"] for row in rows] == ["error", "ok"]
    assert found.returncode == 2


def test_rows_appear_as_they_finish(folder):
    command = [
        DIVMATCH,
        "score",
        "real.npy",
        "gen.npy",
        "big.npy",
        "--metrics",
        "energy",
        "-f",
        "ndjson",
    ]
    child = subprocess.Popen(
        [*command, "--columns", "0-3"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert child.stdout is not None
    first = json.loads(child.stdout.readline())
    running = child.poll() is None
    child.kill()
    child.communicate()
    assert (first["sample"], running) == ("gen.npy", True)


def test_score_equals_the_command(folder):
    metrics = "energy,mmd:kernel=laplace,kl:k=3,sliced:p=1"
    found = run(folder, "score", "real.npy", "gen.npy", "--metrics", metrics, "-f", "ndjson", "-q")
    values = [json.loads(line)["value"] for line in found.stdout.splitlines()]
    commands = (
        ["energy"],
        ["mmd", "--kernel", "laplace", "--bandwidth", "reference"],
        ["kl", "-k", "3"],
        ["sliced", "-p", "1"],
    )
    single = [
        float(run(folder, name, "real.npy", "gen.npy", *rest, "-f", "value", "-q").stdout)
        for name, *rest in commands
    ]
    assert values == single


def test_table_is_sorted_by_the_first_metric(folder):
    found = run(
        folder,
        "score",
        "real.npy",
        "gen/step-100.npy",
        "gen/step-300.npy",
        "--metrics",
        "energy",
        "-q",
    )
    assert found.stdout.index("step-300") < found.stdout.index("step-100")


# ----------------------------------------------------------------------------------- configuration


def test_precedence_of_defaults(folder, tmp_path):
    np.save(tmp_path / "x.npy", np.arange(5.0))
    (tmp_path / "divmatch.toml").write_text("[defaults]\nlevel = 0.9\n[energy]\npower = 1.5\n")
    (tmp_path / "other.toml").write_text("[defaults]\nlevel = 0.8\n")

    def level(*arguments, **changes):
        found = run(tmp_path, "energy", "x.npy", "x.npy", "-f", "json", "-q", *arguments, **changes)
        return json.loads(found.stdout)["results"][0]["ci"]["level"]

    assert level() == 0.9
    assert level("--config", "other.toml") == 0.8
    assert level("--config", "other.toml", DIVMATCH_LEVEL="0.7") == 0.7
    assert level("--level", "0.6", DIVMATCH_LEVEL="0.7") == 0.6


def test_unknown_key_is_suggested(tmp_path):
    (tmp_path / "divmatch.toml").write_text("[defaults]\nlevle = 0.9\n")
    found = run(tmp_path, "energy", "a.npy", "b.npy")
    assert (found.returncode, "did you mean 'level'" in found.stderr) == (2, True)


# ------------------------------------------------------------------------------------------ help


def test_every_command_shows_examples_first(folder):
    for name in (*QUANTITIES, "test", "score", "list", "info", "doctor"):
        shown = run(folder, name, "--help").stdout
        assert shown.index("Examples:") < shown.index("--help ")


def test_pickle_is_never_loaded(folder, tmp_path):
    class Payload:
        def __reduce__(self):
            return (open, (str(tmp_path / "owned"), "w"))

    np.save(tmp_path / "evil.npy", np.array([Payload()], dtype=object), allow_pickle=True)
    found = run(folder, "energy", "real.npy", str(tmp_path / "evil.npy"))
    assert (found.returncode, found.stderr.count("\n")) == (2, 1)
    assert not (tmp_path / "owned").exists()
