"""Copies of requests, through real processes."""

from integration.mesh import Mesh, app


def test_a_mirror_gets_what_the_cluster_gets(mesh: Mesh) -> None:
    origin, mirror = mesh.origin(), mesh.origin()
    mesh.configure({
        "listeners": [{"name": "web", "routes": [{
            "match": {"prefix": "/"}, "cluster": "app", "rewrite": {"prefix": "/v2"},
            "request_headers": {"set": {"x-by": "route"}},
            "mirrors": [{"cluster": "next", "match": {"methods": ["POST"]}}]}]}],
        "clusters": [app(origin), app(mirror, name="next")]})
    before = mesh.count("mirrored")
    client = mesh.connect().send_request("/a", "POST", body=b"x" * 5000)
    up, copy = origin.accept(), mirror.accept()
    asked, copied = up.read_request(), copy.read_request()
    assert (copied.method, copied.target, copied.body) == (asked.method, "/v2/a", b"x" * 5000)
    assert copied.get("x-by") == "route" and copied.get("host") == f"{asked.get('host')}-shadow"
    copy.reset()
    up.answer(b"seen")
    assert client.read_answer().body == b"seen"
    client.send_request("/b")
    assert up.read_request().target == "/v2/b"
    up.answer(b"again")
    assert client.read_answer().body == b"again"
    assert mesh.count("mirrored") - before == 1
    assert not mirror.has_connection()
