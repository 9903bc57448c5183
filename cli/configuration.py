"""Defaults from files. Precedence: flag > DIVMATCH_* variable > --config FILE > nearest divmatch.toml
or [tool.divmatch] of pyproject.toml > the user's config.toml > built in.
"""  # noqa: D205

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from divmatch.errors import FileError, SettingError, suggestion

TABLES = ("defaults", "version")  # what else may stand at the top of a divmatch.toml: commands
PATHS = ("output", "weights-p", "weights-q", "files-from")


def apply_configuration(ctx: click.Context, arguments: list[str]) -> None:
    """Give the command of ``ctx`` its defaults from the files in force."""
    if not any(p.name == "config" for p in ctx.command.params):
        return
    found = configured(ctx.command, ctx.info_name or "", _asked_for(arguments))
    defaults = {key: value for _, key, value in found}
    if defaults:
        ctx.default_map = {**(ctx.default_map or {}), **defaults}


def configured(
    command: click.Command, name: str, asked: str | None
) -> Iterator[tuple[Path, str, Any]]:
    """(file, parameter, value) of every default for one command, weakest file first."""
    by_flag = {flag: p for p in command.params for flag in p.opts}
    for path, content in _files(asked):
        for table in ("defaults", name):
            for key, value in content.get(table, {}).items():
                parameter = by_flag.get(f"--{key}") or by_flag.get(f"-{key}")
                if parameter is not None and parameter.name is not None:
                    yield path, parameter.name, _usable(parameter, key, value, path)
                elif table == name or not _general(key):
                    known = [flag.lstrip("-") for flag in by_flag]
                    raise SettingError(
                        f"{path}: unknown key '{key}' in [{table}]{suggestion(key, known)}"
                    )


def _usable(parameter: click.Parameter, key: str, value: Any, path: Path) -> Any:
    """The value as click takes it; relative paths are relative to the file that names them."""
    if isinstance(value, dict):
        raise SettingError(f"{path}: '{key}' is a table, expected a value")
    many = list(value) if isinstance(value, list) else [value]
    if key in PATHS:
        many = [str(path.parent / str(item)) if "." in str(item) else item for item in many]
    made = [item if isinstance(item, bool) else str(item) for item in many]
    if parameter.multiple if isinstance(parameter, click.Option) else False:
        return made
    return ",".join(map(str, made)) if isinstance(value, list) else made[0]


def _asked_for(arguments: list[str]) -> str | None:
    for position, argument in enumerate(arguments):
        if argument == "--config" and position + 1 < len(arguments):
            return arguments[position + 1]
        if argument.startswith("--config="):
            return argument.partition("=")[2]
    return os.environ.get("DIVMATCH_CONFIG") or None


def _files(asked: str | None) -> Iterator[tuple[Path, dict[str, Any]]]:
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    user = Path(home) / "divmatch" / "config.toml"
    if user.is_file():
        yield user, _content(user)
    nearest = _nearest()
    if nearest is not None:
        yield nearest
    if asked:
        if not Path(asked).is_file():
            raise FileError(f"{asked}: no such configuration file")
        yield Path(asked), _content(Path(asked))


def _nearest() -> tuple[Path, dict[str, Any]] | None:
    """divmatch.toml or [tool.divmatch], from here upwards to the repository's root."""
    try:
        here = Path.cwd()
    except FileNotFoundError:  # the folder is gone
        return None
    for folder in (here, *here.parents):
        own, project = folder / "divmatch.toml", folder / "pyproject.toml"
        if own.is_file():
            return own, _content(own)
        if project.is_file() and b"[tool.divmatch" in project.read_bytes():
            return project, _checked(project, _parsed(project).get("tool", {}).get("divmatch", {}))
        if (folder / ".git").exists():
            return None
    return None


def _content(path: Path) -> dict[str, Any]:
    return _checked(path, _parsed(path))


def _parsed(path: Path) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise FileError(f"{path}: not valid TOML: {problem}") from None


def _checked(path: Path, content: dict[str, Any]) -> dict[str, Any]:
    from divmatch.catalogue import COMMANDS, QUANTITIES

    known = [*TABLES, *QUANTITIES, *COMMANDS]
    for key, value in content.items():
        if key not in known:
            raise SettingError(f"{path}: unknown table or key '{key}'{suggestion(key, known)}")
        if key != "version" and not isinstance(value, dict):
            raise SettingError(f"{path}: '{key}' must be a table")
    return content


def _general(key: str) -> bool:
    """Whether some command has this option: [defaults] speaks to all of them."""
    from divmatch.cli.options import GENERAL

    return key in GENERAL


# ------------------------------------------------------------------------------------ commands


def _show(ctx: click.Context, origin: bool, command: str) -> int:
    for line in _lines(command, origin):
        click.echo(line)
    return 0


def _lines(command: str, origin: bool) -> Iterator[str]:
    """`option = value` of one command as it would run here, with where each value came from."""
    from divmatch.cli.group import app

    target = app.get_command(click.Context(app), command)
    if target is None:
        raise SettingError(
            f"no such command '{command}'{suggestion(command, app.list_commands(click.Context(app)))}"
        )
    found = {
        key: (value, str(path)) for path, key, value in configured(target, command, _asked_for([]))
    }
    for parameter in target.params:
        if not isinstance(parameter, click.Option) or parameter.name in (None, "help", "config"):
            continue
        flag = max(parameter.opts, key=len).lstrip("-")
        variable = parameter.envvar if isinstance(parameter.envvar, str) else ""
        value, source = found.get(str(parameter.name), (parameter.default, "built in"))
        if variable and os.environ.get(variable):
            value, source = os.environ[variable], variable
        if value is None or callable(value) or repr(value).startswith("Sentinel"):
            continue
        yield f"{flag} = {value}" + (f"    # {source}" if origin else "")


def _check(paths: tuple[str, ...]) -> int:
    from divmatch.cli.group import app

    context = click.Context(app)
    for path in paths or (None,):
        for name in app.list_commands(context):
            command = app.get_command(context, name)
            if command is not None and any(p.name == "config" for p in command.params):
                list(configured(command, name, path))
    click.echo("ok")
    return 0


CONFIG = click.Group(
    "config",
    help="Show or check the defaults in force.",
    context_settings={"help_option_names": ["-h", "--help"]},
    commands=[
        click.Command(
            "show",
            callback=click.pass_context(_show),
            params=[
                click.Argument(["command"], default="energy"),
                click.Option(["--origin"], is_flag=True, help="Say where each value comes from."),
            ],
            help="Show the defaults of COMMAND (energy if none is named) as they are in force here.",
        ),
        click.Command(
            "check",
            callback=_check,
            params=[click.Argument(["paths"], nargs=-1)],
            help="Check configuration files without touching data.",
        ),
    ],
)
COMMANDS = {"config": CONFIG}
