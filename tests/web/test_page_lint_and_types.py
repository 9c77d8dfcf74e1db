"""Type checks and unit tests of the page's TypeScript, by its npm scripts."""

import pytest

import node


@pytest.mark.parametrize("script", ["check", "test"])
def test_npm_script(script):
    process = node.run(node.find(), "run", script)
    assert process.returncode == 0, process.stdout
