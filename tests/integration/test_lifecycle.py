"""Beginnings and ends off the usual path: what the machine refuses, what comes too early, what others left behind."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from integration.harness import Origin, Sidecar, ask, children, config_of, free_port, http_listener, is_alive, until

pytestmark = pytest.mark.cold
Start = Callable[..., Sidecar]


def status_of(pid: int) -> dict[str, str]:
    text = Path(f"/proc/{pid}/status").read_text()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}


def can(*command: str) -> bool:
    """This machine lets the tests do that."""
    try:
        return subprocess.run([*command, "true"], check=False, capture_output=True, timeout=30).returncode == 0
    except OSError:
        return False


# --- signals that come early ---

@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_before_anybody_can_answer_it_waits(sidecar: Start, origin: Origin, number: int) -> None:
    one = sidecar(config_of(free_port(), origin), wait=False)
    until(lambda: int(status_of(one.pid)["SigBlk"], 16) >> (number - 1) & 1 or one.descendants(), "the signal blocked")
    one.signal(number)
    assert one.wait() == 0
    assert "ended after" in one.log


def test_one_signal_more_does_not_change_the_status(sidecar: Start, origin: Origin) -> None:
    """Until the process has gone, whatever it still has to take down."""
    one = sidecar(config_of(free_port(), origin))
    while one.process is not None and one.process.poll() is None:
        one.signal(signal.SIGTERM)
    assert one.wait() == 0


def test_a_hangup_while_it_starts_is_a_reload_when_it_has(sidecar: Start, origin: Origin) -> None:
    """The file may have changed after it was read."""
    one = sidecar(config_of(free_port(), origin), wait=False)
    until(one.descendants, "the compile process")
    one.signal(signal.SIGHUP)
    one.wait_log(r"snapshot 2 is live \(SIGHUP\)")
    assert one.is_ready()


def test_nothing_is_blocked_or_lost_for_those_it_starts(sidecar: Start, origin: Origin) -> None:
    one = sidecar(config_of(free_port(), origin))
    for pid in (one.pid, *one.descendants()):
        assert int(status_of(pid)["SigBlk"], 16) == 0, pid


def test_the_end_overtakes_a_reload(sidecar: Start, origin: Origin) -> None:
    """It would have added a listener and workers: none of them appears."""
    port, other = free_port(), free_port()
    one = sidecar(config_of(port, origin))
    worker = one.worker_pids()[0]
    more = config_of(port, origin, workers=3)
    more["listeners"].append(http_listener(other, "app", name="other"))
    one.write(more)
    answers: list[Any] = []
    os.kill(worker, signal.SIGSTOP)
    with contextlib.suppress(OSError):
        caller = threading.Thread(target=lambda: answers.append(one.admin("/reload", "POST")))
        caller.start()
        until(lambda: not refuses(other), "the reload waits for the worker")
    one.signal(signal.SIGTERM)
    until(lambda: one.admin("/ready").status == 503)
    os.kill(worker, signal.SIGCONT)
    caller.join(10)
    assert one.wait() == 0
    assert [answer.status for answer in answers] == [400]
    assert "the proxy is ending" in answers[0].text
    assert one.log.count("serves snapshot") == 1
    assert refuses(other)
    assert refuses(port)


def refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


def test_the_end_reaches_workers_that_a_reload_has_sent_away(sidecar: Start, origin: Origin) -> None:
    """A request in a slot that is no more is answered before control goes."""
    port = free_port()
    one = sidecar(config_of(port, origin, workers=2))
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10)) for _ in range(24)]
        for client in clients:
            client.sendall(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n")
        until(lambda: origin.held == len(clients))
        workers = one.worker_pids()
        one.reload(config_of(port, origin, workers=1))
        one.signal(signal.SIGTERM)
        until(lambda: one.admin("/ready").status == 503)
        until(lambda: refuses(port))
        assert all(is_alive(pid) for pid in workers)
        origin.release.set()
        assert all(client.recv(4096).startswith(b"HTTP/1.1 200") for client in clients)
    assert one.wait() == 0
    assert not any(is_alive(pid) for pid in workers)
    assert one.log.count("has drained") == 2


# --- what the machine refuses ---

def test_an_admin_address_in_use(tmp_path: Path, origin: Origin) -> None:
    one = Sidecar(tmp_path, config_of(free_port(), origin))
    with socket.socket() as other:
        other.bind(("127.0.0.1", one.admin_port))
        other.listen()
        one.start(wait=False)
        assert one.wait() == 1
    assert re.search(rf"admin.*127\.0\.0\.1:{one.admin_port}: in use by .*\(pid {os.getpid()}\)", one.log)
    assert "Traceback" not in one.log


def test_too_few_open_files(tmp_path: Path, origin: Origin) -> None:
    one = Sidecar(tmp_path, config_of(free_port(), origin))
    one.wrapper = ["prlimit", "--nofile=64:64"]
    one.start(wait=False)
    assert one.wait() == 1
    assert "the limit of open files is 64, at least 100 are needed" in one.log


def test_few_open_files_are_enough_for_few(tmp_path: Path, origin: Origin) -> None:
    port = free_port()
    one = Sidecar(tmp_path, config_of(port, origin))
    one.wrapper = ["prlimit", "--nofile=100:100"]
    with one:
        assert ask(port, "/").text == "origin"


def test_no_standard_descriptors(tmp_path: Path, origin: Origin) -> None:
    """Then 0, 1 and 2 would be sockets of its own, and log lines would go to whoever is connected there."""
    port = free_port()
    one = Sidecar(tmp_path, config_of(port, origin))
    one.wrapper = ["sh", "-c", 'exec "$0" "$@" <&- >&- 2>&-']
    with one:
        assert ask(port, "/").text == "origin"
        for pid in (one.pid, *one.descendants()):
            links = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in range(3)]
            assert all(link == "/dev/null" or "memfd:fastmesh-compile-stderr" in link for link in links), links


def test_readers_of_its_output_that_leave(tmp_path: Path, origin: Origin) -> None:
    port = free_port()
    one = Sidecar(tmp_path, config_of(port, origin, access_log={"path": "/dev/stdout"}))
    one.wrapper = ["sh", "-c", '{ exec "$0" "$@" 2>&1; } | true']
    one.start()
    try:
        assert [ask(port, "/").status for _ in range(50)] == [200] * 50
        control = next(pid for pid in one.descendants() if status_of(pid)["Name"] == "fastmesh")
        assert one.reload()["version"] == 2
        until(lambda: one.metrics()["fastmesh_journal_lost_total"] > 0)
        os.kill(control, signal.SIGTERM)
        one.wait()
        assert not is_alive(control)
    finally:
        one.kill_all()


UNPRIVILEGED = ["setpriv", "--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"]


def test_without_any_privilege(tmp_path: Path, origin: Origin, reactor: str) -> None:
    if not can(*UNPRIVILEGED):
        pytest.skip("setpriv may not drop capabilities here")
    port = free_port()
    one = Sidecar(tmp_path, config_of(port, origin), reactor)
    one.wrapper = UNPRIVILEGED
    with one:
        assert int(status_of(one.pid)["CapEff"], 16) == 0
        assert ask(port, "/").text == "origin"
        killed = one.worker_pids()[0]
        os.kill(killed, signal.SIGKILL)
        until(lambda: one.worker_pids() not in ([], [killed]))
        assert ask(port, "/").text == "origin"
        one.reload()


def test_a_privileged_port_without_privilege(tmp_path: Path, origin: Origin) -> None:
    first = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    if not can(*UNPRIVILEGED) or first <= 81:
        pytest.skip("ports below 1024 are free for all here")
    one = Sidecar(tmp_path, config_of(81, origin))
    one.wrapper = UNPRIVILEGED
    one.start(wait=False)
    assert one.wait() == 1
    assert "cannot listen on 127.0.0.1:81: permission denied: ports below 1024 need root" in one.log


def test_nothing_to_write_to_and_no_shared_memory_file_system(tmp_path: Path, origin: Origin) -> None:
    """A read-only root without /dev/shm, as hardened containers have: it needs neither."""
    prefix = ["unshare", "-m", "sh", "-c", 'if [ -d /dev/shm ]; then mount -t tmpfs -o size=4k,ro none /dev/shm; fi && '
              'mount --bind / / && mount -o remount,ro,bind / && exec "$0" "$@"']
    if not can(*prefix):
        pytest.skip("no mount namespace here")
    port = free_port()
    one = Sidecar(tmp_path, config_of(port, origin))
    one.wrapper = prefix
    with one:
        assert ask(port, "/").text == "origin"
        one.reload()


# --- the first process of a container ---

def test_as_the_first_process_of_a_container(tmp_path: Path, origin: Origin, reactor: str) -> None:
    prefix = ["unshare", "--pid", "--fork", "--mount-proc"]
    if not can(*prefix):
        pytest.skip("no process namespace here")
    port = free_port()
    one = Sidecar(tmp_path, config_of(port, origin), reactor)
    one.wrapper = prefix
    one.start()
    try:
        control = children(one.pid)[0]
        assert ask(port, "/").text == "origin"
        # It inherits what others leave behind, as `docker exec` does, and waits for the dead among them.
        subprocess.run(["nsenter", "--target", str(control), "--pid", "--mount", "sh", "-c",
                        "sleep 0.1 & sleep 0.2 & sleep 0.3 & exit 0"], check=True, timeout=30)
        until(lambda: {status_of_or_none(pid) for pid in children(control)} <= {"fastmesh-0", "fastmesh-check"},
              "nobody is left but our own")
        worker = next(pid for pid in children(control) if status_of_or_none(pid) == "fastmesh-0")
        os.kill(worker, signal.SIGKILL)
        until(lambda: one.workers()[0]["restarts"] == 1)
        assert not [pid for pid in children(control) if not is_alive(pid)]
        os.kill(control, signal.SIGHUP)
        one.wait_log("snapshot 2 is live")
        os.kill(control, signal.SIGTERM)
        assert one.wait() == 0, one.log
    finally:
        one.kill_all()


def status_of_or_none(pid: int) -> str | None:
    """Its name; None when it has just gone."""
    try:
        return status_of(pid)["Name"]
    except (OSError, KeyError):
        return None


# --- what others left behind ---

def test_an_orphan_that_hangs_is_not_left_on_the_address(sidecar: Start, origin: Origin) -> None:
    """The kernel would give it connections for as long as it has its socket."""
    port = free_port()
    config = config_of(port, origin, orphan_grace="500ms")
    one = sidecar(config_of(port, origin, orphan_grace="1h"))
    orphan = one.worker_pids()[0]
    one.signal(signal.SIGKILL)
    one.wait()
    os.kill(orphan, signal.SIGSTOP)
    again = sidecar(config)
    until(lambda: not is_alive(orphan))
    assert re.search(rf"\(pid {orphan}\) does not leave; it is killed", again.log)
    until(lambda: listening_on(port) == 1, "the kernel has taken its sockets down")
    assert [ask(port, "/").status for _ in range(20)] == [200] * 20


def listening_on(port: int) -> int:
    """How many sockets there are for new connections to a port."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(fields[3] == "0A" and fields[1].endswith(f":{port:04X}") for fields in lines)


def test_an_orphan_that_hangs_has_an_end_of_its_own(sidecar: Start, origin: Origin) -> None:
    """Nobody is left to notice: the kernel has a timer."""
    one = sidecar(config_of(free_port(), origin, orphan_grace="1s"))
    orphan = one.worker_pids()[0]
    one.signal(signal.SIGKILL)
    one.wait()
    until(lambda: int(status_of(orphan)["SigIgn"], 16) >> (signal.SIGTERM - 1) & 1 == 0, "it knows that it is one")
    # A worker that loops does not stop at its own deadline. One that is stopped stands for it.
    os.kill(orphan, signal.SIGSTOP)
    until(lambda: int(status_of(orphan)["ShdPnd"], 16) >> (signal.SIGALRM - 1) & 1, "the timer", seconds=15)
    os.kill(orphan, signal.SIGCONT)
    until(lambda: not is_alive(orphan))


def test_no_counter_goes_back_when_workers_become_fewer(sidecar: Start, origin: Origin) -> None:
    port = free_port()
    one = sidecar(config_of(port, origin, workers=2))
    killed = one.workers()[1]["pid"]
    os.kill(killed, signal.SIGKILL)
    until(lambda: one.metrics()["fastmesh_worker_restarts_total"] == 1)
    one.reload(config_of(port, origin, workers=1))
    until(lambda: len(one.descendants()) <= 2)
    assert one.metrics()["fastmesh_worker_restarts_total"] == 1
