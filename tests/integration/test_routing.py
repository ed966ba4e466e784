"""Which rule a request meets, and who the origin is told has asked."""

import re
from typing import Any

import pytest
from integration.mesh import Mesh, until

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def rules(mesh: Mesh, *routes: dict[str, Any], **listener: Any) -> None:
    """Each route answers with its name."""
    mesh.configure(
        {
            "listeners": [
                {
                    "name": "web",
                    "routes": [
                        {"name": name, "match": match, "response": {"status": 200, "body": name}}
                        for route in routes
                        for name, match in route.items()
                    ],
                    **listener,
                }
            ]
        }
    )


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/api", "api"),
        ("/api/", "api"),
        ("/api/x", "api"),
        ("/api?x", "api"),
        ("/apix", "rest"),
        ("/Api", "rest"),
        ("/exact", "exact"),
        ("/exact/", "rest"),
        ("/exact?q=/api", "exact"),
        ("/tree/", "tree"),
        ("/tree/x", "tree"),
        ("/tree", "rest"),
        ("/", "rest"),
        ("/x/api", "rest"),
    ],
)
def test_paths(mesh: Mesh, path: str, name: str) -> None:
    rules(
        mesh,
        {"exact": {"path": "/exact"}},
        {"api": {"prefix": "/api"}},
        {"tree": {"prefix": "/tree/"}},
        {"rest": {"prefix": "/"}},
    )
    assert mesh.connect().ask(path).text == name


def test_the_first_route_that_matches_wins(mesh: Mesh) -> None:
    rules(mesh, {"one": {"prefix": "/a"}}, {"two": {"prefix": "/a/b"}}, {"three": {"path": "/a/b"}})
    client = mesh.connect()
    assert client.ask("/a/b").text == "one"
    assert client.ask("/b").status == 404
    assert mesh.count("no_route") == 1


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("shop.example", "shop"),
        ("SHOP.example:8080", "shop"),
        ("a.wild.example", "wild"),
        ("b.a.wild.example", "wild"),
        ("wild.example", "rest"),
        ("other", "rest"),
        ("", "rest"),
        ("shop.example.evil", "rest"),
    ],
)
def test_hosts(mesh: Mesh, host: str, name: str) -> None:
    rules(
        mesh,
        {"shop": {"prefix": "/", "hosts": ["shop.example"]}},
        {"wild": {"prefix": "/", "hosts": ["*.wild.example"]}},
        {"rest": {"prefix": "/"}},
    )
    client = mesh.connect().send(f"GET / HTTP/1.1\r\nhost: {host}\r\n\r\n")
    assert client.read_answer().text == name


def test_the_host_of_an_absolute_target_counts(mesh: Mesh) -> None:
    rules(mesh, {"shop": {"prefix": "/", "hosts": ["shop.example"]}}, {"rest": {"prefix": "/"}})
    client = mesh.connect().send("GET http://shop.example/ HTTP/1.1\r\nhost: other\r\n\r\n")
    assert client.read_answer().text == "shop"
    client.send("GET http://other/ HTTP/1.1\r\nhost: shop.example\r\n\r\n")
    assert client.read_answer().text == "rest"


def test_methods_and_headers(mesh: Mesh) -> None:
    rules(
        mesh,
        {"write": {"prefix": "/", "methods": ["POST", "PUT"]}},
        {"canary": {"prefix": "/", "headers": {"x-canary": "1", "x-user": "me"}}},
        {"rest": {"prefix": "/"}},
    )
    client = mesh.connect()
    assert client.ask("/", "PUT").text == "write"
    assert client.ask("/", "GET").text == "rest"
    assert client.ask("/", "brew").text == "rest"
    assert client.ask("/", "GET", "X-Canary: 1", "X-User: me").text == "canary"
    assert client.ask("/", "GET", "X-Canary: 1").text == "rest"
    assert client.ask("/", "GET", "X-Canary: 11", "X-User: me").text == "rest"


def test_a_fixed_answer_byte_for_byte(mesh: Mesh) -> None:
    mesh.configure(
        {
            "listeners": [
                {
                    "name": "web",
                    "routes": [
                        {"match": {"path": "/text"}, "response": {"status": 403, "body": "no\n"}},
                        {
                            "match": {"path": "/json"},
                            "response": {"status": 200, "body": "{}", "content_type": "application/json"},
                        },
                        {"match": {"path": "/none"}, "response": {"status": 204}},
                    ],
                }
            ]
        }
    )
    client = mesh.connect()
    answer = client.ask("/text")
    assert answer.plain == (
        b"HTTP/1.1 403 Forbidden\r\ndate: DATE\r\nserver: fastmesh\r\n"
        b"content-type: text/plain; charset=utf-8\r\ncontent-length: 3\r\n\r\n"
    )
    assert answer.text == "no\n"
    assert client.ask("/json").get("content-type") == "application/json"
    assert client.ask("/none").plain == b"HTTP/1.1 204 No Content\r\ndate: DATE\r\nserver: fastmesh\r\n\r\n"
    assert client.ask("/text", "HEAD").get("content-length") == "3"
    assert client.ask("/text").status == 403


WALKS = [
    "/admin",
    "/admin/",
    "/admin/x",
    "//admin",
    "///admin//x",
    "/./admin",
    "/././admin/",
    "/x/../admin",
    "/x/y/../../admin",
    "/../admin",
    "/../../admin",
    "/%61dmin",
    "/%61%64%6d%69%6e",
    "/%2e/admin",
    "/x/%2e%2e/admin",
    "/x/.%2e/admin",
    "/x/%2E./admin",
    "/admin?x=/public",
    "/admin/../admin",
    "/public/../admin",
    "/public/./../admin/x",
    "/admin/.",
    "/%2e%2e/admin",
    "/x//../admin",
    "/x/..//admin",
    "http://x/admin",
    "http://x//admin",
    "http://x/y/../admin",
]
AMBIGUOUS = [
    "/x%2f..%2fadmin",
    "/%2fadmin",
    "/x/..%2fadmin",
    "/x%5c..%5cadmin",
    "/x\\..\\admin",
    "/\\admin",
    "/public%2f..%2fadmin",
    "/%5cadmin",
    "/admin%2fx",
    "/x%2F..%2Fadmin",
]


@pytest.mark.parametrize("path", WALKS + AMBIGUOUS)
def test_nothing_walks_around_a_rule(mesh: Mesh, path: str) -> None:
    """The origin gets what the rule allows and nothing that it may read as /admin."""
    origin = mesh.origin()
    mesh.configure(
        {
            "listeners": [
                {
                    "name": "web",
                    "routes": [
                        {"match": {"prefix": "/admin"}, "response": {"status": 403}},
                        {"match": {"prefix": "/"}, "cluster": "app"},
                    ],
                }
            ],
            "clusters": [{"name": "app", "endpoints": [origin.address]}],
        }
    )
    client = mesh.connect().send(f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")
    assert client.read_answer().status in ((403,) if path in WALKS else (400, 403))
    assert not origin.has_connection()


@pytest.mark.parametrize(
    ("sent", "received"),
    [
        ("/a/./b/../c", "/a/c"),
        ("//a//b", "/a/b"),
        ("/%7euser", "/~user"),
        ("/a%2fb", "/a%2Fb"),
        ("/a%20b", "/a%20b"),
        ("/a/b/", "/a/b/"),
        ("/%252e%252e/x", "/%252e%252e/x"),
        ("/a/..", "/"),
        ("/a?b=../c", "/a?b=../c"),
        ("/...", "/..."),
    ],
)
def test_the_origin_gets_the_path_that_was_matched(mesh: Mesh, sent: str, received: str) -> None:
    origin = mesh.origin()
    mesh.http(origin)
    client = mesh.connect().send_request(sent)
    up = origin.accept()
    assert up.read_request().target == received
    up.answer()
    assert client.read_answer().status == 200


@pytest.mark.parametrize("path", ["/%", "/%4", "/%zz", "/a%00b", "/%u0041"])
def test_broken_escapes_are_refused(mesh: Mesh, path: str) -> None:
    origin = mesh.origin()
    mesh.http(origin)
    assert mesh.connect().ask(path).status == 400
    assert not origin.has_connection()


# --- who has asked ---


def asked(mesh: Mesh, *fields: str, **listener: Any) -> dict[str, list[str]]:
    origin = mesh.origin()
    mesh.http(origin, **listener)
    mesh.connect().send_request("/", "GET", *fields)
    request = origin.accept().read_request()
    return {
        name: request.all(name)
        for name in ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-request-id", "forwarded")
    }


SAID = (
    "x-forwarded-for: 10.0.0.1",
    "X-Forwarded-For: 10.0.0.2, 10.0.0.3",
    "x-forwarded-proto: https",
    "x-request-id: mine",
    "x-forwarded-host: shop",
    "forwarded: for=10.0.0.1",
)


def test_a_trusted_client_is_believed(mesh: Mesh) -> None:
    assert asked(mesh, *SAID) == {
        "x-forwarded-for": ["10.0.0.1, 10.0.0.2, 10.0.0.3, 127.0.0.1"],
        "x-forwarded-proto": ["https"],
        "x-forwarded-host": ["shop"],
        "x-request-id": ["mine"],
        "forwarded": ["for=10.0.0.1"],
    }


def test_a_client_that_is_not_trusted_is_not(mesh: Mesh) -> None:
    found = asked(mesh, *SAID, trusted_clients=["10.0.0.0/8"])
    (number,) = found.pop("x-request-id")
    assert UUID.fullmatch(number)
    assert found == {
        "x-forwarded-for": ["127.0.0.1"],
        "x-forwarded-proto": ["http"],
        "x-forwarded-host": [],
        "forwarded": [],
    }


def test_each_request_has_a_number_of_its_own(mesh: Mesh) -> None:
    origin = mesh.origin()
    mesh.http(origin)
    client = mesh.connect().send("GET / HTTP/1.1\r\nhost: x\r\n\r\n" * 50)
    up = origin.accept()
    numbers = set()
    for _ in range(50):
        numbers.add(up.read_request().get("x-request-id"))
        up.answer()
        client.read_answer()
    assert len(numbers) == 50
    assert all(UUID.fullmatch(number or "") for number in numbers)


@pytest.mark.parametrize("balancer", ["round_robin", "random", "least_request"])
def test_requests_are_shared_out(mesh: Mesh, balancer: str) -> None:
    origins = [mesh.origin() for _ in range(3)]
    mesh.http(*origins, cluster={"load_balancer": balancer})
    clients = [mesh.connect().send_request(f"/{n}") for n in range(60)]
    until(lambda: mesh.cluster()["connections_opened"] == 60)
    counts = [mesh.endpoint(origin)["active"] for origin in origins]
    assert sum(counts) == 60
    assert min(counts) >= (20 if balancer == "round_robin" else 5)
    for origin, count in zip(origins, counts, strict=True):
        for _ in range(count):
            up = origin.accept()
            up.read_request()
            up.answer()
    assert {client.read_answer().status for client in clients} == {200}
