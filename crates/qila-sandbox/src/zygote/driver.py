# A zygote for Python: imports what its arguments name, then forks itself into sandboxes. The protocol is in docs/zygotes.md.
# Whatever fails on the way into a sandbox ends that fork; nothing is tried in another way.
import ctypes
import fcntl
import gc
import importlib
import json
import os
import select
import signal
import socket
import struct
import sys

MAX_REQUEST = 160 * 1024
MAX_FDS = 16
MAX_CELL = 1 << 20
MAX_OUTPUT = 1 << 20
SECONDS = 10
MAX_LOST = 16
ROOM = socket.CMSG_SPACE(4 * MAX_FDS)
BUFFER = bytearray(MAX_REQUEST + 1)
MACHINES = {  # setns, seccomp, capset, close_range; Landlock has the same numbers everywhere
    "x86_64": (308, 317, 126, 436),
    "aarch64": (268, 277, 91, 436),
}
LANDLOCK_CREATE, LANDLOCK_ADD, LANDLOCK_RESTRICT = 444, 445, 446
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP = 1, 4, 22
PR_CAPBSET_DROP, PR_SET_SECUREBITS, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 24, 28, 38, 47
SIGKILL, EDEADLK, EINVAL, EPROTO = 9, 35, 22, 71

# Libraries that compute with threads would start them now, and a process with threads cannot be copied whole.
for name in ("OPENBLAS", "OMP", "MKL", "NUMEXPR", "VECLIB"):
    os.environ.setdefault(name + "_NUM_THREADS", "1")

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
NUMBERS = MACHINES.get(os.uname().machine)


class Failed(Exception):
    def __init__(self, step, errno):
        self.step, self.errno = step, errno


def call(step, number, *args):
    words = [ctypes.c_long(a) if isinstance(a, int) else a for a in args]
    answer = libc.syscall(ctypes.c_long(number), *words)
    if answer < 0:
        raise Failed(step, ctypes.get_errno())
    return answer


def prctl(step, what, *args):
    words = [ctypes.c_ulong(a) for a in (list(args) + [0, 0, 0, 0])[:4]]
    if libc.prctl(ctypes.c_int(what), *words) < 0:
        raise Failed(step, ctypes.get_errno())


def drop_capabilities():
    for cap in range(64):
        if libc.prctl(PR_CAPBSET_DROP, ctypes.c_ulong(cap), 0, 0, 0) < 0:
            break  # past the last that this kernel knows; the guest looks that none is left
    prctl("locking the securebits", PR_SET_SECUREBITS, 0b11101111)
    prctl("dropping ambient capabilities", PR_CAP_AMBIENT, 4)
    header = ctypes.create_string_buffer(struct.pack("=Ii", 0x20080522, 0), 8)
    none = ctypes.create_string_buffer(24)
    call("dropping capabilities", NUMBERS[2], header, none)


def confine(rules):
    if rules is None:
        return
    attr = struct.pack("=QQ", rules["files"], rules["ports"])[: 8 if rules["abi"] < 4 else 16]
    fd = call("making Landlock rules", LANDLOCK_CREATE, attr, len(attr), 0)
    for path, directory, file in rules["paths"]:
        try:
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError as e:
            raise Failed("opening " + path + " for Landlock", e.errno)
        rights = directory if os.path.isdir("/proc/self/fd/%d" % place) else file
        rule = struct.pack("=Qi", rights, place)
        call("adding a Landlock rule", LANDLOCK_ADD, fd, 1, rule, 0)
        os.close(place)
    for port in rules["connect"]:
        call("adding a Landlock rule", LANDLOCK_ADD, fd, 2, struct.pack("=QQ", 2, port), 0)
    call("restricting itself with Landlock", LANDLOCK_RESTRICT, fd, 0)
    os.close(fd)


def load_filter(program):
    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("start", ctypes.c_void_p)]

    code = ctypes.create_string_buffer(program, len(program))
    fprog = Program(len(program) // 8, ctypes.addressof(code))
    call("loading the seccomp filter", NUMBERS[1], 1, 0, ctypes.byref(fprog))


def limit(limits):
    import resource

    for what, value in limits:
        ceiling = resource.getrlimit(what)[1]
        value = value if ceiling == resource.RLIM_INFINITY else min(value, ceiling)
        resource.setrlimit(what, (value, value))


def reseed():
    """What was random before the fork is the same in all forks."""
    if "random" in sys.modules:
        sys.modules["random"].seed()
    numpy = sys.modules.get("numpy")
    if numpy is not None and "numpy.random" in sys.modules:
        numpy.random.seed()
    if "ssl" in sys.modules:
        sys.modules["ssl"].RAND_add(os.urandom(64), 64.0)
    if "tempfile" in sys.modules:
        sys.modules["tempfile"]._name_sequence = None


def threads():
    return len(os.listdir("/proc/self/task"))


def say_failed(door, step, errno):
    try:
        os.write(door, b"f" + struct.pack("<i", errno) + step.encode("utf-8", "replace")[:200])
    except OSError:
        pass  # nobody is there to hear it


def attempt(door, work):
    """Runs a stage whose failure is told and ends this process."""
    try:
        return work()
    except Failed as e:
        say_failed(door, e.step, e.errno)
    except OSError as e:
        say_failed(door, str(e), e.errno or EINVAL)
    except BaseException as e:
        say_failed(door, type(e).__name__ + ": " + str(e), EINVAL)
    os._exit(1)


def become(link, zygote, threaded):
    """In a fork of the zygote: what it is to run, when it is in its sandbox and under its walls."""
    # Memory counts for the cgroup in which it is touched first: that of the sandbox, as soon as can be.
    length, words, flags, _ = link.recvmsg_into([BUFFER], ROOM)
    fds = [fd for _, _, data in words for (fd,) in struct.iter_unpack("=i", data)]
    if len(fds) < 5:
        os._exit(1)  # there is nobody to tell

    def join():
        for group in fds[5:]:
            os.write(group, b"0")
            os.close(group)

    attempt(fds[4], join)
    link.close()
    try:
        request = json.loads(BUFFER[:length])
        if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC) or len(fds) != 5 + request["doors"]:
            raise ValueError("it was cut")
        if request["version"] != 1:
            raise ValueError("of another version")
    except (ValueError, KeyError, TypeError) as e:
        print("a malformed request:", e, file=sys.stderr, flush=True)
        os._exit(1)
    first, door = fds[0], fds[4]
    if threaded:
        say_failed(door, "forking: the zygote has threads", EDEADLK)
        os._exit(1)

    def enter():
        prctl("hiding from others", PR_SET_DUMPABLE, 0)
        prctl("tying life to the zygote", PR_SET_PDEATHSIG, SIGKILL)
        signal.alarm(SECONDS)
        call("entering the sandbox", NUMBERS[0], first, request["namespaces"])
        os.close(first)
        prctl("hiding from others", PR_SET_DUMPABLE, 0)
        prctl("tying life to the zygote", PR_SET_PDEATHSIG, SIGKILL)

    attempt(door, enter)
    # The first child that is in the sandbox's process namespace ends at once: what it leaves behind is the guest's child, as
    # every program of the sandbox.
    between = os.fork()
    if between:
        os.waitpid(between, 0)
        os._exit(0)
    while True:
        program = os.fork()
        if program:
            os._exit(0)
        # Libraries know that they were copied by the number that they run under.
        if os.getpid() != zygote:
            break

    def place():
        # Any of them may be on a number that is about to be overwritten.
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 64) for fd in fds[1:5]]
        for number, fd in enumerate(high):
            os.dup2(fd, number, inheritable=number < 3)

    def settle():
        prctl("hiding from others", PR_SET_DUMPABLE, 0)
        prctl("living on", PR_SET_PDEATHSIG, 0)
        os.setsid()
        call("closing descriptors", NUMBERS[3], 4, 0xFFFFFFFF, 0)
        os.chdir(request["cwd"])
        os.umask(0o022)
        limit(request["limits"])
        if request["cpus"]:
            os.sched_setaffinity(0, request["cpus"])
        drop_capabilities()
        prctl("giving up privileges for good", PR_SET_NO_NEW_PRIVS, 1)
        confine(request["landlock"])
        load_filter(bytes.fromhex(request["filter"]))
        prctl("becoming visible", PR_SET_DUMPABLE, 1)
        os.environ.clear()
        for variable in request["env"]:
            name, _, value = variable.partition("=")
            os.environ[name] = value
        reseed()
        import time

        begun = time.monotonic()
        while os.getppid() != 1:
            if time.monotonic() - begun > SECONDS:
                raise Failed("becoming the guest's child", EPROTO)
            time.sleep(0.0001)
        os.write(3, b"r" + struct.pack("<i", os.getpid()))
        if os.read(3, 1) != b"g":
            os._exit(1)

    attempt(door, place)
    attempt(3, settle)
    os.close(3)
    return request


def serve(link):
    """Returns in a fork, with what it is to run; never in the zygote, which ends when nobody can ask it any more.

    The zygote itself reads no request: what is in its memory is in that of all later forks."""
    poller = select.poll()
    poller.register(link, select.POLLIN)
    zygote = os.getpid()
    lost = 0
    while lost < MAX_LOST:
        poller.poll()
        if not link.recv(1, socket.MSG_PEEK):
            sys.exit(0)
        threaded = threads() != 1
        child = os.fork()
        if not child:
            return become(link, zygote, threaded)
        # One that was killed may not have taken its request.
        lost = lost + 1 if os.WIFSIGNALED(os.waitpid(child, 0)[1]) else 0
    sys.exit("forks are killed before they can read what they are asked")


def cells():
    """One JSON object a line in, `{"code": …}`; one out, with what it wrote, its last value and its error."""
    import ast
    import io
    import traceback
    import types

    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library writes by itself is no reply
    asks = os.fdopen(os.dup(0), "rb")
    os.dup2(os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC), 0)
    main = types.ModuleType("__main__")
    sys.modules["__main__"] = main

    class Bounded(io.StringIO):
        lost = 0

        def write(self, text):
            room = max(0, MAX_OUTPUT - self.tell())
            self.lost += max(0, len(text) - room)
            super().write(text[:room])
            return len(text)

    while True:
        line = asks.readline(MAX_CELL + 1)
        if not line:
            return
        reply = {"error": None, "value": None}
        out, err = Bounded(), Bounded()
        sys.stdout, sys.stderr = out, err
        try:
            if len(line) > MAX_CELL:
                raise ValueError("a cell may have %d bytes" % MAX_CELL)
            ask = json.loads(line)
            reply["id"] = ask.get("id")
            tree = ast.parse(ask["code"], "<cell>")
            last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
            exec(compile(tree, "<cell>", "exec"), main.__dict__)
            if last is not None:
                value = eval(compile(ast.Expression(last.value), "<cell>", "eval"), main.__dict__)
                reply["value"] = None if value is None else repr(value)[:MAX_OUTPUT]
        except SystemExit:
            raise
        except BaseException as e:
            trace = "".join(traceback.format_exception(type(e), e, e.__traceback__))
            reply["error"] = {"name": type(e).__name__, "text": str(e)[:4096], "trace": trace[-65536:]}
        finally:
            sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
        reply["out"], reply["err"], reply["lost"] = out.getvalue(), err.getvalue(), out.lost + err.lost
        replies.write(json.dumps(reply) + "\n")
        replies.flush()
        if len(line) > MAX_CELL:
            return  # where the next one begins is not known


def run(argv):
    """As `python3` would with the same arguments; without any, cells are read from standard input."""
    if len(argv) < 2:
        return cells()
    import runpy

    if argv[1] == "-c" and len(argv) > 2:
        sys.argv = ["-c"] + argv[3:]
        sys.path[0] = ""
        main = type(sys)("__main__")
        sys.modules["__main__"] = main
        exec(compile(argv[2], "<string>", "exec"), main.__dict__)
    elif argv[1] == "-m" and len(argv) > 2:
        sys.argv = argv[2:]
        sys.path[0] = os.getcwd()
        runpy.run_module(argv[2], run_name="__main__", alter_sys=True)
    else:
        sys.argv = argv[1:]
        sys.path[0] = os.path.dirname(os.path.abspath(argv[1]))
        runpy.run_path(argv[1], run_name="__main__")


def main():
    if NUMBERS is None:
        sys.exit("no system call numbers for this processor")
    link = socket.socket(fileno=os.dup(0))
    null = os.open("/dev/null", os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    import random  # noqa: F401  seeded anew in every fork
    import resource  # noqa: F401  so that no fork has to read it
    import time  # noqa: F401

    for name in sys.argv[1:]:
        importlib.import_module(name)
    if threads() != 1:
        sys.exit("what was imported has started threads; a program with threads cannot be a zygote")
    gc.collect()
    gc.freeze()
    sys.stdout.flush()
    sys.stderr.flush()
    link.send(b"w")
    return serve(link)


request = main()
run(request["argv"])
