import random

import pytest

from internvl_operator.standalone import ports
from internvl_operator.standalone.ports import FreePorts


def test_no_port_is_given_twice_and_none_that_is_taken(monkeypatch):
    monkeypatch.setattr(ports, "LOWEST", 20_000)
    monkeypatch.setattr(ports, "HIGHEST", 20_006)
    monkeypatch.setattr(ports, "_is_free", lambda port: port != 20_003)
    free = FreePorts(random.Random(1))

    given = {free.take() for _ in range(5)}

    assert given == {20_000, 20_001, 20_002, 20_004, 20_005}
    with pytest.raises(OSError, match="from 20000 to 20005"):
        free.take()


def test_metrics_ports_lie_where_ray_allows_them(monkeypatch):
    monkeypatch.setattr(ports, "_is_free", lambda port: True)
    free = FreePorts()
    assert all(1024 <= free.take_for_metrics() < 10_002 for _ in range(100))
