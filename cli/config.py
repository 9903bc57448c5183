"""`divmatch config`: the defaults in force, and whether the files that set them are sound."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import click

from divmatch.cli.command import Command, Group
from divmatch.cli.configuration import asked_for, configured
from divmatch.errors import SettingError, suggestion


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
        name: (value, str(path))
        for path, _, name, value in configured(target, command, asked_for([]))
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
            if isinstance(command, click.Group):
                _check_group(command, context, name, path)
            elif command is not None and any(p.name == "config" for p in command.params):
                _check_command(command, name, path)
    click.echo("ok")
    return 0


def _check_group(group: click.Group, root: click.Context, name: str, path: str | None) -> None:
    """The commands of a group that take defaults."""
    above = click.Context(group, info_name=name, parent=root)
    for own in group.list_commands(above):
        command = group.get_command(above, own)
        if command is not None and any(p.name == "config" for p in command.params):
            _check_command(command, own, path, above)


def _check_command(
    command: click.Command, name: str, path: str | None, above: click.Context | None = None
) -> None:
    """Parse the command with its defaults, and go as far as it can without data."""
    asked = [] if path is None else ["--config", path]
    with _optional(command), command.make_context(name, asked, above) as context:
        if context.params.get("seed") == "random":
            context.params["seed"] = "0"  # a check draws none
        if isinstance(command, Command):
            command.check(context)


@contextmanager
def _optional(command: click.Command) -> Iterator[None]:
    """Nothing is required: files and options that only its user knows are not there for a check."""
    required = [parameter for parameter in command.params if parameter.required]
    for parameter in required:
        parameter.required = False
    try:
        yield
    finally:
        for parameter in required:
            parameter.required = True


CONFIG = Group(
    "config",
    examples=(
        "divmatch config show",
        "divmatch config show score --origin",
        "divmatch config check ci.toml",
    ),
    help="Show or check the defaults in force.",
    commands=[
        Command(
            "show",
            callback=click.pass_context(_show),
            params=[
                click.Argument(["command"], default="energy"),
                click.Option(["--origin"], is_flag=True, help="Say where each value comes from."),
            ],
            examples=("divmatch config show", "divmatch config show score --origin"),
            help="Show the defaults of COMMAND (energy if none is named) as they are in force here.",
        ),
        Command(
            "check",
            callback=_check,
            params=[click.Argument(["paths"], nargs=-1)],
            examples=("divmatch config check", "divmatch config check ci.toml"),
            help="Check configuration files without touching data.",
        ),
    ],
)
COMMANDS = {"config": CONFIG}
