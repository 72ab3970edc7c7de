"""One rule says where to compute, and what is said of the devices is so."""

from __future__ import annotations

import pytest

from models import devices
from models.errors import UserError


def test_the_card_is_taken_by_itself(anywhere: str) -> None:
    from models.training.llama import pick_device

    if anywhere == "cpu":
        pytest.skip("there is no card, nor is one pretended")
    assert devices.pick("auto") == devices.pick("cuda") == "cuda:0"
    assert devices.pick("cpu") == "cpu"
    assert pick_device("auto").startswith("cuda")
    assert pick_device("cpu") == "cpu"
    for pick in (devices.pick, pick_device):
        with pytest.raises(UserError, match="cuda:99"):
            pick("cuda:99")


def test_the_report_lists_the_card_first(anywhere: str) -> None:
    from lab.doctor import machine

    rows = devices.summary()
    assert rows[0]["name"].startswith(anywhere)
    assert rows[-1]["name"] == "cpu"
    assert all(0 < row["free"] <= row["total"] for row in rows)
    assert f"device {rows[0]['name']}" in [found.name for found in machine()]
