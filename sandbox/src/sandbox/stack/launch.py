"""Run a command so that it dies with its parent, and never as root where it must not. Standard library only: runs as
`python -I -S launch.py`.

`launch.py --signal 15 --parent 123 [--user 65534:65534] -- command ...`. The process id stays: this execs.
"""

import ctypes
import os
import sys
import time

PR_SET_PDEATHSIG, PR_SET_KEEPCAPS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE = 1, 8, 47, 2
CAP_DAC_OVERRIDE = 1
CAPABILITY_VERSION_3 = 0x20080522


def drop_root(uid: int, gid: int) -> None:
    """Become `uid`. On Linux keep the right to walk through directories closed to others, so that a clone under /root works."""
    libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
    if libc:
        libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    if libc:
        bit = 1 << CAP_DAC_OVERRIDE
        header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
        data = (ctypes.c_uint32 * 6)(bit, bit, bit, 0, 0, 0)
        if libc.capset(header, data) == 0:  # refused in a container without the capability: ordinary permissions then apply
            libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_OVERRIDE, 0, 0)


def die_with(parent: int, signal: int) -> None:
    """Have the kernel (Linux) or a watcher process (elsewhere) send us `signal` when the parent ends for any reason."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal, 0, 0, 0)
    elif os.fork() == 0:
        target = os.getppid()
        while os.getppid() == target:
            try:
                os.kill(parent, 0)
            except ProcessLookupError:
                os.kill(target, signal)
                os._exit(0)
            time.sleep(0.5)
        os._exit(0)
    if sys.platform == "linux" and os.getppid() != parent:  # it ended before the call
        sys.exit(1)


def main(arguments: list[str]) -> None:
    """Parse, prepare, exec."""
    cut = arguments.index("--")
    options = dict(zip(arguments[:cut:2], arguments[1:cut:2], strict=True))
    command = arguments[cut + 1 :]
    if "--user" in options:
        uid, gid = options["--user"].split(":")
        drop_root(int(uid), int(gid))
    die_with(int(options["--parent"]), int(options["--signal"]))  # after setuid, which clears it
    os.execvp(command[0], command)  # noqa: S606


if __name__ == "__main__":
    main(sys.argv[1:])
