"""Import the programs of examples/ as modules."""
import importlib.util
from types import ModuleType

import environment


def example(name: str) -> ModuleType:
    """A fresh module object, so that a test may change its constants."""
    path = environment.ROOT / "examples" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
