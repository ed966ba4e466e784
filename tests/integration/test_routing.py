"""Which rule a request meets, and who the origin is told has asked."""

import re
from pathlib import Path
from typing import Any

import pytest
from integration.mesh import Mesh, app, until
from integration.peer import Origin

EXAMPLE = Path(__file__).parents[2] / "examples" / "config" / "routing.yaml"
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


# --- all kinds of conditions ---


@pytest.mark.parametrize(
    ("match", "taken", "left"),
    [
        ({"hosts": ["app.*"]}, ["/", "host: APP.example:80"], ["/", "host: app"]),
        ({"starts_with": "/a"}, ["/ab"], ["/b"]),
        ({"regex": "/api/v[0-9]+/x"}, ["//api/./v%31/x?q"], ["/api/v1/xy"]),
        ({"template": "/users/{id}/orders/**"}, ["/users/7/orders/8/9"], ["/users//orders"]),
        ({"headers": {"x-v": {"min": 2, "max": 9}}}, ["/", "x-v: 9"], ["/", "x-v: 10"]),
        ({"headers": {"x-v": {"regex": "a+", "invert": True}}}, ["/"], ["/", "x-v: aa"]),
        ({"headers": {"x-v": {"present": False}}}, ["/"], ["/", "x-v:"]),
        ({"headers": {"authorization": {"prefix": "Bearer "}}}, ["/", "Authorization: Bearer x"], ["/", "x: y"]),
        ({"query": {"a b": {"suffix": "!"}}}, ["/?x&a+b=hey%21"], ["/?a+b=hey"]),
        ({"cookies": {"tenant": "blue"}}, ["/", "cookie: a=b; tenant=blue"], ["/", "cookie: tenant=red"]),
        ({"grpc": {"service": "a.B"}}, ["/a.B/C", "content-type: application/grpc+proto"], ["/a.B/C"]),
        (
            {"grpc": {"method": "C"}},
            ["/a.B/C", "content-type: Application/GRPC"],
            ["/a.B/D", "content-type: application/grpc"],
        ),
        ({"grpc": {}}, ["/a.B/C", "content-type: application/grpc;x=y"], ["/", "content-type: application/grpc-web"]),
        ({"sources": ["127.0.0.1"]}, ["/"], None),
        ({"sources": ["10.0.0.0/8", "unix"]}, None, ["/"]),
        ({"share": "100%"}, ["/"], None),
        ({"share": "0%"}, None, ["/"]),
    ],
    ids=str,
)
def test_a_condition(mesh: Mesh, match: dict[str, Any], taken: list[str] | None, left: list[str] | None) -> None:
    rules(mesh, {"it": match}, {"rest": {"prefix": "/"}})
    for request, name in ((taken, "it"), (left, "rest")):
        if request is not None:
            target, *fields = request
            lines = "".join(f"{field}\r\n" for field in fields)
            host = "" if "host:" in lines else "host: x\r\n"
            client = mesh.connect().send(f"GET {target} HTTP/1.1\r\n{host}{lines}\r\n")
            assert client.read_answer().text == name


@pytest.mark.parametrize(
    ("match", "request_line", "fields"),
    [
        ({"headers": {"x-role": {"prefix": "adm"}}}, "/", ["x-role: admin", "x-role: user"]),
        ({"headers": {"x-role": {"exact": "admin", "invert": True}}}, "/", ["x_role: admin"]),
        ({"query": {"role": "admin"}}, "/?role=user&role=admin", []),
        ({"query": {"role": "admin"}}, "/?a=b;role=admin", []),
        ({"cookies": {"role": "admin"}}, "/", ["cookie: role=admin; role=user"]),
        ({"cookies": {"role": "admin"}}, "/", ['cookie: role="admin"']),
        ({"regex": "/a/b"}, "/a%2Fb", []),
        ({"template": "/{a}/{b}"}, "/a%2Fb", []),
        ({"starts_with": "/adm"}, "/x/..%2Fadmin", []),
    ],
    ids=str,
)
def test_what_can_be_read_in_two_ways_is_refused(
    mesh: Mesh, match: dict[str, Any], request_line: str, fields: list[str]
) -> None:
    rules(mesh, {"it": match}, {"rest": {"prefix": "/"}})
    assert mesh.connect().ask(request_line, "GET", *fields).status == 400
    assert mesh.count("ambiguous_field") + mesh.count("ambiguous_path") == 1


def test_a_share_of_the_requests(mesh: Mesh) -> None:
    rules(mesh, {"some": {"share": "25%"}}, {"rest": {"prefix": "/"}})
    client = mesh.connect().send("GET / HTTP/1.1\r\nhost: x\r\n\r\n" * 2000)
    names = [client.read_answer().text for _ in range(2000)]
    # 500, by seven standard deviations.
    assert 364 <= names.count("some") <= 636


def test_the_example_of_the_documents(mesh: Mesh) -> None:
    """Every route takes what its name says."""
    yaml = pytest.importorskip("yaml")
    origin = mesh.origin()
    config = yaml.safe_load(EXAMPLE.read_text())
    for cluster in config["clusters"]:
        cluster["endpoints"] = [origin.address]
    config["access_log"] = {"format": "text", "template": "%ROUTE_NAME% %RESPONSE_CODE%"}
    mesh.configure(config)
    asked = [
        ("office-only", "/admin", []),
        ("carts", "/shop.v1.Cart/AddItem", ["content-type: application/grpc"]),
        ("old-clients", "/static/v1/x.js", ["user-agent: Mozilla (Trident/7)", "x-build: 12"]),
        ("tenant-by-cookie", "/", ["host: shop.test", "cookie: tenant=blue"]),
        ("preview", "/?preview", ["accept: text/html"]),
        ("versions", "/api/v2/cart/1", []),
        ("everything-else", "/", ["host: a.example.com"]),
    ]
    for name, target, fields in asked:
        host = [] if any(field.startswith("host:") for field in fields) else ["host: x"]
        client = mesh.connect("edge").send(f"GET {target} HTTP/1.1\r\n" + "".join(
            f"{field}\r\n" for field in [*host, *fields]) + "\r\n")
        up = origin.accept()
        up.read_request()
        up.answer()
        assert client.read_answer().status == 200
        client.close()
        up.close()
        assert mesh.logged() == [f"{name} 200"]



def split(mesh: Mesh, **route: Any) -> tuple[Origin, Origin]:
    old, new = mesh.origin(), mesh.origin()
    mesh.configure(
        {
            "listeners": [
                {"name": "web", "routes": [{"match": {"prefix": "/"}, "clusters": {"old": 80, "new": 20}, **route}]}
            ],
            "clusters": [app(old, name="old"), app(new, name="new")],
        }
    )
    return old, new


def test_a_split_of_the_requests(mesh: Mesh) -> None:
    split(mesh)
    for origin in mesh.origins:
        origin.refuse()
    client = mesh.connect().send("GET / HTTP/1.1\r\nhost: x\r\n\r\n" * 1000)
    for _ in range(1000):
        assert client.read_answer().status == 503
    new = mesh.cluster("new")["requests"]
    # 200, by seven standard deviations.
    assert 111 <= new <= 289 and mesh.cluster("old")["requests"] == 1000 - new


@pytest.mark.parametrize("sticky", [{"header": "x-user"}, {"cookie": "user"}], ids=str)
def test_a_split_that_sticks(mesh: Mesh, sticky: dict[str, str]) -> None:
    split(mesh, sticky=sticky)
    for origin in mesh.origins:
        origin.refuse()
    client = mesh.connect()
    both = set()
    for user in range(60):
        field = f"x-user: {user}" if "header" in sticky else f"cookie: a=b; user={user}"
        before = mesh.cluster("new")["requests"]
        for _ in range(3):
            client.ask("/", "GET", field)
        went = mesh.cluster("new")["requests"] - before
        assert went in (0, 3)
        both.add(went)
    assert both == {0, 3}


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
