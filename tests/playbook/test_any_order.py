"""Any order of events from both sides: nothing crashes, nothing is left, and nobody gets what is another's.

Every answer of an upstream carries the target that it was asked for. What a client gets must be the answers to its own
requests, in their order, each whole or cut short together with the connection. Every exchange leaves exactly one line
in the log and one count in the metrics, and what must not be repeated reaches the upstreams at most once.

FASTMESH_EXAMPLES=5000 looks further than a test run does.
"""

import os
from collections import Counter

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from playbook.play import Incomplete, Play, take_message

EXAMPLES = int(os.environ.get("FASTMESH_EXAMPLES", "120"))
LOG_METHOD, LOG_PATH, LOG_CODE, LOG_FLAGS = 2, 3, 5, 6
CLIENTS = 3
TIMES = ("1ms", "100ms", "1010ms", "5s", "61s")


def body_of(target, size):
    return (f"<{target}>".encode() * (size // 4 + 1))[:max(size, len(target) + 2)]


class Asker:
    """A client: what it wants to say, how much of that it has said."""

    def __init__(self, play, number):
        self.play = play
        self.number = number
        self.peer = None
        self.generation = 0
        self.forget()

    def forget(self):
        self.out = b""
        self.asked = []        # targets, whether sent or not

    def is_open(self):
        return self.peer is not None and not self.peer.is_closed and not self.is_done

    def open(self):
        if self.peer is not None and not self.peer.is_closed:
            return
        if self.peer is not None:
            self.verify()
        self.forget()
        self.is_done = False
        self.generation += 1
        self.peer = self.play.client(f"127.0.0.1:{1000 + 100 * self.number + self.generation % 100}")

    def ask(self, kind):
        target = f"/{self.number}.{self.generation}.{len(self.asked)}"
        head = f"{target} HTTP/1.1\r\nhost: x\r\n".encode()
        body = body_of(target, [3, 500, 5000, 90_000][kind % 4])
        if kind < 8:
            self.out += b"GET " + head + b"\r\n"
        elif kind < 12:
            self.out += b"POST " + head + b"content-length: %d\r\n\r\n" % len(body) + body
        elif kind < 16:
            self.out += b"PUT " + head + b"content-length: %d\r\n\r\n" % len(body) + body
        elif kind < 18:
            half = len(body) // 2
            self.out += b"PUT " + head + b"transfer-encoding: chunked\r\n\r\n" + b"".join(
                b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:half], body[half:])) + b"0\r\n\r\n"
        else:
            self.out += b"GET " + head + b"connection: close\r\n\r\n"
        self.asked.append(target)

    def say(self, n):
        piece, self.out = self.out[:n], self.out[n:]
        if piece:
            self.peer.sends(piece)

    def verify(self):
        """Its own answers, in order."""
        data = bytes(self.peer.socket.wire)
        got = 0
        while data:
            if data.startswith(b"HTTP/1.1 1"):
                _, n = take_message(data, is_over=False)
                data = data[n:]
                continue
            self.play.check(got < len(self.asked), f"{self.peer} got more answers than it asked for: {data[:100]!r}")
            try:
                answer, n = take_message(data, is_over=self.peer.is_closed)
            except Incomplete:
                self.verify_part(data, self.asked[got])
                return
            data = data[n:]
            if answer.status == 200:
                self.verify_body(answer.body, self.asked[got])
            else:
                self.play.check(answer["server"] == "fastmesh", f"{self.peer} got {answer}")
            got += 1

    def verify_body(self, body, target):
        self.play.check(body == body_of(target, len(body)), f"{self.peer} asked for {target} and got {body[:100]!r}")

    def verify_part(self, data, target):
        """An answer that is not whole names nobody else's target."""
        for other in set(self.play.all_targets) - {target}:
            self.play.check(f"<{other}>".encode() not in data, f"{self.peer} asked for {target} and got {data[:200]!r}")


class Answerer:
    """What an upstream connection has been asked, and what it has yet to say."""

    def __init__(self, play, up):
        self.play = play
        self.up = up
        self.at = 0
        self.out = b""
        self.ends = False

    def answer(self, kind):
        """Answers the next request: whole, or as soon as its head is there."""
        if self.ends:
            return
        data = bytes(self.up.socket.wire[self.at:])
        try:
            asked, n = take_message(data, is_over=False)
            self.play.check("<" not in asked.line and (not asked.body or asked.body == body_of(
                asked.target, len(asked.body))), f"{self.up} got {asked.line!r} with {asked.body[:100]!r}")
        except Incomplete:
            if kind % 5 or b"\r\n\r\n" not in data:
                return
            asked, _ = take_message(data, is_over=False, has_body=False)
            n = len(data)
            self.ends = True
        self.at += n
        body = body_of(asked.target, [10, 3000, 70_000, 200_000][kind % 4])
        if kind % 7 == 6:
            self.out += b"HTTP/1.1 103 Early Hints\r\n\r\n"
        if kind < 8:
            self.out += b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body
        elif kind < 16:
            third = len(body) // 3
            self.out += b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + b"".join(
                b"%x\r\n%b\r\n" % (len(part), part)
                for part in (body[:third], body[third:2 * third], body[2 * third:])) + b"0\r\n\r\n"
        elif kind < 18:
            self.out += b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body) + body
            self.ends = True
        else:
            self.out += b"HTTP/1.1 200 OK\r\n\r\n" + body
            self.ends = True

    def say(self, n):
        piece, self.out = self.out[:n], self.out[n:]
        if piece:
            self.up.sends(piece)


class Crowd:
    def __init__(self, manners, prepare):
        self.play = Play(manners)
        self.play.endpoints("a", "b").cluster(connect_timeout="1s", max_connections=2, max_pending=4)
        self.play.listener(buffer_bytes=20_000, header_timeout="10s", body_timeout="10s", idle_timeout="60s")
        self.play.route(timeout="30s").logged((LOG_METHOD, "m"), (LOG_PATH, "p"), (LOG_CODE, "c"), (LOG_FLAGS, "f"))
        prepare(self.play)
        self.play.start()
        self.play.all_targets = []
        self.askers = [Asker(self.play, i) for i in range(CLIENTS)]
        self.answerers = {}

    def asker(self, i):
        return self.askers[i % CLIENTS]

    def answerer(self, i):
        found = [u for u in self.play.upstreams()
                 if not (u.is_closed or u.socket.broken or u.socket.is_connecting)]
        if not found:
            return None
        up = found[i % len(found)]
        return self.answerers.setdefault(up.socket.fd, Answerer(self.play, up))

    def do(self, what, i, k):
        asker = self.asker(i)
        if what in ("ask", "client says", "client ends", "client resets", "client reads", "client stalls"):
            if asker.peer is None or (asker.peer.is_closed and what == "ask"):
                asker.open()
            if not asker.is_open() or asker.peer.socket.broken:
                return
        if what == "ask":
            asker.ask(k % 20)
            self.play.all_targets.append(asker.asked[-1])
            asker.say(10**6 if k >= 10 else k * 17)
        elif what == "client says":
            asker.say([1, 40, 3000, 10**6][k % 4])
        elif what == "client ends":
            asker.is_done = True
            asker.peer.closes()
        elif what == "client resets":
            asker.is_done = True
            asker.peer.resets()
        elif what == "client stalls":
            asker.peer.stops_reading([0, 1, 100, 5000][k % 4])
        elif what == "client reads":
            asker.peer.reads([1, 100, 30_000, None][k % 4])
        elif what == "connect":
            waiting = [u for u in self.play.upstreams() if u.socket.is_connecting and not u.is_closed]
            if waiting:
                up = waiting[i % len(waiting)]
                up.refused() if k == 19 else up.connected()
        elif what == "time":
            if not self.play.is_batching:
                self.play.pass_time(TIMES[k % len(TIMES)])
        elif what == "swap":
            if not self.play.is_batching:
                self.play.endpoints(*["ab", "a", "bc", "abc"][k % 4]).apply()
        else:
            answerer = self.answerer(i)
            if answerer is None or END_SAID in answerer.__dict__:
                return
            if what == "answer":
                answerer.answer(k % 20)
                answerer.say(10**6 if k >= 5 else k * 31)
            elif what == "upstream says":
                answerer.say([1, 40, 3000, 10**6][k % 4])
            elif what == "upstream ends":
                answerer.__dict__[END_SAID] = True
                answerer.up.closes()
            elif what == "upstream resets":
                answerer.up.resets()
            elif what == "upstream stalls":
                answerer.up.stops_reading([0, 1, 100, 5000][k % 4])
            elif what == "upstream reads":
                answerer.up.reads([1, 100, 30_000, None][k % 4])

    def end(self):
        for asker in self.askers:
            if asker.peer is not None:
                asker.verify()
        self.play.leave()
        lines = [line.split() for line in self.play.stage.log()]
        paths = Counter(path for method, path, *_ in lines if method != "-")
        self.play.check(max(paths.values(), default=1) == 1, f"ended more than once: {paths.most_common(3)}")
        self.play.check(len(self.play.ended()) == len(lines), f"{len(self.play.ended())} counts, {len(lines)} lines")
        self.play.check(self.play.counter("requests") == len(paths), f"{self.play.counter('requests')} {len(paths)}")
        posts = Counter()
        for up in self.play.upstreams():
            for line in bytes(up.socket.wire).split(b"\r\n"):
                if line.startswith(b"POST /") and line.endswith(b" HTTP/1.1"):
                    posts[line.split()[1]] += 1
        self.play.check(max(posts.values(), default=1) == 1, f"sent more than once: {posts.most_common(3)}")
        self.play.end()


END_SAID = "has_said_its_end"
ACTIONS = ["ask"] * 4 + ["connect"] * 4 + ["answer"] * 4 + [
    "client says", "client says", "upstream says", "upstream says", "client ends", "client resets", "client stalls",
    "client reads", "upstream ends", "upstream resets", "upstream stalls", "upstream reads", "time", "swap"]
EVENTS = st.tuples(st.sampled_from(ACTIONS), st.integers(0, 5), st.integers(0, 19))
SLOW_EVENTS = st.tuples(st.sampled_from([*ACTIONS, *["time"] * 8]), st.integers(0, 5), st.integers(0, 19))
SLOW_COURSES = st.lists(st.lists(SLOW_EVENTS, min_size=1, max_size=3), max_size=40)
COURSES = st.lists(st.lists(EVENTS, min_size=1, max_size=5), max_size=25)


def as_it_is(play):
    pass


def hedged(play):
    """Up to three attempts beside each other, and a limit on each of them."""
    play.hedging(delay="50ms", attempts=3).retrying(attempts=3, faults=127, statuses=[503], each="1s")


def slowed(play):
    play.fault(bandwidth=50_000)


def both(play):
    hedged(play)
    slowed(play)


@pytest.mark.parametrize("prepare", [as_it_is, hedged, slowed, both], ids=lambda prepare: prepare.__name__)
@pytest.mark.parametrize("manners", ["ready", "completion"])
def test_any_order(manners, prepare, spare_descriptor):
    @settings(max_examples=EXAMPLES, deadline=None, derandomize=EXAMPLES <= 120, database=None,
              phases=(Phase.generate, Phase.shrink), suppress_health_check=list(HealthCheck))
    @given(COURSES if prepare is as_it_is else SLOW_COURSES)
    def run(course):
        crowd = Crowd(manners, prepare)
        try:
            for batch in course:
                if len(batch) == 1:
                    crowd.do(*batch[0])
                else:
                    with crowd.play.batch():
                        for event in batch:
                            crowd.do(*event)
            crowd.end()
        finally:
            crowd.play.abandon()

    run()
