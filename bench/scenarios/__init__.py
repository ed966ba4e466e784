"""What is measured, in the order it is played.  TLS, HTTP/2 and gRPC will be further files here."""

from bench.scenarios.echoes import Echoes
from bench.scenarios.filter_proxy import FilterProxy
from bench.scenarios.filters_neighbour import FiltersNeighbour
from bench.scenarios.filters_rate import FiltersRate
from bench.scenarios.h1_access_log import H1AccessLog
from bench.scenarios.h1_bodies import H1Bodies
from bench.scenarios.h1_clusters import H1Clusters
from bench.scenarios.h1_connect import H1Connect
from bench.scenarios.h1_events import H1Events
from bench.scenarios.h1_failing import H1Failing
from bench.scenarios.h1_filters import H1Filters
from bench.scenarios.h1_keepalive import H1Keepalive
from bench.scenarios.h1_rate import H1Rate
from bench.scenarios.h1_routes import H1Routes
from bench.scenarios.h1_second_load import H1SecondLoad
from bench.scenarios.h1_two_hops import H1TwoHops
from bench.scenarios.memory import MemoryIdle, MemoryRest, MemorySlowReader
from bench.scenarios.memory_filters import MemoryFiltered, MemoryFilters
from bench.scenarios.reload import Reload
from bench.scenarios.reload_latency import ReloadLatency
from bench.scenarios.scenario import Figure, Measured, Options, Scenario
from bench.scenarios.tcp_messages import TcpMessages

SIZES = (10 << 10, 1 << 20, 1 << 30)
SCENARIOS: tuple[Scenario, ...] = (
    H1Keepalive(),
    H1SecondLoad(),
    H1Rate(),
    H1Connect(),
    H1Bodies("down", "origin to client", SIZES),
    H1Bodies("up", "client to origin", SIZES),
    H1Bodies("chunked", "origin to client in chunks of 16 KiB", SIZES[1:]),
    H1Events(),
    Echoes("websocket", "WebSocket", "http", "websocket"),
    H1Routes(),
    H1Clusters(),
    H1AccessLog(),
    H1Filters(),
    FiltersRate(),
    FiltersNeighbour(),
    FilterProxy(),
    H1TwoHops(),
    H1Failing(),
    TcpMessages("down", "origin to client"),
    TcpMessages("up", "client to origin"),
    Echoes("tcp-small", "TCP", "tcp", "tcp"),
    MemoryRest(),
    MemoryIdle(),
    MemorySlowReader(),
    MemoryFilters(),
    MemoryFiltered(),
    Reload(),
    ReloadLatency(),
)

__all__ = ["SCENARIOS", "Figure", "Measured", "Options", "Scenario"]
