"""A quota in Redis. The Redis of this test speaks its protocol over loopback and knows two commands."""

import asyncio
import socket
from collections import Counter
from types import SimpleNamespace

from global_quota import GlobalQuota


class SmallRedis:
    """INCRBY counts, EXPIRE is noted, and anything else is fine."""

    def __init__(self) -> None:
        self.counts: Counter[bytes] = Counter()
        self.expires: dict[bytes, int] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            words = []
            for _ in range(int(line[1:])):
                size = int((await reader.readline())[1:])
                words.append((await reader.readexactly(size + 2))[:-2])
            if words[0].upper() == b"INCRBY":
                self.counts[words[1]] += 1
                writer.write(b":%d\r\n" % self.counts[words[1]])
            elif words[0].upper() == b"EXPIRE":
                self.expires[words[1]] = int(words[2])
                writer.write(b":1\r\n")
            else:
                writer.write(b"+OK\r\n")
        writer.close()


async def statuses(tenants, per_minute):
    redis = SmallRedis()
    server = await asyncio.start_server(redis.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    quota = GlobalQuota(url=f"redis://127.0.0.1:{port}/0?protocol=2", per_minute=per_minute)
    quota.start()
    requests = [SimpleNamespace(peer="127.0.0.1", headers={"x-tenant": tenant}) for tenant in tenants]
    got = [await quota.on_request(request) for request in requests]
    await quota.redis.aclose()
    server.close()
    await server.wait_closed()
    return [answer and answer.status for answer in got], redis


def test_each_tenant_is_counted_over_all_machines():
    got, redis = asyncio.run(statuses("aaab", per_minute=2))
    assert got == [None, None, 429, None]
    assert all(key.startswith(b"quota:") for key in redis.counts) and set(redis.expires.values()) == {120}


def test_without_redis_everybody_is_served(filter_proxy):
    with socket.socket() as nobody:         # bound, and listening to nothing
        nobody.bind(("127.0.0.1", 0))
        url = f"redis://127.0.0.1:{nobody.getsockname()[1]}/0"
        proxy = filter_proxy("global_quota:GlobalQuota", url=url, per_minute=1)
        assert [proxy.get("/", headers={"x-tenant": "a"}).status for _ in range(3)] == [200, 200, 200]
        assert proxy.metric("fastmesh_filter_errors_total", phase="request") == 3
    assert len(proxy.origin.requests) == 3


def test_only_one_header_travels():
    assert GlobalQuota.isolated and GlobalQuota.needs == ("x-tenant",)
