"""list, info, schema, doctor, warm-up, completion: commands about divmatch itself."""

import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

import click

from divmatch.catalogue import COMMANDS as CATALOGUE
from divmatch.catalogue import MATCHES, QUANTITIES, SHAPED, SINGLES, STATISTICS
from divmatch.cli.command import Command
from divmatch.cli.main import COMPLETE, OK, USAGE, printable, say
from divmatch.cli.options import KINDS
from divmatch.errors import counted

COUNTS, RANGE = ("missing", "infinite"), ("min", "mean", "max")
PACKAGES = (
    "numpy",
    "numba",
    "scipy",
    "scikit-learn",
    "pot",
    "pyarrow",
    "click",
    "rich",
    "cupy",
    "matplotlib",
)


def _dumped(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)


# ---------------------------------------------------------------------------------------- list


def run_list(form: str) -> int:
    """Quantities, methods, units."""
    from divmatch.estimator import quantity
    from divmatch.matcher import task

    rows: list[dict[str, Any]] = [
        {
            "name": name,
            "command": name not in STATISTICS,
            "direction": of.direction,
            "unit": of.unit_of(of.methods[of.default].checked({})),
            "methods": list(of.methods),
            "default": of.default,
            "help": of.help,
        }
        for name in (*QUANTITIES, *SINGLES, *SHAPED, *STATISTICS)
        if (of := quantity(name))
    ]
    rows += [
        {
            "name": f"match {name}",
            "command": True,
            "direction": "P->Q",
            "unit": of_task.product,
            "methods": list(of_task.methods),
            "default": of_task.default,
            "help": of_task.help,
        }
        for name in MATCHES
        if (of_task := task(name))
    ]
    if form == "json":
        click.echo(_dumped(rows))
        return OK
    from divmatch.cli.report import columns

    table = [["quantity", "methods (default first)", "direction", "unit"]]
    for row in rows:
        methods = [row["default"], *(m for m in row["methods"] if m != row["default"])]
        name = row["name"] if row["command"] else f"{row['name']} (test, score)"
        table.append([name, " ".join(methods), row["direction"], row["unit"]])
    click.echo("\n".join(columns(table)))
    return OK


# ---------------------------------------------------------------------------------------- info


def run_info(file: str, form: str, stdin_format: str | None) -> int:
    """Describe one file."""
    from divmatch.files import check_readable, describe

    check_readable([file])
    found = describe(file, stdin_format)
    click.echo(_dumped(_finite(found)) if form == "json" else "\n".join(_described(found)))
    return OK


def _finite(value: Any) -> Any:
    """Numbers JSON can hold: NaN and infinity become null."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and value - value != 0 else value


def _described(found: dict[str, Any]) -> Iterator[str]:
    from divmatch.cli.report import columns, short

    shape = f"{counted(found['rows'], 'row')}  {counted(len(found['columns']), 'column')}"
    yield f"{printable(found['name'])}  {found['kind']}  {shape}"
    yield f"rows equal to an earlier one: {found['duplicates']}"
    table = [["column", "type", *COUNTS, *RANGE, "distinct", "most frequent"]]
    for column in found["columns"]:
        numbers = [short(column[key]) if column.get(key) is not None else "" for key in RANGE]
        words = [printable(str(column.get(key, ""))) for key in ("distinct", "most_frequent")]
        table.append(
            [
                printable(column["name"]),
                column["type"],
                *("" if column.get(key) is None else str(column[key]) for key in COUNTS),
                *numbers,
                *words,
            ]
        )
    yield from columns(table)


# -------------------------------------------------------------------------------------- schema


def run_schema(what: str) -> int:
    """Print the schema."""
    from importlib.resources import files

    click.echo(files("divmatch").joinpath("result.schema.json").read_text(), nl=False)
    return OK


# -------------------------------------------------------------------------------------- doctor


def run_doctor(form: str) -> int:
    """Versions, cores, memory, cache, device."""
    found = dict(_findings())
    if form == "json":
        click.echo(_dumped(found))
    else:
        width = max(map(len, found))
        for key, value in found.items():
            click.echo(f"{key:{width}}  {value}")
    return OK


def _findings() -> Iterator[tuple[str, str]]:
    import platform
    from importlib.metadata import PackageNotFoundError, version

    from divmatch import __version__
    from divmatch.budget import available_threads, free_memory, memory_budget
    from divmatch.kernels.backend import gpu_absence

    yield "divmatch", __version__
    yield "python", f"{platform.python_version()} ({sys.executable})"
    for package in PACKAGES:
        try:
            yield package, version(package)
        except PackageNotFoundError:
            yield package, "not installed"
    yield "threads", str(available_threads())
    yield "free memory", f"{free_memory() / 2**30:.1f} GiB"
    yield "memory for blocks", f"{memory_budget(None) / 2**30:.1f} GiB"
    yield "gpu", gpu_absence() or "ready"
    yield "compiled kernels", _compiled()
    yield "network", "never used: no telemetry, no update check"


def _compiled() -> str:
    from divmatch.kernels.warmth import cached

    have, total = cached()
    return f"{have} of {total} files in the cache" + (
        "" if have == total else "; run divmatch warm-up"
    )


# ------------------------------------------------------------------------------------- warm-up


def run_warm_up(progress: str) -> int:
    """Compile everything."""
    from divmatch.cli.progress import Progress
    from divmatch.kernels.warmth import kernels

    made = kernels()
    with Progress(progress, len(made), "warm-up") as bar:
        for name, compile_one in made:
            bar.at(name)
            compile_one()
            bar.done()
    click.echo(f"{counted(len(made), 'kernel')} compiled and cached")
    return OK


# ---------------------------------------------------------------------------------- completion


def run_completion(shell: str) -> int:
    """Print the script; eval it, or save it where the shell looks."""
    from click.shell_completion import get_completion_class

    from divmatch.cli.group import app

    made = get_completion_class(shell)
    if made is None:
        say(f"error: completion {shell}: expected bash, zsh or fish")
        return USAGE
    click.echo(made(app, {}, "divmatch", COMPLETE).source_template % _names())
    return OK


def _names() -> dict[str, str]:
    return {
        "complete_func": "_divmatch_completion",
        "complete_var": COMPLETE,
        "prog_name": "divmatch",
    }


def _form() -> click.Option:
    return click.Option(
        ["-f", "--format", "form"],
        type=click.Choice(["text", "json"]),
        default="text",
        help="Format.",
    )


def _command(
    name: str,
    run: Callable[..., int],
    params: list[click.Parameter],
    examples: tuple[str, ...],
    more: str = "",
) -> click.Command:
    short = CATALOGUE[name][1]
    return Command(
        name,
        callback=run,
        params=params,
        examples=examples,
        help=f"{short}\n\n{more}".strip(),
        short_help=short,
    )


COMMANDS: dict[str, click.Command] = {
    "list": _command("list", run_list, [_form()], ("divmatch list", "divmatch list -f json")),
    "info": _command(
        "info",
        run_info,
        [
            click.Argument(["file"], metavar="FILE"),
            _form(),
            click.Option(
                ["--stdin-format"], type=click.Choice(KINDS), help="What standard input (-) holds."
            ),
        ],
        ("divmatch info real.npy", "divmatch info real.parquet -f json"),
    ),
    "schema": _command(
        "schema",
        run_schema,
        [click.Argument(["what"], type=click.Choice(["result"]), default="result")],
        ("divmatch schema result",),
    ),
    "doctor": _command("doctor", run_doctor, [_form()], ("divmatch doctor",)),
    "warm-up": _command(
        "warm-up",
        run_warm_up,
        [
            click.Option(
                ["--progress"],
                type=click.Choice(["auto", "always", "never", "json"]),
                default="auto",
                help="Progress on standard error.",
            )
        ],
        ("divmatch warm-up",),
        "Small inputs never need the compiled kernels; the first large one compiles those that it "
        "uses, which takes some seconds. This command does it now for all of them.",
    ),
    "completion": _command(
        "completion",
        run_completion,
        [click.Argument(["shell"], type=click.Choice(["bash", "zsh", "fish"]))],
        ("divmatch completion bash", "divmatch completion fish"),
        'bash: eval "$(divmatch completion bash)" in ~/.bashrc; zsh the same in ~/.zshrc; '
        "fish: divmatch completion fish > ~/.config/fish/completions/divmatch.fish",
    ),
}
