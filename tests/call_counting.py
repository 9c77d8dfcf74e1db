"""Counts function calls, as a measure of work that does not depend on the machine."""
import sys

# Events of sys.setprofile.
PYTHON_CALLS = ("call",)
ALL_CALLS = ("call", "c_call")


def count_calls(function, *args, events: tuple[str, ...] = ALL_CALLS) -> int:
    """The number of calls while `function` runs: of Python functions, and of C functions too unless
    `events` leaves them out."""
    calls = 0

    def profile(frame, event, argument):
        nonlocal calls
        calls += event in events

    sys.setprofile(profile)
    try:
        function(*args)
    finally:
        sys.setprofile(None)
    return calls
