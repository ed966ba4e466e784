"""mitmproxy from PyPI, as a reverse proxy; one process with one thread, as it has no more."""

from collections.abc import Sequence
from pathlib import Path

from bench.peers import place
from bench.peers.peer import Peer, Protocol, Service, Work
from bench.running import ROOT

BINARY = place.PLACE / "bin" / "mitmdump"
PACKAGE = "mitmproxy==11.0.2"
ADDON = ROOT / "bench" / "filters" / "mitmproxy.py"


class Mitmproxy(Peer):
    name = "mitmproxy"
    title = "mitmproxy"
    protocols = frozenset(("http",))
    works = frozenset[Work](("mark", "answer", "look"))
    guest = True

    def missing(self, protocol: Protocol) -> str | None:
        return None if BINARY.exists() else place.why_absent(PACKAGE)

    def install(self) -> None:
        if not BINARY.exists():
            place.install(PACKAGE)

    def version(self) -> str:
        return place.version("mitmproxy")

    def command(self, service: Service, port: int, folder: Path) -> Sequence[str]:
        chosen = [f"filters={work}:{header}" for work, header in zip(service.filters, service.marks(), strict=True)]
        settings = (
            f"confdir={folder}",
            "http2=false",
            "keep_host_header=true",  # as the others do
            "connection_strategy=lazy",  # the origin's connection is made for a request, not for each client at once
            "stream_large_bodies=1",  # bodies go on as they come; filters that see bodies need them whole
        )
        return [
            str(BINARY), "--quiet", "--mode", f"reverse:http://127.0.0.1:{service.origins[0]}",
            "--listen-host", "127.0.0.1", "--listen-port", str(port), "--scripts", str(ADDON),
            *(f"--set={one}" for one in (settings if "look" not in service.filters else settings[:-1])),
            *(f"--set={one}" for one in chosen),
        ]  # fmt: skip
