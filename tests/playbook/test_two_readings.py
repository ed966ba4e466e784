"""What somebody behind the proxy may read in another way is passed on only when no rule depends on it."""

import pytest

LOG_PATH, LOG_CODE, LOG_DETAILS = 3, 5, 7
FIELDS = "host: x\r\n"


def asks(play, target, *fields):
    play.client_sends("\r\n".join([f"GET {target} HTTP/1.1", "host: x", *fields, "", ""]).encode("latin-1"))


@pytest.mark.parametrize("target", [
    "/admin;x", "/admin;x=1/secret", "/;/admin", "/;x/admin", "/;/;/admin", "/a;x/..;/admin", "/a/..;x=/admin",
    "/admin;%2f..", "/a%2f..;%2fadmin", "/a%2f..%2fadmin", "/;%2fadmin", "/;a%2f/admin", "/%5cadmin;x",
    "/a/%c0%ae%c0%ae/admin", "/a%C0%AF..%c0%afadmin", "/%c1%9cadmin", "/..;a/admin;b", "/x/;a/..;b/admin",
    "/admin%3bx", "/%3b/admin", "/a/..%3b/admin", "/a%2f..%3bx%2fadmin",
])
@pytest.mark.parametrize("n_rules", [2, 6])
def test_a_path_that_leads_elsewhere_for_others_is_refused(play, target, n_rules):
    """With few rules and with the index of many."""
    play.endpoints("a").route("/admin", status=403, body="no")
    for i in range(n_rules - 2):
        play.route(f"/other{i}")
    play.route("/")
    asks(play, target)
    play.expect_answer(400)
    play.expect_no_connect()
    play.expect_counter("ambiguous_path", 1)


@pytest.mark.parametrize("target", [
    "/a;x=1/b", "/;", "/public;admin", "/a;/b;c", "/a%2fb;c", "/a%c0%afb", "/%c0", "/%c1%e4", "/a;b%2fc/d", "/..;/a",
    "/administrator;x", "/a%3badmin",
])
def test_a_path_that_leads_to_the_same_is_passed_on(play, target):
    play.endpoints("a").route("/admin", status=403).route("/")
    asks(play, target)
    play.connect("a")
    assert play.expect_request("a").target.lower() == target


def test_a_field_that_a_rule_asks_for_must_agree_with_itself(play):
    play.endpoints("a").route("/", status=403, headers=[("x-role", "guest")]).route("/")
    for fields in (["x-role: guest", "x-role: admin"], ["x-role: admin", "X-Role: guest"],
                   ["x-role: guest", "x-role:"]):
        asks(play, "/", *fields)
        play.expect_answer(400)
    play.expect_counter("ambiguous_field", 3)
    asks(play, "/", "x-role: guest", "x-role: guest")
    play.expect_answer(403)
    play.expect_no_connect()
    asks(play, "/", "x-role: admin", "x-role: admin")
    play.connect("a")
    play.expect_request("a")


def test_a_field_with_a_number_must_agree_as_well(play):
    play.endpoints("a").route("/", status=403, headers=[("user-agent", "bot")]).route("/")
    asks(play, "/", "user-agent: me", "user-agent: bot")
    play.expect_answer(400)
    asks(play, "/", "user-agent: bot", "user-agent: bot")
    play.expect_answer(403)


def test_a_later_rule_that_is_torn_does_not_matter(play):
    """The first that matches for everybody wins, whatever stands behind it."""
    play.endpoints("a").route("/a").route("/", status=403, headers=[("x-role", "guest")])
    asks(play, "/a", "x-role: guest", "x-role: admin")
    play.connect("a")
    play.expect_request("a")


@pytest.mark.parametrize("fields", [["x-a: 1", "x-a: 2"], ["x-b: 1", "x-a: 1", "x-a: 2"]])
def test_a_rule_that_fails_for_everybody_is_not_torn(play, fields):
    play.endpoints("a").route("/", status=403, headers=[("x-a", "1"), ("x-b", "2")]).route("/")
    asks(play, "/", *fields)
    play.connect("a")
    play.expect_request("a")


@pytest.mark.parametrize("target", ["//a/../b%41?x=/../y", "/%61", "/a/./b?", "/a//b", "/..;/a"])
def test_the_log_tells_the_path_as_it_came(play, target):
    play.endpoints("a").logged((LOG_PATH, ""))
    asks(play, target)
    play.connect("a")
    assert play.expect_request("a").target != target or ";" in target
    play.answers("a")
    play.expect_answer(200)
    assert play.stage.log() == [target]


def test_the_log_tells_the_path_of_an_absolute_target(play):
    play.endpoints("a").logged((LOG_PATH, ""), (LOG_CODE, ""))
    play.route("/no", status=403).route("/")
    asks(play, "http://y/x/../no?q")
    play.expect_answer(403)
    asks(play, "http://y")
    play.connect("a")
    assert play.expect_request("a").target == "/"
    play.answers("a")
    play.expect_answer(200)
    assert play.stage.log() == ["/x/../no?q 403", "/ 200"]


def test_a_request_at_every_limit_is_logged(play):
    """What the proxy adds to a head must not push it out of the log."""
    play.endpoints("a").listener(fields=256, head_bytes=64512, line_bytes=64512).logged((LOG_PATH, ""))
    asks(play, "/many", *(f"x{i}: y" for i in range(253)), "connection: te", "te: trailers")
    play.connect("a")
    play.answers("a")
    play.expect_answer(200)
    asks(play, "/long", "x: " + "y" * (64512 - 41))
    play.answers("a")
    play.expect_answer(200)
    assert play.stage.log() == ["/many", "/long"]


@pytest.mark.parametrize("name", ["x_forwarded_for", "X_Forwarded-For", "x-forwarded_proto", "X_FORWARDED_HOST",
                                  "x_request_id", "Content_Length", "transfer_encoding"])
def test_names_that_cgi_takes_for_ours(play, name):
    play.endpoints("a")
    play.trusted = []
    asks(play, "/", f"{name}: evil", "x_other_name_: 1")
    play.connect("a")
    sent = play.expect_request("a")
    assert sent.all(name.lower()) == [] and sent["x_other_name_"] == "1"


def test_names_that_cgi_takes_for_ours_from_who_is_trusted(play):
    play.endpoints("a")
    asks(play, "/", "x_forwarded_for: 1.2.3.4")
    play.connect("a")
    assert play.expect_request("a")["x_forwarded_for"] == "1.2.3.4"


@pytest.mark.parametrize("name", ["x_role", "X_Role", "user_agent"])
def test_a_name_that_is_only_alike(play, name):
    """To WSGI it is the field that the rule asks for, and to the rule it is not."""
    wanted = name.lower().replace("_", "-")
    play.endpoints("a").route("/", status=403, headers=[(wanted, "admin")]).route("/")
    asks(play, "/", f"{name}: admin")
    play.expect_answer(400)
    asks(play, "/", f"{wanted}: admin", f"{name}: guest")
    play.expect_answer(400)
    play.expect_counter("ambiguous_field", 2)
    asks(play, "/", f"{name}: guest")
    play.connect("a")
    assert play.expect_request("a")[name.lower()] == "guest"


@pytest.mark.parametrize("method", ["delete", "Delete", "dELETE"])
def test_a_method_in_small_letters(play, method):
    """Django, Flask and others make capitals of it."""
    play.endpoints("a").route("/", status=403, methods=["DELETE"]).route("/")
    play.client_sends(f"{method} / HTTP/1.1\r\nhost: x\r\n\r\n".encode())
    play.expect_answer(400)
    play.client_sends(b"DELETE / HTTP/1.1\r\nhost: x\r\n\r\n")
    play.expect_answer(403)
    play.client_sends(b"patch / HTTP/1.1\r\nhost: x\r\n\r\n")
    play.connect("a")
    assert play.expect_request("a").line == "patch / HTTP/1.1"


@pytest.mark.parametrize("method", ["get", "propfind", "gets", "options-"])
def test_a_method_in_small_letters_that_no_rule_asks_for(play, method):
    play.endpoints("a").route("/", methods=["PROPFIND"], status=403).route("/")
    play.client_sends(f"{method} / HTTP/1.1\r\nhost: x\r\n\r\n".encode())
    play.connect("a")
    play.expect_request("a", f"{method} / ")


@pytest.mark.parametrize("target", ["*", "http://y"])
def test_the_target_of_options_about_the_whole_server(play, target):
    """A rule for "*" takes it, one for "/" as a whole path does not, and "/" as a prefix does."""
    play.endpoints("a").route("/", exact=True, status=404).route("*", exact=True, status=403)
    play.client_sends(f"OPTIONS {target} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
    play.expect_answer(403)
    play.routes.clear()
    play.route("/", exact=True, status=404).route("/").apply()
    play.client_sends(f"OPTIONS {target} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
    play.connect("a")
    assert play.expect_request("a").target == "*"


@pytest.mark.parametrize("fields", ["connection: x-role\r\nx-role: admin",
                                    "x-role: admin\r\nconnection: close, X-Role"])
def test_a_field_that_is_for_this_hop_alone_is_not_matched(play, fields):
    """The upstream does not see it, so no rule does."""
    play.endpoints("a").route("/", headers=[("x-role", "admin")], status=403).route("/")
    play.client_sends(f"GET / HTTP/1.1\r\nhost: x\r\n{fields}\r\n\r\n".encode())
    play.connect("a")
    assert play.expect_request("a").all("x-role") == []


def test_a_rule_for_an_upgrade(play):
    play.endpoints("a").route("/", headers=[("upgrade", "websocket")], status=403).route("/")
    play.client_sends(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
    play.expect_answer(403)
