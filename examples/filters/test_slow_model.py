"""A score for each request."""

import json

import pytest
from slow_model import SlowModel


@pytest.fixture
def model(tmp_path):
    (tmp_path / "w.json").write_text(json.dumps({"bias": -1.0, "words": {"json": 1.0, "robot": 40.0}}))
    return SlowModel(weights=str(tmp_path / "w.json"))


@pytest.mark.parametrize(("headers", "score"), [
    ({}, "0.269"), ({"content-type": "application/json"}, "0.500"), ({"x-user": "robot 7"}, "1.000")])
def test_scores(filter_kit, model, headers, score):
    assert filter_kit(model).get("/", headers=headers).upstream.headers["x-score"] == score


def test_weights_that_cannot_be_read_refuse_the_configuration(filter_kit, tmp_path):
    with pytest.raises(FileNotFoundError):
        filter_kit(SlowModel(weights=str(tmp_path / "none.json")))


SLOWER = """
from time import sleep

from slow_model import SlowModel


class Slower(SlowModel):
    def on_request(self, request):
        if request.path == "/slow":
            sleep(0.8)
        super().on_request(request)
"""


def test_a_score_that_takes_too_long_is_done_without(filter_proxy, tmp_path):
    (tmp_path / "w.json").write_text(json.dumps({"bias": 0.0, "words": {}}))
    (tmp_path / "slower.py").write_text(SLOWER)
    proxy = filter_proxy(f"{tmp_path}/slower.py:Slower", weights=str(tmp_path / "w.json"))
    assert proxy.get("/slow").status == 200
    assert "x-score" not in proxy.origin.requests[0].headers
    # The host takes its time to the end; what comes after that has its score again.
    for _ in range(20):
        assert proxy.get("/").status == 200
        if "x-score" in proxy.origin.requests[-1].headers:
            break
    assert proxy.origin.requests[-1].headers["x-score"] == "0.500"


def test_it_runs_elsewhere():
    assert SlowModel.isolated and SlowModel.needs == ("content-type", "x-user")
