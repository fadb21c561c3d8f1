"""Terminals."""

import threading
import time

from common import check, main, until
from e2b import PtySize, Sandbox

sandbox = Sandbox.create(timeout=300)


class Screen:
    """What a terminal says, as it comes."""

    def __init__(self, handle):
        self.handle, self.said = handle, b""
        self.thread = threading.Thread(target=self.listen, daemon=True)
        self.thread.start()

    def listen(self):
        try:
            self.handle.wait(on_pty=self.hear)
        except Exception:
            pass

    def hear(self, data):
        self.said += data

    def shows(self, text):
        until(lambda: text in self.said)


@check
def create_input_resize_kill():
    handle = sandbox.pty.create(PtySize(rows=24, cols=80), envs={"GIVEN": "inside"}, cwd="/tmp")
    screen = Screen(handle)
    sandbox.pty.send_stdin(handle.pid, b"echo $GIVEN-$((40+2)); pwd; stty size; tty\n")
    screen.shows(b"inside-42")
    screen.shows(b"/tmp\r\n")
    screen.shows(b"24 80")
    screen.shows(b"/dev/pts/")
    sandbox.pty.resize(handle.pid, PtySize(rows=40, cols=120))
    sandbox.pty.send_stdin(handle.pid, b"stty size\n")
    screen.shows(b"40 120")
    assert sandbox.pty.kill(handle.pid) is True
    screen.thread.join(20)
    assert not screen.thread.is_alive()
    assert sandbox.pty.kill(handle.pid) is False


@check
def keys_are_signals():
    handle = sandbox.pty.create(PtySize(rows=24, cols=80))
    screen = Screen(handle)
    sandbox.pty.send_stdin(handle.pid, b"echo begun-$((1+1)); sleep 100\n")
    screen.shows(b"begun-2")
    time.sleep(0.3)
    sandbox.pty.send_stdin(handle.pid, b"\x03")
    sandbox.pty.send_stdin(handle.pid, b"echo still-$((1+1))\n")
    screen.shows(b"still-2")
    sandbox.pty.send_stdin(handle.pid, b"exit 0\n")
    screen.thread.join(20)
    assert not screen.thread.is_alive()


@check
def another_listener():
    handle = sandbox.pty.create(PtySize(rows=24, cols=80))
    handle.disconnect()
    again = sandbox.pty.connect(handle.pid)
    screen = Screen(again)
    sandbox.pty.send_stdin(handle.pid, b"echo again-$((3+4))\n")
    screen.shows(b"again-7")
    sandbox.pty.kill(handle.pid)


@check
def the_end():
    assert sandbox.kill() is True


main("python/terminals")
