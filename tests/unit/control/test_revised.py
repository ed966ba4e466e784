"""What control shows of a snapshot whose endpoints policies find: what the snapshot has."""


from fastmesh.control.compile_process import _answer
from fastmesh.control.snapshot import from_answer
from fastmesh.filters.endpoint_set import pack_set, read_set

CONFIG = """\
listeners: []
clusters:
  - {name: still, endpoints: ["127.0.0.1:1"]}
  - {name: app, endpoints: {use: file, path: /run/app}}
"""


def test_clusters_have_the_endpoints_of_the_snapshot(tmp_path):
    file = tmp_path / "mesh.yaml"
    file.write_text(CONFIG)
    snapshot = from_answer(_answer({"file": str(file), "version": 1, "env": {}}))
    still = [{"row": 0, "address": "127.0.0.1:1", "weight": 1}]
    assert [cluster["endpoints"] for cluster in snapshot.clusters()] == [still, []]
    found = read_set([("10.0.0.2:80", 2), {"address": "10.0.0.1:80", "metadata": {"version": "v1"}}])
    answer = _answer({"version": 2, "snapshot": (snapshot.fd, snapshot.size), "reserve": snapshot.reserve,
                      "sets": {"app": (pack_set(found), False)}})
    assert answer["ok"], answer
    revised = snapshot.revised(answer)
    assert [cluster["endpoints"] for cluster in revised.clusters()] == [still, [
        {"row": 1, "address": "10.0.0.1:80", "weight": 1, "priority": 0, "zone": "", "metadata": {"version": "v1"}},
        {"row": 2, "address": "10.0.0.2:80", "weight": 2}]]
    assert [cluster["name"] for cluster in revised.clusters()] == ["still", "app"]
    snapshot.close()
    assert len(revised.clusters()[1]["endpoints"]) == 2
    revised.close()
