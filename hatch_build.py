"""Build hook of hatchling: `pip install .` builds engine, runtime and Studio for the wheel."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, str(Path(__file__).resolve().parent / "build_scripts"))

import environment
import build
import node


class BuildOutputs(BuildHookInterface):
    """Builds everything that is not in git; an editable install uses the checkout's files."""

    def dependencies(self) -> list[str]:
        tools = [r for r in environment.requirements("build") if r.startswith("ziglang")]
        return tools if node.from_system() else [*tools, node.WHEEL]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version != "editable":
            build.build()
