"""Who is measured.  To add one: a file beside this one, a line below."""

from bench.peers.envoy import Envoy, EnvoyExtProc
from bench.peers.fastmesh import Fastmesh
from bench.peers.floor import Floor
from bench.peers.haproxy import Haproxy
from bench.peers.mitmproxy import Mitmproxy
from bench.peers.nginx import Nginx
from bench.peers.peer import Peer, Protocol, Service, Work

PEERS: tuple[Peer, ...] = (
    Fastmesh("io_uring"),
    Fastmesh("epoll"),
    Nginx(),
    Haproxy(),
    Envoy(),
    EnvoyExtProc(),
    Mitmproxy(),
    Floor("io_uring"),
    Floor("epoll"),
)

__all__ = ["PEERS", "Peer", "Protocol", "Service", "Work"]
