"""What is measured, in the order it is played."""

from bench.scenarios.h1_keepalive import H1Keepalive
from bench.scenarios.memory import MemoryIdle, MemoryRest, MemorySlowReader
from bench.scenarios.reload import Reload
from bench.scenarios.scenario import Figure, Measured, Options, Scenario
from bench.scenarios.tcp_messages import TcpMessages

SCENARIOS: tuple[Scenario, ...] = (
    H1Keepalive(),
    TcpMessages("down", "origin to client"),
    TcpMessages("up", "client to origin"),
    MemoryRest(),
    MemoryIdle(),
    MemorySlowReader(),
    Reload(),
)

__all__ = ["SCENARIOS", "Figure", "Measured", "Options", "Scenario"]
