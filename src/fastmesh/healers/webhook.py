"""Tells an address of what has become of an endpoint."""

import asyncio
import json
import urllib.request
from urllib.error import HTTPError

from fastmesh import Duration, Healer, HealEvent, Secret


class Webhook(Healer):
    """Sends each event as JSON by POST: `event`, `cluster`, `endpoint`, `reason`, `why`, `times`, `seconds`. Any status
    but 2xx is a failure, which the log tells."""

    url: str
    """Where to: `https://ops.example.com/hook`."""
    token: Secret = Secret("")
    """Sent as `authorization: Bearer …`, where there is one."""
    answer_within: Duration = 5.0
    """How long an answer is waited for."""

    def start(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise ValueError(f"url is {self.url!r}: it begins with http:// or https://")

    async def on_ejected(self, event: HealEvent) -> None:
        await self.send(event)

    async def on_recovered(self, event: HealEvent) -> None:
        await self.send(event)

    async def send(self, event: HealEvent) -> None:
        body = {"event": event.kind, "cluster": event.cluster, "endpoint": event.endpoint, "reason": event.reason,
                "why": event.why, "times": event.times, "seconds": event.seconds}
        fields = {"content-type": "application/json", "user-agent": "fastmesh"}
        if self.token:
            fields["authorization"] = f"Bearer {self.token}"
        request = urllib.request.Request(self.url, json.dumps(body).encode(), fields, method="POST")
        status = await asyncio.to_thread(self.post, request)
        self.log.info(f"{self.url} has answered {status}")

    def post(self, request: urllib.request.Request) -> int:
        # Raises for what is no 2xx.
        try:
            with urllib.request.urlopen(request, timeout=self.answer_within) as answer:
                return int(answer.status)
        except HTTPError as error:
            error.close()
            raise
