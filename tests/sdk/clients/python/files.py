"""Files: reading, writing, listing, moving, watching, signed URLs."""

import io
import os
import time
import urllib.error
import urllib.parse
import urllib.request

from common import check, main, raises, until
from e2b import (
    FileNotFoundException,
    FilesystemEventType,
    FileType,
    InvalidArgumentException,
    NotFoundException,
    Sandbox,
)

sandbox = Sandbox.create(timeout=300)
files = sandbox.files


@check
def read_formats():
    text = "käse\nकिला\n"
    info = files.write("read.txt", text)
    assert info.name == "read.txt" and info.path.endswith("/read.txt"), info
    assert files.read("read.txt") == text
    assert files.read(info.path, format="bytes") == text.encode()
    assert b"".join(files.read("read.txt", format="stream")) == text.encode()
    assert files.read("read.txt", gzip=True) == text
    assert sandbox.commands.run("cat read.txt").stdout == text


@check
def write_kinds():
    files.write("bytes.bin", bytes(range(256)))
    assert files.read("bytes.bin", format="bytes") == bytes(range(256))
    files.write("stream.bin", io.BytesIO(b"x" * 1_000_000))
    assert len(files.read("stream.bin", format="bytes")) == 1_000_000
    files.write("packed.txt", "y" * 100_000, gzip=True)
    assert files.read("packed.txt") == "y" * 100_000
    files.write("octets.txt", "z", use_octet_stream=True)
    assert files.read("octets.txt") == "z"
    files.write("empty.txt", "")
    assert files.read("empty.txt") == ""
    files.write("octets.txt", "anew")
    assert files.read("octets.txt") == "anew"


@check
def write_many():
    entries = [{"path": f"many/d{n % 3}/{n}.txt", "data": f"file {n}"} for n in range(20)]
    written = files.write_files(entries)
    assert len(written) == 20
    assert all(files.read(e["path"]) == e["data"] for e in entries)
    assert files.write_files([]) == []


@check
def a_large_file():
    data = os.urandom(1 << 20) * 24
    begun = time.monotonic()
    files.write("large.bin", data)
    assert files.read("large.bin", format="bytes") == data
    print(f"note 24 MiB up and down in {time.monotonic() - begun:.2f} s")


@check
def list_with_depth():
    files.make_dir("tree/a/b/c")
    files.write("tree/top.txt", "1")
    names = lambda depth: sorted(os.path.relpath(e.path, base) for e in files.list("tree", depth=depth))
    base = files.get_info("tree").path
    assert names(1) == ["a", "top.txt"]
    assert names(2) == ["a", "a/b", "top.txt"]
    assert names(9) == ["a", "a/b", "a/b/c", "top.txt"]
    raises(NotFoundException, files.list, "none")
    raises(InvalidArgumentException, files.list, "tree", depth=0)


@check
def info():
    sandbox.commands.run("echo 12345 > i.txt; chmod 640 i.txt; ln -sf i.txt l.txt")
    entry = files.get_info("i.txt")
    assert (entry.type, entry.size, entry.permissions) == (FileType.FILE, 6, "-rw-r-----"), entry
    assert entry.mode & 0o777 == 0o640
    assert abs(entry.modified_time.timestamp() - time.time()) < 60
    assert files.get_info(".").type == FileType.DIR
    link = files.get_info("l.txt")
    assert link.symlink_target, link
    raises(FileNotFoundException, files.get_info, "none")


@check
def make_move_remove():
    assert files.make_dir("made/deep") is True
    assert files.make_dir("made/deep") is False
    files.write("made/one.txt", "1")
    moved = files.rename("made/one.txt", "made/deeper/still/two.txt")
    assert moved.name == "two.txt" and files.read("made/deeper/still/two.txt") == "1"
    assert files.exists("made/one.txt") is False and files.exists("made/deep") is True
    raises(FileNotFoundException, files.rename, "none", "other")
    files.remove("made")
    assert files.exists("made") is False
    raises(FileNotFoundException, files.read, "made/one.txt")
    raises(Exception, files.read, "/")


@check
def metadata_is_refused():
    raises(InvalidArgumentException, files.write, "m.txt", "x", metadata={"a": "b"})
    assert files.exists("m.txt") is False


@check
def watched():
    files.make_dir("watched/sub")
    for recursive in (False, True):
        handle = files.watch_dir("watched", recursive=recursive)
        where = f"sub/{recursive}.txt" if recursive else f"{recursive}.txt"
        files.write(f"watched/{where}", "1")
        seen = []

        def told(kind):
            seen.extend((e.name, e.type) for e in handle.get_new_events())
            return (where, kind) in seen or (kind == FilesystemEventType.WRITE and (where, FilesystemEventType.CREATE) in seen)

        until(lambda: told(FilesystemEventType.WRITE))
        files.remove(f"watched/{where}")
        until(lambda: told(FilesystemEventType.REMOVE))
        handle.stop()
        raises(Exception, handle.get_new_events)
    raises(FileNotFoundException, files.watch_dir, "none")
    raises(InvalidArgumentException, files.watch_dir, "i.txt")


@check
def watched_with_entries():
    handle = files.watch_dir("watched", include_entry=True)
    files.write("watched/e.txt", "12345")
    seen = []

    def told():
        seen.extend(handle.get_new_events())
        return any(e.name == "e.txt" and e.entry and e.entry.type == FileType.FILE for e in seen)

    until(told)
    handle.stop()


def fetch(url, data=None, kind=None, host=True):
    """Asks for a signed URL. `E2B_SANDBOX_URL` has no place for the sandbox in it: its name goes into the host instead."""
    parts = urllib.parse.urlsplit(url)
    headers = {"Host": sandbox.get_host(49983)} if host else {}
    if kind:
        headers["Content-Type"] = kind
    request = urllib.request.Request(parts.geturl(), data=data, headers=headers)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer.read()


@check
def signed_urls():
    files.write("signed.txt", "secret")
    assert fetch(sandbox.download_url("signed.txt")) == b"secret"
    assert fetch(sandbox.download_url("signed.txt", use_signature_expiration=60)) == b"secret"
    expired = sandbox.download_url("signed.txt", use_signature_expiration=-10)
    assert raises(urllib.error.HTTPError, fetch, expired).code == 401
    other = sandbox.download_url("signed.txt").replace("signed.txt", "read.txt")
    assert raises(urllib.error.HTTPError, fetch, other).code == 401
    bare = sandbox.download_url("signed.txt").split("&signature")[0]
    assert raises(urllib.error.HTTPError, fetch, bare).code == 401
    form = (
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="up.txt"\r\n\r\nup\r\n--x--\r\n',
        "multipart/form-data; boundary=x",
    )
    fetch(sandbox.upload_url("up.txt"), *form)
    assert files.read("up.txt") == "up"


@check
def the_end():
    assert sandbox.kill() is True


main("python/files")
