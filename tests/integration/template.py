"""A control process on the step before its configuration, of which tests start copies.

    python template.py FD

First it is `fastmesh run`, up to where that replaces itself by the control process: with the same interpreter, paths
and signals this program begins again in its place. There it imports and rehearses what control imports and rehearses,
once, which is nine tenths of a start; then each message on FD makes a copy that goes on as control does. Of each it
says the pid, and the status when it has ended.
"""

import argparse
import json
import os
import select
import signal
import socket
import sys
from typing import Any, NoReturn

AGAIN = "--again"
LONGEST = 1 << 17           # bytes of a message
FDS = 3                     # with each: its standard output, its standard error, where its end is told


def become_control(fd: str) -> NoReturn:
    """What `fastmesh run` would start, but this file as its program."""
    from fastmesh.cli.run import run

    replace = os.execv

    def again(program: str, argv: list[str]) -> NoReturn:
        *options, _, _ = argv[:argv.index("-c") + 2]
        paths, _, version = argv[len(options) + 2:]
        replace(program, [*options, __file__, AGAIN, paths, version, fd])

    os.set_inheritable(int(fd), True)
    os.execv = again        # type: ignore[assignment]
    run(argparse.Namespace(config="", watch=False))
    raise AssertionError("it did not start anything")


def wait_for_orders(paths: str, version: str, fd: int) -> int:
    """Returns in a copy when that has ended, and here when nobody is left to give orders."""
    sys.path[:0] = paths.split(":")
    from fastmesh.control import main as control

    control.rehearse()
    signal.signal(signal.SIGINT, signal.SIG_IGN)    # it is for the tests, and for copies
    orders = socket.socket(fileno=fd)
    copies: dict[int, tuple[int, int]] = {}         # by the pidfd: its pid, and where its end is told
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    while True:
        for ready, _ in poll.poll():
            if ready != fd:
                poll.unregister(ready)
                pid, told = copies.pop(ready)
                _tell(told, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
                os.close(told)
                os.close(ready)
                continue
            message, fds, _, _ = socket.recv_fds(orders, LONGEST, FDS)
            if not message:
                return 0
            if (pid := os.fork()) == 0:
                orders.detach()
                _take_place(fds, json.loads(message))
                control.rehearse = lambda: None     # that is done
                return control.main([json.loads(message)["config"], version])
            output, errors, told = fds
            os.close(output)
            os.close(errors)
            _tell(told, pid)
            pidfd = os.pidfd_open(pid)
            copies[pidfd] = pid, told
            poll.register(pidfd, select.POLLIN)


def _tell(fd: int, number: int) -> None:
    try:
        os.write(fd, f"{number}\n".encode())
    except BrokenPipeError:
        pass        # nobody wants to know


def _take_place(fds: list[int], order: dict[str, Any]) -> None:
    """As if it had just been started: its own descriptors and nothing else, its own environment."""
    os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
    os.dup2(fds[0], 1)
    os.dup2(fds[1], 2)
    os.closerange(3, 1024)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(order["env"])
    os.chdir(order["directory"])


if __name__ == "__main__":
    if sys.argv[1] == AGAIN:
        sys.exit(wait_for_orders(sys.argv[2], sys.argv[3], int(sys.argv[4])))
    become_control(sys.argv[1])
