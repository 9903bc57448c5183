"""Manual pages from the commands: `python -m divmatch.cli.man man/` rewrites them, tests compare.

No dates and no version of anything else, so that a page changes only when its command does.
"""

import inspect
import re
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import click

from divmatch import __version__
from divmatch.catalogue import EVERY, MATCH_EVERY, SECTIONS
from divmatch.cli.command import Command, Group
from divmatch.cli.group import app
from divmatch.cli.match import Matches
from divmatch.cli.topics import TOPICS
from divmatch.record import CODES

ENVIRONMENT = """\
DIVMATCH_OPTION   the default of --option in every command, such as DIVMATCH_FORMAT or DIVMATCH_SEED
DIVMATCH_CONFIG   as --config
DIVMATCH_DEBUG   anything but empty: show the traceback of an internal error
XDG_CONFIG_HOME   folder of divmatch/config.toml, ~/.config if not set
NO_COLOR, FORCE_COLOR   never or always colour, unless --color says otherwise"""

# what groff would print as another letter
PLAIN = {"\\": r"\e", "-": r"\-", "'": r"\(aq", "`": r"\(ga", "^": r"\(ha", "~": r"\(ti"}
ENTRY = re.compile(r"((?:[A-Z]{2}|\d|[WE]\d|-)\S*(?: \S+)*?) {2,}(\S.*)")
HEADINGS = re.compile(r"^(Parameters|Returns|Raises|Notes|Examples)\n-+$", re.MULTILINE)


def roff(text: str) -> str:
    """Escape what roff would read as its own."""
    made = "".join(PLAIN.get(letter, letter) for letter in text)
    made = "".join(letter if letter.isascii() else glyph(letter) for letter in made)
    return re.sub(r"^\.", r"\\&.", made, flags=re.MULTILINE)


def glyph(letter: str) -> str:
    """A letter beyond ASCII by its number, decomposed as roff wants it."""
    parts = "_".join(f"{ord(part):04X}" for part in unicodedata.normalize("NFD", letter))
    return f"\\[u{parts}]"


def verbatim(lines: list[str]) -> list[str]:
    """Lines as they are."""
    return [".nf", *(f"    {roff(line)}" for line in lines), ".fi"]


def prose(text: str) -> list[str]:
    """A topic, filled: `name   meaning` lines become a list, what follows a colon stays as it is."""
    made: list[str] = []
    before = ""
    for line in text.split("\n"):
        entry = ENTRY.fullmatch(line)
        if entry:
            made += [".TP", f"\\fB{roff(entry[1])}\\fP", roff(entry[2])]
        elif before.endswith(":"):
            made += [*verbatim([line]), ".PP"]
        else:
            made += [".PP", roff(line)] if not before or ENTRY.fullmatch(before) else [roff(line)]
        before = line
    return made


def paragraphs(text: str) -> list[str]:
    """Blank lines become paragraphs, indented blocks stay as they are."""
    made: list[str] = []
    for block in re.split(r"\n\s*\n", inspect.cleandoc(text)):
        lines = block.split("\n")
        if any(line.startswith((" ", ">>>")) for line in lines):
            made += [".PP", ".nf", *(roff(line) for line in lines), ".fi"]
        else:
            made += [".PP", *(roff(line.strip()) for line in lines)]
    return made


def options(command: click.Command, context: click.Context, *, headings: bool = True) -> list[str]:
    """Every option under its heading."""
    if isinstance(command, Command) and headings:
        groups = command.grouped(context)
    else:
        groups = {"": list(command.get_params(context))}
    lines: list[str] = []
    for title, parameters in groups.items():
        rows = [row for p in parameters if (row := p.get_help_record(context)) is not None]
        records = [row for row in rows if row[1]]  # an argument without a help is in the synopsis
        if records and title:
            lines.append(f".SS {roff(title)}")
        for names, text in records:
            lines += [".TP", f"\\fB{breakable(names)}\\fP", roff(text)]
    return lines


def breakable(names: str) -> str:
    """Names that roff may break after a bar: the choices of an option can be longer than a line."""
    return roff(names).replace("|", r"|\:")


def page(words: str, command: click.Command, short: str) -> str:
    """One command, called by these words, as a man(7) page."""
    name = words.replace(" ", "-")
    context = click.Context(command, info_name=words, **command.context_settings)
    usage = " ".join(command.collect_usage_pieces(context))
    lines = [
        f'.TH "{roff(name.upper())}" "1" "" "divmatch {__version__}" "divmatch manual"',
        ".nh",
        ".ad l",
        ".SH NAME",
        roff(f"{name} - {short.rstrip('.')}"),
        ".SH SYNOPSIS",
        f"\\fB{roff(words)}\\fP {roff(usage)}",
    ]
    if isinstance(command, Command | Group) and command.examples:
        lines += [".SH EXAMPLES", *verbatim(list(command.examples))]
    lines += [".SH DESCRIPTION", *paragraphs(command.help or "")]
    if isinstance(command, Command) and command.notes:
        lines += methods(command.notes)
    lines += [".SH OPTIONS", *options(command, context)]
    if name == "divmatch":
        lines += overview()
    elif isinstance(command, Matches):
        lines += [".SH COMMANDS"]
        for other, (_, text) in MATCH_EVERY.items():
            lines += [".TP", f"\\fBdivmatch\\-match\\-{roff(other)}\\fP(1)", roff(text)]
    elif isinstance(command, click.Group):
        lines += [".SH COMMANDS", *parts(command, context)]
    lines += [".SH EXIT STATUS", *prose(TOPICS["exit-codes"])]
    others = (
        [f"divmatch-{other}" for names in SECTIONS.values() for other in names]
        if name == "divmatch"
        else ["divmatch"]
    )
    lines += [".SH SEE ALSO", ",\n".join(f"\\fB{roff(other)}\\fP(1)" for other in others)]
    return "\n".join(lines) + "\n"


def parts(group: click.Group, above: click.Context) -> list[str]:
    """The commands of a group: usage, help and options of each."""
    lines: list[str] = []
    for name, command in group.commands.items():
        context = click.Context(command, info_name=name, parent=above)
        usage = " ".join([name, *command.collect_usage_pieces(context)])
        lines += [f".SS {roff(usage)}", *paragraphs(command.help or "")]
        lines += options(command, context, headings=False)
    return lines


def methods(notes: str) -> list[str]:
    """The docstrings of a quantity's methods, their headings as sub-headings; or notes as they are."""
    if not notes.startswith("METHOD "):
        return [".SH NOTES", *paragraphs(notes)]
    lines: list[str] = [".SH METHODS"]
    for part in re.split(r"^METHOD (\S+)\n", notes, flags=re.MULTILINE)[1:]:
        if "\n" not in part:
            lines.append(f".SS \\-\\-method {roff(part)}")
            continue
        pieces = HEADINGS.split(part)
        lines += paragraphs(pieces[0])
        for heading, text in zip(pieces[1::2], pieces[2::2], strict=True):
            lines += [".PP", f"\\fI{heading}\\fP", ".nf", roff(text.strip("\n")), ".fi"]
    return lines


def overview() -> list[str]:
    """The commands, the topics and the warnings, in divmatch(1)."""
    lines = [".SH COMMANDS"]
    for title, names in SECTIONS.items():
        lines.append(f".SS {roff(title)}")
        for name in names:
            lines += [".TP", f"\\fB{roff(name)}\\fP", roff(EVERY[name][1])]
    for topic, text in TOPICS.items():
        if topic != "exit-codes":
            lines += [f".SH {topic.upper()}", *prose(text)]
    lines += [".SH ENVIRONMENT", *prose(ENVIRONMENT)]
    lines += [".SH WARNINGS", *prose("\n".join(f"{code}  {text}" for code, text in CODES.items()))]
    return lines


def pages() -> Iterator[tuple[str, str]]:
    """File name and text of every page."""
    short = "divergence estimation and distribution matching"
    yield "divmatch.1", page("divmatch", app, short)
    context = click.Context(app)
    group = app.get_command(context, "match")
    for name, (_, text) in MATCH_EVERY.items():
        command = group.get_command(context, name) if isinstance(group, click.Group) else None
        if command is not None:
            yield f"divmatch-match-{name}.1", page(f"divmatch match {name}", command, text)
    for name in app.list_commands(context):
        command = app.get_command(context, name)
        if command is not None:
            text = EVERY[name][1]
            yield f"divmatch-{name}.1", page(f"divmatch {name}", command, text)


def write(folder: Path) -> None:
    """Rewrite the folder: pages of commands that are gone go too."""
    made = dict(pages())
    for old in folder.glob("*.1"):
        if old.name not in made:
            old.unlink()
    for name, text in made.items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
