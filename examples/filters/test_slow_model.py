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


def test_it_runs_elsewhere():
    assert SlowModel.isolated and SlowModel.needs == ("content-type", "x-user")
