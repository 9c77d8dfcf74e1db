"""`tensorbrook run`: the same script natively and in a page."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

CORE = Path(__file__).parents[2] / "core"
NATIVE_AND_PAGE = pytest.mark.parametrize("options", [[], ["--page"]], ids=["native", "page"])
IN_PAGE = ["--page"]

pytestmark = pytest.mark.usefixtures("page_build")


def start(*arguments: str | Path, **options) -> subprocess.Popen:
    command = [sys.executable, "-m", "tensorbrook", "run", *map(str, arguments)]
    # Background jobs of a shell ignore Ctrl-C, and child processes would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True,
                            env=os.environ | {"PYTHONPATH": str(CORE)}, **options)


def run(*arguments: str | Path) -> tuple[int, str, str]:
    with start(*arguments) as process:
        out, err = process.communicate(timeout=120)
    return process.returncode, out, err


@pytest.fixture
def script(tmp_path: Path):
    """A function that writes a script into a separate folder."""
    def write(source: str) -> Path:
        path = tmp_path / "script.py"
        path.write_text(source, encoding="utf-8")
        return path
    return write


@NATIVE_AND_PAGE
def test_a_script_has_its_folder_files_and_arguments(script, tmp_path: Path, options: list[str]):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/in.txt").write_text("7\n")
    (tmp_path / "beside.py").write_text("def double(x): return 2 * x\n")
    path = script("""
import sys
from pathlib import Path
from beside import double
print(Path("data/in.txt").read_text().strip(), double(21), sys.argv[1:], Path(__file__).name)
print(Path.cwd() == Path(__file__).parent, __name__)
Path("out").mkdir()
Path("out/made.bin").write_bytes(bytes(range(256)))
Path("data/in.txt").write_text("8")
print("to stderr", file=sys.stderr)
sys.exit(5)
""")
    code, out, err = run(path, *options, "--", "--flag", "a b")
    assert out == "7 42 ['--flag', 'a b'] script.py\nTrue __main__\n"
    assert (code, err) == (5, "to stderr\n")
    assert (tmp_path / "out/made.bin").read_bytes() == bytes(range(256))
    assert (tmp_path / "data/in.txt").read_text() == "8"


@NATIVE_AND_PAGE
def test_an_uncaught_exception_shows_the_file_and_the_line(script, tmp_path: Path,
                                                           options: list[str]):
    (tmp_path / "beside.py").write_text("def fail():\n    raise ValueError('no')\n")
    path = script("import beside\n\nbeside.fail()\n")
    code, out, err = run(path, *options)
    assert (code, out) == (1, "")
    assert f'File "{path}", line 3, in <module>' in err
    assert f'File "{tmp_path / "beside.py"}", line 2, in fail' in err
    assert err.endswith("ValueError: no\n")


@NATIVE_AND_PAGE
def test_output_is_streamed(script, options: list[str]):
    path = script("import time\nprint('first', flush=True)\ntime.sleep(3)\nprint('second')\n")
    with start(path, *options) as process:
        assert process.stdout.readline() == "first\n"
        first = time.monotonic()
        assert process.stdout.readline() == "second\n"
        assert time.monotonic() - first > 0.1       # otherwise both lines arrive at the end
    assert process.returncode == 0


@NATIVE_AND_PAGE
def test_ctrl_c_interrupts_the_script_which_may_still_clean_up(script, tmp_path: Path,
                                                               options: list[str]):
    path = script("""
try:
    print("waiting", flush=True)
    while True: pass
finally:
    print("cleaned")
    open("kept.txt", "w").write("kept")
""")
    with start(path, *options) as process:
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert out == "cleaned\n"
    assert "KeyboardInterrupt" in err
    assert process.returncode == 130
    assert (tmp_path / "kept.txt").read_text() == "kept"


@NATIVE_AND_PAGE
def test_options_set_backend_and_threads(script, options: list[str]):
    path = script("import tensorbrook as tf\n"
                  "print(tf.config.get_backend(), tf.config.get_threads())\n")
    code, out, err = run(path, *options, "--backend", "wasm", "--threads", "2")
    assert (code, out, err) == (0, "wasm 2\n", "")


def test_hidden_and_installed_files_are_not_uploaded(script, tmp_path: Path):
    for folder in (".git", "node_modules", "venv", "__pycache__"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "inside").write_text("x")
    (tmp_path / "venv/pyvenv.cfg").write_text("home = here\n")
    (tmp_path / ".hidden").write_text("x")
    path = script("import os\nprint(sorted(os.listdir('.')))\n")
    assert run(path, *IN_PAGE)[1] == "['script.py']\n"


def test_a_folder_too_large_for_a_page_is_refused(script, tmp_path: Path):
    with open(tmp_path / "large.bin", "wb") as file:
        file.truncate(65 << 20)
    code, out, err = run(script("print(1)"), *IN_PAGE)
    assert (code, out) == (2, "")
    assert err == (f"tensorbrook run: the folder {tmp_path} holds more than 64 MB, all of which "
                   "would be copied to the page; move the script to a separate folder\n")


@NATIVE_AND_PAGE
def test_the_error_of_an_unknown_backend_is_one_line(script, options: list[str]):
    path = script("import tensorbrook as tf\nprint(tf.constant(1) + 1)\n")
    code, out, err = run(path, *options, "--backend", "magic")
    assert code != 0 and out == ""
    assert err.endswith("backend: 'magic' is not known; use one of wasm, webgpu, reference\n")
    assert not options or err.count("\n") == 1


@pytest.mark.parametrize("threads", ["0", "-1", "two", "1.5"])
def test_an_invalid_thread_count(script, threads: str):
    code, out, err = run(script("print(1)"), f"--threads={threads}")
    assert (code, out) == (2, "")
    assert f"'{threads}' is not a positive integer" in err


@NATIVE_AND_PAGE
def test_a_syntax_error_shows_its_line(script, options: list[str]):
    path = script("print(1)\ndef f(:\n")
    code, out, err = run(path, *options)
    assert (code, out) == (1, "")
    assert f'File "{path}", line 2' in err and err.endswith("SyntaxError: invalid syntax\n")


def test_a_folder_is_not_a_script(tmp_path: Path):
    code, out, err = run(tmp_path)
    assert (code, out) == (2, "") and "name a Python file" in err


def test_the_reference_backend_runs_a_script(script):
    path = script("import tensorbrook as tf\nprint(tf.config.get_backend(), float(tf.exp(0.0)))")
    assert run(path, "--backend", "reference") == (0, "reference 1.0\n", "")


def test_a_missing_script(tmp_path: Path):
    code, out, err = run(tmp_path / "none.py")
    assert (code, out) == (2, "")
    assert "there is no script" in err and "none.py; name a Python file" in err


def test_a_missing_browser(script, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("TENSORBROOK_CHROMIUM", str(tmp_path / "no-chromium"))
    code, out, err = run(script("print(1)"), *IN_PAGE)
    assert (code, out) == (2, "")
    assert err == (f"tensorbrook run: TENSORBROOK_CHROMIUM is {tmp_path / 'no-chromium'}, which "
                   "does not exist; set it to the path of Chromium, or unset it to search for "
                   "Chromium\n")
