"""What `fastmesh explain` says of faults: all that one may have."""

from pathlib import Path

import pytest

from fastmesh.cli.main import main

CONFIG = """\
listeners:
  - name: web
    address: 127.0.0.1:8080
    routes:
      - match: {prefix: /}
        cluster: app
        faults:
          - {request_bandwidth: 64KiB/s, bandwidth: 1KiB/s, max_active: 1200}
          - {delay: 1s, grpc_status: 7}
          - {from_headers: true, match: {share: 5%}}
clusters:
  - {name: app, endpoints: [127.0.0.1:1]}
"""


def test_what_each_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "f.yaml"
    file.write_text(CONFIG)
    assert main(["explain", str(file), "GET", "/"]) == 0
    lines = [line for line in capsys.readouterr().out.replace(str(file), "f").splitlines() if line.startswith("fault")]
    assert lines == [
        "fault (f:8): all requests get the body at 1KiB/s and send the body at 64KiB/s, 1,200 at a time",
        "fault (f:9): all requests wait 1s and get the gRPC status PERMISSION_DENIED",
        "fault (f:10): 5% of the requests get what x-envoy-fault-* of a trusted client asks for"]
