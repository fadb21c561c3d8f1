"""The server is killed and started anew: sandboxes, commands and what they said are still there."""

import os
import signal
import subprocess
import time
import urllib.request

from common import check, last, main, raises, until
from e2b import NotFoundException, Sandbox, SandboxException

successor = None


def again():
    """Kills the server without a word, and starts another in its place."""
    global successor
    pid = successor.pid if successor else int(os.environ["QILA_SDK_PID"])
    os.kill(pid, signal.SIGKILL)
    if successor:
        successor.wait()
    address = os.environ["E2B_API_URL"].removeprefix("http://")
    successor = subprocess.Popen(
        [os.environ["QILA_SDK_QILA"], "serve", "--listen", address], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )

    def serves():
        try:
            return urllib.request.urlopen(f"{os.environ['E2B_API_URL']}/healthz", timeout=2).status == 200
        except OSError:
            return False

    until(serves, 30)


@check
def commands_go_on():
    sandbox = Sandbox.create(timeout=300, metadata={"kept": "yes"})
    sandbox.files.write("kept.txt", "kept")
    handle = sandbox.commands.run("n=0; while :; do n=$((n+1)); echo $n; sleep 0.1; done", background=True, timeout=0)
    watcher = sandbox.files.watch_dir(".")
    time.sleep(0.5)
    again()
    # Whoever listened is told, and can come back.
    raises(SandboxException, handle.wait)
    back = Sandbox.connect(sandbox.sandbox_id)
    assert back.files.read("kept.txt") == "kept" and back.get_info().metadata == {"kept": "yes"}
    assert handle.pid in [p.pid for p in back.commands.list()]
    seen = []
    listening = back.commands.connect(handle.pid, timeout=2)
    raises(SandboxException, listening.wait, on_stdout=seen.append)
    assert [int(n) for n in "".join(seen).split()][0] > 1, seen
    # What only the server remembered is gone, and says so.
    raises(NotFoundException, watcher.get_new_events)
    assert back.commands.kill(handle.pid) is True
    # Its token is the same.
    assert sandbox.commands.run("echo alive").stdout == "alive\n"
    assert sandbox.kill() is True


@check
def pauses_and_ends_are_kept():
    paused, short = Sandbox.create(timeout=300), Sandbox.create(timeout=3)
    paused.pause()
    again()
    assert paused.get_info().state.value == "paused"
    assert Sandbox.connect(paused.sandbox_id).commands.run("echo awake").stdout == "awake\n"
    until(lambda: not short.is_running(), 20)
    assert paused.kill() is True


@last
def the_end():
    if not successor:
        return
    for left in Sandbox.list().next_items():
        Sandbox.kill(left.sandbox_id)
    successor.terminate()
    assert successor.wait(30) == 0


main("python/crash")
