"""The `tensorbrook` command: each subcommand is a module with `add_arguments` and `main`."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

# Name -> the module that holds it and what it does. Only the module that is asked for is loaded.
COMMANDS = {
    "studio": ("tensorbrook.studio.server", "open the Studio in the browser"),
    "run": ("tensorbrook.studio.run", "run a script, natively or in a page"),
    "profile": ("tensorbrook.studio.profile", "run a script and time its kernels"),
}


def parser_for(name: str | None) -> argparse.ArgumentParser:
    """The parser of all commands, with the arguments of the one that is asked for."""
    parser = argparse.ArgumentParser(
        prog="tensorbrook", description="Deep learning in a browser tab, in Python.")
    commands = parser.add_subparsers(dest="command", required=True)
    for command, (module, purpose) in COMMANDS.items():
        own = commands.add_parser(command, help=purpose, description=purpose)
        if command == name:
            importlib.import_module(module).add_arguments(own)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status of the process."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    # What stands after -- is not ours to parse: the script gets it.
    end = words.index("--") if "--" in words else len(words)
    words, rest = words[:end], words[end + 1:]
    args = parser_for(words[0] if words else None).parse_args(words)
    args.rest = rest
    return importlib.import_module(COMMANDS[args.command][0]).main(args)
