"""What filters and load balancers cost by themselves: their chain, their picks, and the operations of the views."""

from collections.abc import Sequence
from zlib import crc32

from bench.filters.fastmesh import Mark, MarkAsync
from fastmesh import Endpoint, Filter, LoadBalancer, Request, Response
from fastmesh._core.filter.chain import PHASES, Slot, Table, bound_memory
from fastmesh.filters.builtin.least_latency import LeastLatency
from probes.filter_probe import balance_loop, exchange_loop

HEAD = b"GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: wrk/4.1.0\r\nx-user: alice\r\nx-team: blue\r\n\r\n"


class Nothing(Filter):
    def on_request(self, request: Request) -> None:
        pass


class Get(Filter):
    def on_request(self, request: Request) -> None:
        headers = request.headers
        for _ in range(100):
            headers.get("x-team")


class Set(Filter):
    def on_request(self, request: Request) -> None:
        headers = request.headers
        for _ in range(10):
            headers["x-mark"] = "alice/blue"


class Add(Filter):
    def on_request(self, request: Request) -> None:
        headers = request.headers
        for _ in range(10):
            headers.add("x-mark", "alice/blue")


class Make(Filter):
    def on_request(self, request: Request) -> None:
        for _ in range(100):
            Response(403, text="no team\n", headers={"x-why": "team"})


CLASSES = {one.__name__: one for one in (Nothing, Mark, MarkAsync, Get, Set, Add, Make)}


def exchanges(name: str, count: int, loops: int, memory: int = 0) -> None:
    """So many exchanges through a chain of `count` filters of that class; `memory`: what they may take together, which
    is asked at each allocation of Python from then on."""
    if memory and not bound_memory(memory):
        raise SystemExit("the memory of this Python cannot be bound")
    slots = []
    for number in range(count):
        made = CLASSES[name]()
        if hasattr(made, "header"):
            made.header = f"x-mark-{number + 1}"
        phases = {phase: getattr(made, phase) for phase in PHASES if phase in type(made).__dict__}
        # Under valgrind each call takes long.
        slots.append(Slot(made, phases, row=number, budget_ns=60 * 10**9))
    stuck = exchange_loop(Table(slots), HEAD, loops)
    assert stuck == 0, stuck


class First(LoadBalancer):
    def pick(self, request: Request, endpoints: Sequence[Endpoint]) -> Endpoint:
        return endpoints[0]


class ByHeader(LoadBalancer):
    def pick(self, request: Request, endpoints: Sequence[Endpoint]) -> Endpoint:
        return endpoints[crc32(request.headers["x-user"].encode()) % len(endpoints)]


BALANCERS = {one.__name__: one for one in (First, ByHeader, LeastLatency)}


def balanced(name: str, count: int, loops: int, what: str) -> None:
    """So many picks, or askings for weights, of a load balancer among `count` endpoints; see `balance_loop`."""
    made = BALANCERS[name]()
    made.start()
    phases = {phase: getattr(made, phase) for phase in PHASES if phase in type(made).__dict__}
    missed = balance_loop(Table([Slot(made, phases, budget_ns=60 * 10**9)]), HEAD, count, loops, what)
    assert missed == 0, missed
