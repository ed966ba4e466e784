"""One instance of one of the three services: `python -m demo.service --name shop --instance 1 --port N`.

It answers GET /<anything>/<number> with JSON that names the number and every instance that had a part in it, after
a few milliseconds of work. With --next it first asks the next service, through the outbound port of its sidecar.
SIGUSR1 makes it slow, SIGUSR2 makes it fail half of its requests; the same once more ends that.
"""

import argparse
import asyncio
import contextlib
import json
import random
import signal

from demo.wire import Client, Message, serve

WORK_SECONDS = (0.002, 0.006)
SLOW_SECONDS = (0.08, 0.12)
FAILING_SHARE = 0.5
DEGRADED = frozenset(("x-fastmesh-degraded",))


class Service:
    def __init__(self, name: str, instance: int, next_name: str, next_port: int) -> None:
        self.me = f"{name}-{instance}"
        self.next_name = next_name
        self.client = Client(next_port) if next_name else None
        self.is_slow = False
        self.is_failing = False

    def change_pace(self) -> None:
        self.is_slow = not self.is_slow

    def change_mood(self) -> None:
        self.is_failing = not self.is_failing

    async def answer(self, request: Message) -> Message:
        number = request.path.rpartition("/")[2]
        if not number.isdigit():
            return reply(404, {"error": f"{self.me} knows no {request.path}"})
        if self.is_failing and random.random() < FAILING_SHARE:
            return reply(503, {"error": f"{self.me} does not feel like it"})
        await asyncio.sleep(random.uniform(*(SLOW_SECONDS if self.is_slow else WORK_SECONDS)))
        served_by, marks = [self.me], {}
        if self.client is not None:
            try:
                below = await self.client.request(request.path, self.next_name, **passed_on(request))
            except (OSError, EOFError, ValueError) as error:
                return reply(502, {"error": f"{self.me} asked {self.next_name}: {error!r}"})
            content = json.loads(below.body) if below.body.startswith(b"{") else {"error": below.body.decode()}
            if below.status != 200:
                return reply(502, {"error": f"{self.me} got {below.status} from {self.next_name}: {content['error']}"})
            served_by += content["served_by"]
            # The sidecar says so of an answer that is not the service's own; whoever asks for more is told too.
            marks = {name: value for name, value in below.fields.items() if name in DEGRADED}
        return reply(200, {"number": int(number), "served_by": served_by}, marks)


def passed_on(request: Message) -> dict[str, str]:
    """What a service hands on so that one call can be followed through all of them."""
    return {name: value for name, value in request.fields.items() if name in {"x-request-id", "traceparent"}}


def reply(status: int, content: dict[str, object], marks: dict[str, str] | None = None) -> Message:
    reason = {200: "OK", 404: "Not Found", 502: "Bad Gateway", 503: "Service Unavailable"}[status]
    fields = {"content-type": "application/json", **(marks or {})}
    return Message(f"HTTP/1.1 {status} {reason}", fields, json.dumps(content).encode())


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", required=True)
    parser.add_argument("--instance", type=int, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--next", default="", metavar="NAME:PORT", help="whom to ask, and the sidecar's outbound port")
    args = parser.parse_args()
    next_name, _, next_port = args.next.partition(":")
    service = Service(args.name, args.instance, next_name, int(next_port or 0))
    server = await serve(args.port, service.answer)
    print(f"{service.me} listens on port {args.port}", flush=True)
    done = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number, act in ((signal.SIGTERM, done.set), (signal.SIGINT, done.set), (signal.SIGUSR1, service.change_pace),
                        (signal.SIGUSR2, service.change_mood)):
        loop.add_signal_handler(number, act)
    await done.wait()
    server.close()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())
