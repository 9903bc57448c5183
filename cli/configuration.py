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
    if ctx.resilient_parsing or not any(p.name == "config" for p in ctx.command.params):
        return
    found = configured(ctx.command, ctx.info_name or "", asked_for(arguments))
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


def asked_for(arguments: list[str]) -> str | None:
    """The file that --config or DIVMATCH_CONFIG names."""
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
