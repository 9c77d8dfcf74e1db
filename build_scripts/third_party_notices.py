"""Licence notices of the npm packages that the built page contains, as one text."""

from __future__ import annotations

import json
from pathlib import Path

import node

RULE = "\n\n" + "-" * 78 + "\n\n"


def bundled_packages() -> list[Path]:
    """The folders of the npm packages that the page is built from, according to the lock file."""
    lock = json.loads((node.WEB / "package-lock.json").read_text(encoding="utf-8"))
    names = [name for name, package in lock["packages"].items() if name and not package.get("dev")]
    return [node.WEB / name for name in sorted(names) if (node.WEB / name).is_dir()]


def notice(folder: Path) -> str:
    """Name, version, licence and source of a package, and the text of its licence file."""
    package = json.loads((folder / "package.json").read_text(encoding="utf-8"))
    source = package.get("repository") or package.get("homepage", "")
    address = source if isinstance(source, str) else source["url"]
    title = f"{package['name']} {package['version']}, {package['license']}\n{address}"
    texts = [path.read_text(encoding="utf-8") for path in sorted(folder.glob("LICEN[CS]E*"))]
    return "\n\n".join([title, *texts]).strip()


def write(out: Path) -> None:
    head = "The page is built from these packages, and Pyodide contains CPython (PSF-2.0)."
    notices = [head, *map(notice, bundled_packages())]
    out.write_text(RULE.join(notices) + "\n", encoding="utf-8")
