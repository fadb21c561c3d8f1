"""What the checks have in common: each is a function; one line says what became of it."""

import os
import signal
import sys
import time
import traceback

TEMPLATE = os.environ.get("QILA_SDK_TEMPLATE", "base")
ONLY = os.environ.get("QILA_SDK_ONLY", "")
# Longest that one check takes, in seconds.
PATIENCE = 90

CHECKS = []
# Those that are made whatever the others came to.
LAST = []


class Skip(Exception):
    """The check cannot be made here."""


def check(function):
    """Registers a check."""
    CHECKS.append(function)
    return function


def last(function):
    """Registers a check that cleans up: it is made even where only others were asked for."""
    LAST.append(function)
    return check(function)


def late(_signal, _frame):
    raise TimeoutError(f"the check took more than {PATIENCE} s")


def main(part):
    """Makes the checks of this program one after the other, and says what became of each."""
    signal.signal(signal.SIGALRM, late)
    for function in CHECKS:
        name = f"{part}/{function.__name__}"
        if ONLY not in name and function not in LAST:
            continue
        begun = time.monotonic()
        signal.alarm(PATIENCE)
        try:
            function()
            outcome = f"ok {1000 * (time.monotonic() - begun):.0f} ms"
        except Skip as why:
            outcome = f"skipped {why}"
        except BaseException:
            lines = traceback.format_exc().strip().splitlines()
            outcome = "failed " + " | ".join(lines[-12:])
        finally:
            signal.alarm(0)
        print(f"check {name} {outcome}", flush=True)
    print(f"done {part}", flush=True)
    sys.stdout.flush()
    # Threads of a client that failed keep nobody waiting.
    os._exit(0)


def until(true, seconds=30.0):
    """Waits until something is so."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not become so in time"
        time.sleep(0.02)


def raises(kind, function, *args, **more):
    """The exception of this kind that a call raises."""
    try:
        result = function(*args, **more)
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} was expected, and {result!r} came")
