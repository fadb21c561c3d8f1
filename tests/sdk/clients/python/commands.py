"""Commands: streams, ends, environment, input, background, signals."""

import threading
import time

from common import check, main, raises, until
from e2b import CommandExitException, InvalidArgumentException, NotFoundException, Sandbox, TimeoutException

sandbox = None


@check
def quickstart():
    global sandbox
    sandbox = Sandbox.create(timeout=300, envs={"GIVEN": "to all"})
    assert sandbox.is_running()
    result = sandbox.commands.run('echo "Hello World"')
    assert result.stdout == "Hello World\n", result


@check
def streams_and_exit_codes():
    result = sandbox.commands.run("echo out; echo err >&2")
    assert (result.stdout, result.stderr, result.exit_code) == ("out\n", "err\n", 0)
    error = raises(CommandExitException, sandbox.commands.run, "echo told; exit 7")
    assert (error.exit_code, error.stdout, error.error) == (7, "told\n", "exit status 7"), error
    error = raises(CommandExitException, sandbox.commands.run, "kill -9 $$")
    assert error.exit_code == -1 and "killed" in error.error, error


@check
def callbacks_come_while_it_runs():
    seen = []
    sandbox.commands.run(
        "for n in 1 2 3; do echo $n; sleep 0.2; done; echo e >&2",
        on_stdout=lambda text: seen.append((time.monotonic(), text)),
        on_stderr=lambda text: seen.append((time.monotonic(), text)),
    )
    assert "".join(text for _, text in seen) == "1\n2\n3\ne\n", seen
    assert seen[-1][0] - seen[0][0] > 0.3, "all came at once"


@check
def environment_and_directory():
    result = sandbox.commands.run("echo $GIVEN $OWN", envs={"OWN": "to one"})
    assert result.stdout == "to all to one\n", result
    result = sandbox.commands.run("echo $GIVEN", envs={"GIVEN": "anew"})
    assert result.stdout == "anew\n", result
    assert sandbox.commands.run("pwd", cwd="/tmp").stdout == "/tmp\n"
    home = sandbox.commands.run("echo $HOME").stdout
    assert sandbox.commands.run("pwd").stdout == home
    raises(InvalidArgumentException, sandbox.commands.run, "true", cwd="/none/such")


@check
def users_are_one_identity():
    who = {sandbox.commands.run("id -u", user=user).stdout for user in (None, "user", "root")}
    assert len(who) == 1, who
    raises(Exception, sandbox.commands.run, "true", user="daemon")


@check
def output_is_whole():
    size = 3_000_000
    result = sandbox.commands.run(f"head -c {size} /dev/zero | tr '\\0' x")
    assert len(result.stdout) == size
    # Characters that a piece may end within.
    text = sandbox.commands.run("for n in $(seq 5000); do printf 'äöü€किला'; done").stdout
    assert text == "äöü€किला" * 5000


@check
def its_time_ends_a_command():
    begun = time.monotonic()
    raises(TimeoutException, sandbox.commands.run, "sleep 30; echo never > late", timeout=1)
    assert time.monotonic() - begun < 10
    until(lambda: not any("sleep 30" in " ".join(p.args) for p in sandbox.commands.list()))


@check
def background_list_connect_kill():
    handle = sandbox.commands.run("while :; do echo tick; sleep 0.1; done", background=True)
    listed = [p for p in sandbox.commands.list() if p.pid == handle.pid]
    assert listed and listed[0].cmd == "/bin/bash", listed
    handle.disconnect()
    again = sandbox.commands.connect(handle.pid)
    seen = []
    waiting = threading.Thread(target=lambda: raises(CommandExitException, again.wait, on_stdout=seen.append))
    waiting.start()
    until(lambda: "tick" in "".join(seen))
    assert sandbox.commands.kill(handle.pid) is True
    waiting.join(20)
    assert not waiting.is_alive()
    assert sandbox.commands.kill(handle.pid) is False
    assert not [p for p in sandbox.commands.list() if p.pid == handle.pid]
    raises(NotFoundException, sandbox.commands.connect, 999_999)


@check
def a_handle_waits():
    handle = sandbox.commands.run("sleep 0.5; echo late", background=True)
    assert handle.wait().stdout == "late\n"
    handle = sandbox.commands.run("exit 4", background=True)
    assert raises(CommandExitException, handle.wait).exit_code == 4


@check
def standard_input():
    handle = sandbox.commands.run("cat; echo end", stdin=True, background=True)
    sandbox.commands.send_stdin(handle.pid, "one\n")
    handle.send_stdin(b"two\n")
    handle.close_stdin()
    assert handle.wait().stdout == "one\ntwo\nend\n"
    # Without one, a command reads the end at once.
    assert sandbox.commands.run("cat; echo end", timeout=10).stdout == "end\n"


@check
def streamed_input():
    handle = sandbox.commands.run("wc -c", stdin=True, background=True)
    sandbox.commands.stream_input(handle.pid, (b"x" * 50_000 for _ in range(20)))
    sandbox.commands.close_stdin(handle.pid)
    assert handle.wait().stdout.strip() == "1000000"
    raises(NotFoundException, sandbox.commands.stream_input, 999_999, [b"x"])


@check
def many_at_once():
    results = {}

    def one(n):
        results[n] = sandbox.commands.run(f"sleep 0.2; echo {n}").stdout

    threads = [threading.Thread(target=one, args=(n,)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert results == {n: f"{n}\n" for n in range(12)}, results


@check
def the_end():
    assert sandbox.kill() is True
    assert sandbox.kill() is False
    assert sandbox.is_running() is False
    raises(TimeoutException, sandbox.commands.run, "true")


main("python/commands")
