"""For mitmproxy: an addon per filter, in the order of the option `filters`."""

from collections.abc import Sequence

from mitmproxy import addonmanager, ctx, http  # type: ignore[import-not-found]


class Mark:
    def __init__(self, header: str) -> None:
        self.header = header
        self.name = f"mark {header}"  # two addons of one name are refused

    def request(self, flow: http.HTTPFlow) -> None:
        headers = flow.request.headers
        headers[self.header] = f"{headers.get('x-user', '-')}/{headers.get('x-team', '-')}"


class Answer:
    # In `response` a body that goes on as it comes is through already.
    def responseheaders(self, flow: http.HTTPFlow) -> None:
        flow.response.headers["x-answer"] = flow.response.headers.get("content-type", "-")


class Look:
    seen = 0

    def response(self, flow: http.HTTPFlow) -> None:
        self.seen += len(flow.response.raw_content)


class Chosen:
    def load(self, loader: addonmanager.Loader) -> None:
        loader.add_option("filters", Sequence[str], [], "mark:HEADER, answer or look")

    def running(self) -> None:
        for one in ctx.options.filters:
            kind, _, header = one.partition(":")
            ctx.master.addons.add(Mark(header) if kind == "mark" else Answer() if kind == "answer" else Look())


addons = [Chosen()]
