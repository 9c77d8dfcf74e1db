"""The `tensorbrook` command: each subcommand is a module with `add_arguments` and `main`."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

# Name -> (module, help text). Only the module of the selected command is imported.
COMMANDS = {
    "studio": ("tensorbrook.studio.server", "open the Studio in the browser"),
    "run": ("tensorbrook.studio.run", "run a script, natively or in a page"),
    "profile": ("tensorbrook.studio.profile", "run a script and profile its kernels"),
}


def parser_for(name: str | None) -> argparse.ArgumentParser:
    """The parser of all commands, with the arguments of the selected command."""
    parser = argparse.ArgumentParser(
        prog="tensorbrook", description="Deep learning in a browser tab, in Python.")
    commands = parser.add_subparsers(dest="command", required=True)
    for command, (module, summary) in COMMANDS.items():
        command_parser = commands.add_parser(command, help=summary, description=summary)
        if command == name:
            importlib.import_module(module).add_arguments(command_parser)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status of the process."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    # Arguments after -- are passed to the script unparsed.
    end = words.index("--") if "--" in words else len(words)
    words, script_arguments = words[:end], words[end + 1:]
    args = parser_for(words[0] if words else None).parse_args(words)
    args.rest = script_arguments
    return importlib.import_module(COMMANDS[args.command][0]).main(args)
