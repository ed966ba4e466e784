"""Code that takes its time, where it holds up nobody else."""

import json
from math import exp
from pathlib import Path

from fastmesh import Filter, Request


class SlowModel(Filter):
    """Scores each request with a model and tells the upstream the score.

    It runs in the filter host, with whatever libraries it likes. A score that takes longer than its `timeout`, or the
    operator's, is given up, and with `on_error = "open"` the request goes on without one.
    """

    isolated = True
    needs = ("content-type", "x-user")
    on_error = "open"
    timeout = "400ms"

    weights: str                            # a JSON file: {"bias": -1.5, "words": {"json": 0.7}}

    def start(self) -> None:
        model = json.loads(Path(self.weights).read_text())
        self.bias: float = model["bias"]
        self.words: dict[str, float] = model["words"]

    def on_request(self, request: Request) -> None:
        text = f"{request.headers.get('content-type', '')} {request.headers.get('x-user', '')} {request.path}"
        total = self.bias + sum(weight for word, weight in self.words.items() if word in text)
        request.headers["x-score"] = f"{1 / (1 + exp(-total)):.3f}"
