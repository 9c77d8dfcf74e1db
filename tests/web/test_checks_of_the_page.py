"""Types and unit tests of the page's TypeScript, each by the npm script that runs it alone too."""

import pytest

import node


@pytest.mark.parametrize("script", ["check", "test"])
def test_npm_script(script):
    done = node.run(node.find(), "run", script)
    assert done.returncode == 0, done.stdout
