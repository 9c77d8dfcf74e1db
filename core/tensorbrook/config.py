"""`tf.config`: which backend computes, on how many threads, and what it did."""
from .eager import EAGER


def set_backend(name: str) -> None:
    """Compute on another backend from now on ("wasm" or "reference"); tensors move when used."""
    EAGER.choose(name)


def get_backend() -> str:
    """The name of the backend that computes."""
    return EAGER.backend_name


def get_threads() -> int:
    """On how many threads programs run."""
    return EAGER.backend.threads


def get_counters() -> dict[str, int]:
    """What the backend did so far: `host_calls` out of Python, `programs` run, `kernels` in them,
    and programs `compiled` (a page keeps those of earlier visits, which are only loaded).

    Take the difference of two calls to count what one step did."""
    return EAGER.backend.counters()
