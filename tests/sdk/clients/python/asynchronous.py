"""The asynchronous SDK: the same things, many at once, in one thread."""

import asyncio

from common import check, main
from e2b import AsyncSandbox, CommandExitException, PtySize, SandboxState


def sandboxed(work):
    """A check with a sandbox of its own."""

    async def whole():
        sandbox = await AsyncSandbox.create(timeout=300)
        try:
            await work(sandbox)
        finally:
            await sandbox.kill()

    def function():
        asyncio.run(whole())

    function.__name__ = work.__name__
    return check(function)


async def became(true, seconds=30):
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.02)


@sandboxed
async def commands(sandbox):
    result = await sandbox.commands.run("echo out; echo err >&2")
    assert (result.stdout, result.stderr) == ("out\n", "err\n")
    results = await asyncio.gather(*(sandbox.commands.run(f"sleep 0.2; echo {n}") for n in range(20)))
    assert [r.stdout for r in results] == [f"{n}\n" for n in range(20)]
    handle = await sandbox.commands.run("cat", stdin=True, background=True)
    await sandbox.commands.send_stdin(handle.pid, "typed")
    await sandbox.commands.close_stdin(handle.pid)
    assert (await handle.wait()).stdout == "typed"
    try:
        await sandbox.commands.run("exit 3")
        raise AssertionError("it ended well")
    except CommandExitException as error:
        assert error.exit_code == 3


@sandboxed
async def a_cancelled_listener_leaves_the_command(sandbox):
    handle = await sandbox.commands.run("sleep 50", background=True, timeout=0)
    waiting = asyncio.create_task(handle.wait())
    await asyncio.sleep(0.2)
    waiting.cancel()
    await handle.disconnect()
    await asyncio.sleep(0.3)
    assert handle.pid in [p.pid for p in await sandbox.commands.list()]
    assert await sandbox.commands.kill(handle.pid) is True


@sandboxed
async def files(sandbox):
    await asyncio.gather(*(sandbox.files.write(f"d/{n}", str(n)) for n in range(20)))
    assert len(await sandbox.files.list("d")) == 20
    assert await asyncio.gather(*(sandbox.files.read(f"d/{n}") for n in range(20))) == [str(n) for n in range(20)]
    text = b""
    async for piece in await sandbox.files.read("d/7", format="stream"):
        text += piece
    assert text == b"7"


@sandboxed
async def watched(sandbox):
    seen = []
    await sandbox.files.make_dir("w")
    handle = await sandbox.files.watch_dir("w", on_event=lambda e: seen.append(e.name), recursive=True)
    await sandbox.files.write("w/x/f", "1")
    await became(lambda: "x/f" in seen or "x" in seen)
    await handle.stop()


@sandboxed
async def terminal(sandbox):
    said = []
    pty = await sandbox.pty.create(PtySize(rows=10, cols=40), on_data=said.append)
    await sandbox.pty.send_stdin(pty.pid, b"echo $((6*7)) there\n")
    await became(lambda: b"42 there" in b"".join(said))
    assert await sandbox.pty.kill(pty.pid) is True


@sandboxed
async def pause_and_connect(sandbox):
    await sandbox.files.write("kept", "kept")
    await sandbox.pause()
    assert (await sandbox.get_info()).state == SandboxState.PAUSED
    again = await AsyncSandbox.connect(sandbox.sandbox_id)
    assert await again.files.read("kept") == "kept"


@check
def many_sandboxes():
    async def one(n):
        sandbox = await AsyncSandbox.create(timeout=120, metadata={"n": str(n)})
        try:
            return (await sandbox.commands.run(f"echo {n}")).stdout
        finally:
            await sandbox.kill()

    async def whole():
        return await asyncio.gather(*(one(n) for n in range(24)))

    assert asyncio.run(whole()) == [f"{n}\n" for n in range(24)]


main("python/asynchronous")
