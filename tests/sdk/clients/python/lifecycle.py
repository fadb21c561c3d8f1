"""Lives of sandboxes: lists, times, pauses, snapshots, forks, refusals."""

import datetime
import os
import threading
import time
import uuid

from common import check, main, raises, until
from e2b import (
    AuthenticationException,
    NotFoundException,
    Sandbox,
    SandboxException,
    SandboxQuery,
    SandboxState,
    Template,
    TimeoutException,
)

RUN = uuid.uuid4().hex
made = []


def create(**more):
    sandbox = Sandbox.create(timeout=more.pop("timeout", 300), **more)
    made.append(sandbox)
    return sandbox


def ids(**query):
    paginator = Sandbox.list(query=SandboxQuery(metadata={"run": RUN}, **query), limit=2)
    found = []
    while paginator.has_next:
        page = paginator.next_items()
        assert len(page) <= 2
        found.extend(s.sandbox_id for s in page)
    return found


@check
def metadata_and_lists():
    boxes = [create(metadata={"run": RUN, "n": str(n), "odd one": "a=b & c" if n % 2 else "no"}) for n in range(5)]
    assert sorted(ids()) == sorted(b.sandbox_id for b in boxes)
    odd = Sandbox.list(query=SandboxQuery(metadata={"run": RUN, "odd one": "a=b & c"})).next_items()
    assert sorted(s.metadata["n"] for s in odd) == ["1", "3"]
    ascending = Sandbox.list(query=SandboxQuery(metadata={"run": RUN}), order="asc").next_items()
    assert [s.metadata["n"] for s in ascending] == ["0", "1", "2", "3", "4"]
    boxes[0].pause()
    assert ids(state=[SandboxState.PAUSED]) == [boxes[0].sandbox_id]
    assert len(ids(state=[SandboxState.RUNNING])) == 4
    info = boxes[1].get_info()
    assert (info.state, info.metadata["n"]) == (SandboxState.RUNNING, "1"), info
    for box in boxes:
        assert Sandbox.kill(box.sandbox_id) is True
    assert ids() == []


@check
def times():
    sandbox = create(timeout=60)
    left = lambda: (sandbox.get_info().end_at - datetime.datetime.now(datetime.timezone.utc)).total_seconds()
    assert 40 < left() <= 61
    sandbox.set_timeout(600)
    assert 580 < left() <= 601
    # Whoever comes back does not shorten it.
    Sandbox.connect(sandbox.sandbox_id, timeout=30)
    assert left() > 500
    sandbox.set_timeout(1)
    until(lambda: not sandbox.is_running())
    raises(NotFoundException, sandbox.get_info)
    raises(TimeoutException, sandbox.commands.run, "true")


@check
def pause_and_resume():
    sandbox = create()
    sandbox.files.write("kept.txt", "kept")
    handle = sandbox.commands.run("n=0; while :; do n=$((n+1)); echo $n > n.txt; sleep 0.05; done", background=True, timeout=0)
    handle.disconnect()
    until(lambda: sandbox.files.exists("n.txt"))
    assert sandbox.pause() is True
    assert sandbox.pause() is False
    assert sandbox.is_running() is False
    raises(TimeoutException, sandbox.commands.run, "true")
    time.sleep(1)
    again = Sandbox.connect(sandbox.sandbox_id, timeout=120)
    before = int(again.files.read("n.txt").strip() or 0)
    assert again.files.read("kept.txt") == "kept"
    until(lambda: int(again.files.read("n.txt").strip() or 0) > before)
    assert handle.pid in [p.pid for p in again.commands.list()]
    assert again.commands.kill(handle.pid) is True


@check
def auto_pause_and_resume():
    # Its time is short only once the file is there.
    sandbox = create(lifecycle={"on_timeout": "pause"})
    sandbox.files.write("a.txt", "a")
    sandbox.set_timeout(1)
    until(lambda: sandbox.get_info().state == SandboxState.PAUSED)
    raises(TimeoutException, sandbox.files.read, "a.txt")
    assert Sandbox.connect(sandbox.sandbox_id, timeout=60).files.read("a.txt") == "a"
    sandbox = create(lifecycle={"on_timeout": "pause", "auto_resume": True})
    sandbox.files.write("a.txt", "a")
    sandbox.set_timeout(1)
    until(lambda: sandbox.get_info().state == SandboxState.PAUSED)
    assert sandbox.files.read("a.txt") == "a"
    assert sandbox.get_info().state == SandboxState.RUNNING


@check
def snapshots():
    sandbox = create()
    sandbox.files.write("s.txt", "then")
    snapshot = sandbox.create_snapshot()
    sandbox.files.write("s.txt", "now")
    new = create(template=snapshot.snapshot_id)
    assert new.files.read("s.txt") == "then"
    new.files.write("s.txt", "elsewhere")
    assert sandbox.files.read("s.txt") == "now"
    listed = Sandbox.list_snapshots(sandbox_id=sandbox.sandbox_id).next_items()
    assert [s.snapshot_id for s in listed] == [snapshot.snapshot_id]
    new.kill()
    assert Sandbox.delete_snapshot(snapshot.snapshot_id) is True
    assert Sandbox.delete_snapshot(snapshot.snapshot_id) is False
    raises(SandboxException, Sandbox.create, template=snapshot.snapshot_id)
    named = sandbox.create_snapshot(name=f"named-{RUN}")
    assert named.names == [f"named-{RUN}"], named
    assert create(template=f"named-{RUN}").files.read("s.txt") == "now"


@check
def forks():
    sandbox = create(metadata={"run": RUN})
    sandbox.files.write("f.txt", "shared")
    forks = sandbox.fork(count=3)
    assert len(forks) == 3 and not [f for f in forks if isinstance(f, Exception)], forks
    made.extend(forks)
    for n, fork in enumerate(forks):
        assert fork.sandbox_id != sandbox.sandbox_id
        assert fork.files.read("f.txt") == "shared"
        fork.files.write("f.txt", str(n))
    assert sandbox.files.read("f.txt") == "shared"
    assert [f.files.read("f.txt") for f in forks] == ["0", "1", "2"]


@check
def metrics():
    sandbox = create()
    sandbox.commands.run("head -c 3000000 /dev/zero > big; sleep 0.2")
    metrics = sandbox.get_metrics()
    assert len(metrics) == 1 and metrics[0].mem_total > 0 and metrics[0].cpu_count >= 1, metrics


@check
def without_network():
    sandbox = create(allow_internet_access=False)
    probe = "timeout 10 bash -c '</dev/tcp/pypi.org/443' && echo reached || echo closed"
    assert sandbox.commands.run(probe).stdout.strip().endswith("closed")


@check
def networks_are_narrowed():
    probe = "for name in pypi.org registry.npmjs.org example.com; do getent hosts $name >/dev/null && echo $name; done; true"
    for network, names in (
        ({"allow_out": ["pypi.org"]}, ["pypi.org"]),
        ({"allow_out": ["pypi.org"], "deny_out": ["0.0.0.0/0"]}, ["pypi.org"]),
        ({"deny_out": ["pypi.org"]}, ["registry.npmjs.org"]),
        ({"deny_out": ["0.0.0.0/0"]}, []),
        ({"deny_out": ["10.0.0.0/8"]}, ["pypi.org", "registry.npmjs.org"]),
    ):
        sandbox = create(network=network)
        # A name that is denied is not resolved: nothing leaves this host for that.
        assert sandbox.commands.run(probe).stdout.split() == names, network
        sandbox.kill()
    # What the template's policy does not allow cannot be wished for.
    error = raises(SandboxException, create, network={"allow_out": ["example.com"]})
    assert "network.allow" in str(error), error


@check
def private_ports_want_the_traffic_token():
    import urllib.request

    sandbox = create(network={"allow_public_traffic": False})
    server = "import http.server as h;h.test(h.SimpleHTTPRequestHandler,port=8124,bind='127.0.0.1')"
    sandbox.files.write("page.txt", "a page")
    sandbox.commands.run(f'python3 -c "{server}"', background=True, timeout=0).disconnect()

    def page(token):
        headers = {"Host": sandbox.get_host(8124)}
        if token:
            headers["E2b-Traffic-Access-Token"] = token
        try:
            url = f"{os.environ['E2B_SANDBOX_URL']}/page.txt"
            return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=20).read()
        except urllib.error.HTTPError as error:
            return error.code

    until(lambda: page(sandbox.traffic_access_token) == b"a page")
    assert page(None) in (401, 403) and page("wrong") in (401, 403)


@check
def a_port():
    sandbox = create()
    server = "import http.server as h;h.test(h.SimpleHTTPRequestHandler,port=8123,bind='127.0.0.1')"
    sandbox.files.write("page.txt", "a page")
    sandbox.commands.run(f'python3 -c "{server}"', background=True, timeout=0).disconnect()
    import urllib.request

    host = sandbox.get_host(8123)
    url = f"{os.environ['E2B_SANDBOX_URL']}/page.txt"

    def page():
        try:
            request = urllib.request.Request(url, headers={"Host": host})
            return urllib.request.urlopen(request, timeout=20).read() == b"a page"
        except urllib.error.HTTPError:
            return False

    until(page)


@check
def refusals():
    for more in (
        {"mcp": {"browserbase": {"apiKey": "a", "geminiApiKey": "b", "projectId": "c"}}},
        {"network": {"egress_proxy": {"address": "proxy.example:1080"}}},
        {"network": {"rules": {"api.example.com": [{"transform": {"headers": {"a": "b"}}}]}}},
        {"template": "there-is-none"},
    ):
        error = raises(SandboxException, create, **more)
        assert str(error)[:3] in ("400", "404"), error
    sandbox = create()
    raises(SandboxException, sandbox.update_network, {"deny_out": ["1.1.1.1"]})
    raises(SandboxException, sandbox.pause, mode="filesystem")
    assert sandbox.is_running()


@check
def a_repeated_request_makes_one_sandbox():
    key = uuid.uuid4().hex
    first = create(idempotency_key=key)
    again = create(idempotency_key=key)
    assert first.sandbox_id == again.sandbox_id
    assert again.commands.run("echo same").stdout == "same\n"
    assert create(idempotency_key=uuid.uuid4().hex).sandbox_id != first.sandbox_id


@check
def keys():
    raises(AuthenticationException, Sandbox.create, api_key="qila_" + "0" * 64)
    theirs = os.environ["E2B_API_KEY"].replace("qila_", "e2b_")
    sandbox = Sandbox.create(timeout=60, api_key=theirs)
    assert Sandbox.kill(sandbox.sandbox_id, api_key=theirs) is True
    # Without its own token, a sandbox is not spoken to.
    sandbox = create()
    headers = sandbox.connection_config.sandbox_headers
    import urllib.request

    url = f"{os.environ['E2B_SANDBOX_URL']}/files?path=x"
    request = urllib.request.Request(url, headers={"E2b-Sandbox-Id": headers["E2b-Sandbox-Id"], "E2b-Sandbox-Port": "49983"})
    assert raises(urllib.error.HTTPError, urllib.request.urlopen, request, timeout=10).code == 401


@check
def templates():
    assert Template.exists("base") is True
    assert Template.exists(f"none-{RUN}") is False
    name = f"t-{RUN}"
    Template.build(Template().from_template("base"), name)
    assert Template.exists(name) is True
    assert create(template=name).commands.run("echo built").stdout == "built\n"
    raises(Exception, Template.build, Template().from_template("base").run_cmd("true"), f"u-{RUN}")


@check
def a_command_learns_of_the_end():
    sandbox = create()
    threading.Timer(1, sandbox.kill).start()
    begun = time.monotonic()
    error = raises(SandboxException, sandbox.commands.run, "sleep 60")
    assert time.monotonic() - begun < 30, error


@check
def the_end():
    for sandbox in made:
        sandbox.kill()


main("python/lifecycle")
