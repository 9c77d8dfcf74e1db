"""Build scripts: the build cache, finding tools, installing packages, error messages."""

import os
import runpy
import sys
import zipfile
from pathlib import Path

import pytest

import environment
import chromium
import firefox_webkit
import node
import page_wheel
import build_cache
from tensorbrook.studio import server


def program(folder: Path, name: str, *lines: str) -> Path:
    """An executable shell script with this name."""
    path = folder / name
    path.write_text("\n".join(["#!/bin/sh", *lines]) + "\n")
    path.chmod(0o755)
    return path


def message(ended: pytest.ExceptionInfo[SystemExit]) -> str:
    return str(ended.value.code)


def test_work_runs_only_when_an_input_or_output_changed(tmp_path):
    source, output, stamp = tmp_path / "source", tmp_path / "output", tmp_path / "stamps" / "s"

    def run(text: str) -> bool:
        source.write_text(text)
        return build_cache.run_if_changed(stamp, build_cache.digest(source), [output],
                                          lambda: output.write_text(text))

    assert [run("a"), run("a"), run("b"), run("b")] == [True, False, True, False]
    output.unlink()
    assert [run("b"), run("b")] == [True, False]


def test_failed_work_runs_again(tmp_path):
    def fail():
        raise RuntimeError("disk full")

    stamp = tmp_path / "stamp"
    build_cache.run_if_changed(stamp, "old", [], lambda: None)
    with pytest.raises(RuntimeError):
        build_cache.run_if_changed(stamp, "new", [], fail)
    assert build_cache.run_if_changed(stamp, "old", [], lambda: None)


def test_a_digest_covers_names_and_contents_but_no_build_outputs(tmp_path):
    (tmp_path / "a").write_text("1")
    first = build_cache.digest(tmp_path)
    (tmp_path / "node_modules").mkdir()
    (tmp_path / "node_modules" / "b").write_text("2")
    assert build_cache.digest(tmp_path) == first
    (tmp_path / "a").rename(tmp_path / "c")
    assert build_cache.digest(tmp_path) != first


def test_an_old_python_exits_with_a_hint(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 9, 18))
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(environment.__file__)
    assert message(ended) == ("tensorbrook needs Python 3.11 or newer and this is Python 3.9; "
                               "install a newer one (python.org has them) and start this script "
                               "with it")


def test_a_package_that_cannot_be_fetched_exits_with_a_hint(monkeypatch):
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    with pytest.raises(SystemExit) as ended:
        environment.pip("tensorbrook-is-not-there")
    assert message(ended).endswith("could not install the Python packages; check the network "
                                    "connection, or pip's proxy and index settings, and try again")


NODES = {(): False, (18, 20, 4): False, (20, 9, 0): False, (20, 19, 0): True, (21, 7, 3): False,
         (22, 11, 0): False, (22, 12, 0): True, (24, 1, 0): True}


@pytest.mark.parametrize("version", NODES)
def test_which_node_is_new_enough(version):
    assert node.new_enough(version) is NODES[version]


def test_an_old_node_on_the_path_is_ignored(tmp_path, monkeypatch):
    program(tmp_path, "npm")
    old = program(tmp_path, "node", "echo v18.20.4")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert node.version(old) == (18, 20, 4)
    assert node.from_system() is None


def test_the_found_node_runs():
    tools = node.find()
    assert node.new_enough(node.version(tools.node))
    assert node.run(tools, "--version").returncode == 0


def test_a_configured_browser_must_start(tmp_path, monkeypatch):
    missing = str(tmp_path / "chromium")
    monkeypatch.setenv("TENSORBROOK_CHROMIUM", missing)
    with pytest.raises(SystemExit) as ended:
        chromium.find()
    assert message(ended) == (f"TENSORBROOK_CHROMIUM is {missing}, which does not start as a "
                               "Chromium; set it to one that does, or unset it to let this "
                               "script find one")


@pytest.fixture
def no_browser(tmp_path, monkeypatch):
    """A system without any Chromium, and without the network to fetch one from."""
    monkeypatch.delenv("TENSORBROOK_CHROMIUM", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(tmp_path / "browsers"))
    monkeypatch.setenv("PLAYWRIGHT_DOWNLOAD_HOST", "http://127.0.0.1:9")
    return tmp_path


def test_without_any_browser_the_message_says_what_to_install(no_browser):
    with pytest.raises(SystemExit) as ended:
        chromium.find()
    assert message(ended) == ("the page's tests need a Chromium and none could be found or "
                               "installed; install `chromium` or `google-chrome`, or set "
                               "TENSORBROOK_CHROMIUM to one, or leave the page out with --fast")


def test_browsers_are_tried_in_order_and_must_start(no_browser, monkeypatch):
    google = program(no_browser, "google-chrome", "exit 0")
    program(no_browser, "chromium", "exit 1")
    assert chromium.find() == str(google)
    plain = program(no_browser, "chromium", "exit 0")
    assert chromium.find() == str(plain)
    named = program(no_browser, "my-browser", "exit 0")
    monkeypatch.setenv("TENSORBROOK_CHROMIUM", str(named))
    assert chromium.find() == str(named)


def test_without_firefox_and_webkit_the_message_says_what_to_install(no_browser, monkeypatch):
    monkeypatch.setattr(firefox_webkit, "MINI_BROWSERS", ())
    firefox_webkit.install()  # there is no apt-get on the PATH
    with pytest.raises(FileNotFoundError) as raised:
        firefox_webkit.find()
    assert str(raised.value) == (
        "the tests in tests/browsers need firefox, webkit, webkit_driver, xvfb, which could not be "
        "found or installed; install firefox-esr, webkit2gtk-driver, libwebkit2gtk-4.1-0, xvfb, or "
        "leave the page out with --fast")


def test_the_page_wheel_is_reproducible_and_omits_native_modules(tmp_path):
    first, second = tmp_path / "first.whl", tmp_path / "second.whl"
    page_wheel.write(first)
    page_wheel.write(second)
    assert first.read_bytes() == second.read_bytes()
    names = set(zipfile.ZipFile(first).namelist())
    assert {"tensorbrook/__init__.py", "tensorbrook/keras/datasets/digits.zlib",
            f"tensorbrook-{page_wheel.version()}.dist-info/RECORD"} <= names
    assert not names & {f"tensorbrook/{name}" for name in page_wheel.NATIVE_ONLY}
    assert not [name for name in names if name.endswith((".wasm", ".pyc"))]


def test_every_native_only_file_exists():
    assert [n for n in page_wheel.NATIVE_ONLY if not (page_wheel.PACKAGE / n).exists()] == []


def test_a_port_in_use_is_named(capsys):
    with server.listen(0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"studio: port {port} cannot be used.*, or 0 for"):
            server.listen(port)
    with pytest.raises(OSError, match="studio: port 70000 cannot be used"):
        server.listen(70000)


def test_a_missing_build_of_the_page_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="build it with python build_scripts/build.py"):
        server.application(tmp_path)
