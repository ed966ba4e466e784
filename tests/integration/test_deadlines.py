"""Deadlines through real processes: the configuration of docs/deadlines.md, and two sidecars one behind the other."""

import re
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml
from integration.harness import Sidecar, ask, cluster, free_port, http_listener
from integration.mesh import Mesh

PAGE = (Path(__file__).parents[2] / "docs" / "deadlines.md").read_text()
TOLD = "x-envoy-expected-rq-timeout-ms"
LOG = "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%\n"


def settings() -> dict[str, object]:
    found = re.search(r"^```yaml\n(.*?)^```", PAGE, re.M | re.S)
    assert found
    listener = yaml.safe_load(found[1])["listeners"][0]
    return {"deadlines": listener["deadlines"], "timeouts": listener["timeouts"]}


def test_as_in_the_documents(mesh: Mesh) -> None:
    origin = mesh.origin()
    mesh.http(origin, log=LOG, **settings())
    client = mesh.connect().send("GET / HTTP/1.1\r\nhost: x\r\nx-deadline-ms: 400\r\ngrpc-timeout: 3S\r\n\r\n")
    up = origin.accept()
    asked = up.read_request()
    assert 0 < int(asked.get("x-deadline-ms")) <= 400
    assert asked.get(TOLD) == asked.get("x-deadline-ms") == asked.get("grpc-timeout").removesuffix("m")
    assert client.read_answer().status == 504
    up.expect_end()
    assert mesh.logged() == ["504 UT deadline_exceeded"]
    client.send("GET / HTTP/1.1\r\nhost: x\r\ngrpc-timeout: 0S\r\n\r\n")
    assert client.read_answer().status == 504
    assert mesh.logged() == ["504 UT deadline_exceeded_on_arrival"]
    assert mesh.count("deadline_exceeded") == 2
    client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    up = origin.accept()
    assert 9000 < int(up.read_request().get(TOLD)) <= 10_000
    up.answer("served")
    assert client.read_answer().text == "served"


def test_the_second_hop_has_what_the_first_has_left(tmp_path: Path) -> None:
    """The second sidecar's own limit is an hour; what it tells its upstream is the rest of the first one's."""
    near_port, far_port = free_port(), free_port()
    for name in ("near", "far"):
        (tmp_path / name).mkdir()
    with socket.create_server(("127.0.0.1", 0)) as origin:
        far = {"listeners": [http_listener(far_port, "app", timeouts={"request": "1h"})],
               "clusters": [cluster("app", f"127.0.0.1:{origin.getsockname()[1]}")]}
        near = {"listeners": [http_listener(near_port, "next", timeouts={"request": "900ms"})],
                "clusters": [cluster("next", f"127.0.0.1:{far_port}")]}
        with (Sidecar(tmp_path / "near", near, is_warm=True), Sidecar(tmp_path / "far", far, is_warm=True),
              ThreadPoolExecutor(1) as pool):
            answer = pool.submit(ask, near_port, "/")
            up, _ = origin.accept()
            with up:
                head = up.recv(65536).decode()
                assert 0 < int(re.findall(rf"^{TOLD}: (\d+) *\r$", head, re.M)[0]) <= 900
                assert answer.result().status == 504
                assert up.recv(1) == b""
