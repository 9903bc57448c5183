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
VERSION = 1
ORIGINS = "divmatch.origins"  # key of a context's notes: parameter -> file and key
VARIABLES = ("DIVMATCH_DEBUG", "DIVMATCH_CONFIG")  # no import needed to know them
PATHS = ("output", "weights-p", "weights-q", "log-q", "files-from", "scores")


def apply_configuration(ctx: click.Context, arguments: list[str]) -> None:
    """Give the command of ``ctx`` its defaults from the files in force."""
    if ctx.resilient_parsing or not any(p.name == "config" for p in ctx.command.params):
        return
    check_variables()
    found = configured(ctx.command, table_of(ctx), asked_for(arguments))
    defaults, origins = {}, {}
    for path, key, name, value in found:
        defaults[name], origins[name] = value, f"{path}: {key}"
    if defaults:
        ctx.default_map = {**(ctx.default_map or {}), **defaults}
        ctx.meta[ORIGINS] = origins


def table_of(ctx: click.Context) -> str:
    """The table of a command: its name, or `match weights` for [match.weights]."""
    above = ctx.parent
    nested = above is not None and above.parent is not None
    return (
        f"{above.info_name} {ctx.info_name}"
        if above is not None and nested
        else ctx.info_name or ""
    )


def origin(ctx: click.Context, parameter: click.Parameter) -> str | None:
    """Where a value comes from, if nobody typed it: `divmatch.toml: seed` or DIVMATCH_SEED."""
    name = parameter.name or ""
    source = ctx.get_parameter_source(name)
    if source is click.core.ParameterSource.ENVIRONMENT:
        return str(parameter.envvar)
    if source is click.core.ParameterSource.DEFAULT_MAP:
        found: str | None = ctx.meta.get(ORIGINS, {}).get(name)
        return found
    return None


def named(ctx: click.Context, message: str) -> str:
    """An error that begins with a flag, with the flag's origin in its place if nobody typed it."""
    own = message.removeprefix(f"{ctx.info_name} ")
    flag = own.partition(" ")[0].rstrip(":")
    for parameter in ctx.command.params:
        where = origin(ctx, parameter) if flag in parameter.opts else None
        if where is not None:
            return f"{where}: {own[len(flag) :].lstrip(' :')}"
    return message


def check_variables() -> None:
    """Refuse DIVMATCH_* variables that set nothing: they are misspelt."""
    given = [name for name in os.environ if name.startswith("DIVMATCH_")]
    unknown = sorted(set(given) - set(VARIABLES))
    if not unknown:
        return
    known = [*VARIABLES, *_variables()]
    for name in unknown:
        if name not in known:
            raise SettingError(f"{name}: no such setting{suggestion(name, known)}")


def _variables() -> Iterator[str]:
    """The variables of every option of every command; this imports all of them."""
    from divmatch.cli.group import app

    context = click.Context(app)
    for name in app.list_commands(context):
        command = app.get_command(context, name)
        inner: list[click.Command | None] = [command]
        if isinstance(command, click.Group):
            inner += [command.get_command(context, own) for own in command.list_commands(context)]
        for one in inner:
            for parameter in one.params if one else ():
                if isinstance(parameter.envvar, str):
                    yield parameter.envvar


def configured(
    command: click.Command, name: str, asked: str | None
) -> Iterator[tuple[Path, str, str, Any]]:
    """(file, key, parameter, value) of every default for one command, weakest file first."""
    by_flag = {flag: p for p in command.params for flag in p.opts}
    for path, content in _files(asked):
        for table in ("defaults", name):
            keys: dict[str, str] = {}
            for key, value in _within(content, table).items():
                parameter = by_flag.get(f"--{key}") or by_flag.get(f"-{key}")
                if parameter is not None and parameter.name is not None:
                    other = keys.setdefault(parameter.name, key)
                    if other != key:
                        raise SettingError(
                            f"{path}: '{other}' and '{key}' are one setting; keep one"
                        )
                    yield path, key, parameter.name, _usable(parameter, key, value, path)
                elif table == name or not _general(key):
                    known = [flag.lstrip("-") for flag in by_flag]
                    raise SettingError(
                        f"{path}: unknown key '{key}' in [{table.replace(' ', '.')}]{suggestion(key, known)}"
                    )


def _within(content: Any, table: str) -> dict[str, Any]:
    """The table, which may be nested, or nothing."""
    for part in table.split():
        content = content.get(part, {})
    return dict(content)


def _usable(parameter: click.Parameter, key: str, value: Any, path: Path) -> Any:
    """The value as click takes it; relative paths are relative to the file that names them."""
    if isinstance(value, dict):
        raise SettingError(f"{path}: '{key}' is a table, expected a value")
    if isinstance(value, bool) and not getattr(parameter, "is_flag", False):
        raise SettingError(f"{path}: '{key}' is {str(value).lower()}, expected a value")
    many = list(value) if isinstance(value, list) else [value]
    if key == "score-command" or (key == "target" and any(".py:" in str(item) for item in many)):
        raise SettingError(f"{path}: '{key}' runs a program; name it on the command line")
    if key in PATHS:
        many = [str(path.parent / str(item)) if "." in str(item) else item for item in many]
    made = [item if isinstance(item, bool) else str(item) for item in many]
    if parameter.multiple if isinstance(parameter, click.Option) else False:
        return made
    return ",".join(map(str, made)) if isinstance(value, list) else made[0]


def asked_for(arguments: list[str]) -> str | None:
    """The file that --config or DIVMATCH_CONFIG names."""
    for position, argument in enumerate(arguments):
        if argument == "--config" and position + 1 < len(arguments):
            return arguments[position + 1]
        if argument.startswith("--config="):
            return argument.partition("=")[2]
    named = os.environ.get("DIVMATCH_CONFIG")
    if named and not os.path.exists(named):
        raise FileError(f"DIVMATCH_CONFIG: {named}: no such configuration file")
    return named or None


def _files(asked: str | None) -> Iterator[tuple[Path, dict[str, Any]]]:
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    user = Path(home) / "divmatch" / "config.toml"
    if _there(user):
        yield user, _content(user)
    nearest = _nearest()
    if nearest is not None:
        yield nearest
    if asked:
        if not Path(asked).exists():
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
        if _there(own):
            return own, _content(own)
        if project.is_file() and "divmatch" in _text(project):
            tools = _parsed(project).get("tool")
            if isinstance(tools, dict) and "divmatch" in tools:
                return project, _checked(project, tools["divmatch"])
        if (folder / ".git").exists():
            return None
    return None


def _there(path: Path) -> bool:
    """Whether there is a file; what has its name and is none would be overlooked."""
    if os.path.lexists(path) and not path.is_file():
        raise FileError(f"{path}: is not a file, expected settings in TOML")
    return path.is_file()


def _content(path: Path) -> dict[str, Any]:
    return _checked(path, _parsed(path))


def _parsed(path: Path) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(_text(path))
    except ValueError as problem:  # wrong syntax, or a number of thousands of digits
        raise FileError(f"{path}: not valid TOML: {problem}") from None
    except RecursionError:
        raise FileError(f"{path}: not valid TOML: nested too deeply") from None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as problem:
        raise FileError(f"{path}: not valid TOML: {problem}") from None
    except OSError as problem:
        raise FileError(f"{path}: cannot be read ({problem.strerror})") from None


def _checked(path: Path, content: Any) -> dict[str, Any]:
    from divmatch.catalogue import EVERY, MATCH_EVERY

    if not isinstance(content, dict):
        raise SettingError(f"{path}: 'divmatch' must be a table")
    known = [*TABLES, *EVERY]
    for key, value in content.items():
        if key not in known:
            raise SettingError(f"{path}: unknown table or key '{key}'{suggestion(key, known)}")
        if key != "version" and not isinstance(value, dict):
            raise SettingError(f"{path}: '{key}' must be a table")
    for key, value in content.get("match", {}).items():
        if key not in MATCH_EVERY or not isinstance(value, dict):
            raise SettingError(
                f"{path}: unknown key '{key}' in [match]{suggestion(key, MATCH_EVERY)}; its tables are "
                f"{', '.join(f'[match.{name}]' for name in MATCH_EVERY)}"
            )
    version = content.get("version", VERSION)
    if version != VERSION or isinstance(version, bool):
        raise SettingError(f"{path}: version {version}, expected {VERSION}")
    return content


def _general(key: str) -> bool:
    """Whether some command has this option: [defaults] speaks to all of them."""
    from divmatch.cli.options import GENERAL

    return key in GENERAL
