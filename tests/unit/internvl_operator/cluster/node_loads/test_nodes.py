import asyncio

import pytest

from internvl_operator.cluster.http import HttpReply, HttpTimedOut, HttpUnreachable
from internvl_operator.cluster.node_loads import NodeLoads
from internvl_runtimes.contract import metrics


class Ray:
    """A Ray cluster: its list of exporters, and what each node's page holds."""

    address = "http://ray-head:8265"

    def __init__(self, **pages):
        self.pages = {exporter.replace("_", "."): lines for exporter, lines in pages.items()}
        self.asked = []
        self.extra = []
        self.finds = 0
        self.hang = lambda: None
        """What a page that does not come takes."""

    async def fetch_exporters(self):
        self.finds += 1
        return (*(f"{host}:8080" for host in self.pages), *self.extra)

    async def request(self, method, url, *, headers, timeout_s, max_bytes):
        self.asked.append(url)
        page = self.pages[url.removeprefix("http://").removesuffix(":8080/metrics")]
        if page is None:
            self.hang()
            raise HttpUnreachable(f"cannot reach {url}")
        return HttpReply(200, "\n".join(page).encode())


class Clock:
    seconds = 1000.0

    def __call__(self):
        return self.seconds


@pytest.fixture
def clock():
    return Clock()


def line(metric, value, *, application="team.a", replica="g1", deployment="Gateway", **labels):
    named = {"application": application, "deployment": deployment, "replica": replica, **labels}
    text = ",".join(f'{name}="{label}"' for name, label in named.items())
    return f"{metric.exported}{{{text}}} {value}"


def gateway(tiles, **more):
    return [line(metrics.REPLICA_START, 1, **more), line(metrics.TILES_ADMITTED, tiles, **more)]


HOSTS = {"10.0.0.1", "10.0.0.2"}


def nodes(ray, clock):
    return NodeLoads(ray, ray, gate=asyncio.Semaphore(2), report_s=1.0, now=clock)


async def look(loads, clock, seconds=2.0):
    clock.seconds += seconds
    return await loads.read(HOSTS)


async def test_replicas_on_several_nodes_are_summed_and_each_node_is_read_once_a_round(clock):
    ray = Ray(**{"10_0_0_1": gateway(100), "10_0_0_2": gateway(50, replica="g2")})
    ray.pages["10.0.0.1"] += gateway(7, application="team.b", replica="x")
    loads = nodes(ray, clock)
    first = await look(loads, clock)
    assert first["team.a"].rates == {}, "one sample is no rate"
    assert len(ray.asked) == 2
    ray.pages["10.0.0.1"] = [*gateway(120), *gateway(17, application="team.b", replica="x")]
    ray.pages["10.0.0.2"] = gateway(60, replica="g2")
    found = await look(loads, clock)
    assert found["team.a"].rate(metrics.TILES_ADMITTED) == pytest.approx(15.0)
    assert found["team.b"].rate(metrics.TILES_ADMITTED) == pytest.approx(5.0)
    assert found["team.a"].replicas == {"Gateway": 2} and found["team.a"].at == clock.seconds
    assert len(ray.asked) == 4 and ray.finds == 1


async def test_a_load_that_begins_is_not_spread_over_the_rest_before_it_whatever_the_interval_of_reports(
    clock,
):
    ray = Ray(**{"10_0_0_1": gateway(0)})
    loads = NodeLoads(ray, ray, gate=asyncio.Semaphore(2), report_s=10.0, now=clock)
    for reports in range(1, 13):
        tiles = 40 if reports == 12 else 0
        ray.pages["10.0.0.1"] = [*gateway(tiles), line(metrics.REPORTS, reports)]
        found = await look(loads, clock, 1.0)
    assert found["team.a"].rate(metrics.TILES_ADMITTED) == pytest.approx(8.0), (
        "forty in the last five seconds"
    )


async def test_a_series_that_is_told_twice_counts_once_and_what_is_not_finite_not_at_all(clock):
    ray = Ray(**{"10_0_0_1": [*gateway(100), line(metrics.TILES_ADMITTED, 100, WorkerId="w2")]})
    loads = nodes(ray, clock)
    await look(loads, clock)
    ray.pages["10.0.0.1"] = [*gateway(110), line(metrics.TILES_ADMITTED, "NaN", WorkerId="w2")]
    found = await look(loads, clock)
    assert found["team.a"].rate(metrics.TILES_ADMITTED) == pytest.approx(5.0)


@pytest.mark.parametrize("value", ["NaN", "+Inf"])
@pytest.mark.parametrize("metric", [metrics.OUTPUT_TOKENS_ADMITTED, metrics.AWAITED_TILES])
async def test_a_replica_one_of_whose_samples_is_no_number_has_not_told(clock, metric, value):
    ray = Ray(**{"10_0_0_1": gateway(100), "10_0_0_2": gateway(50, replica="g2")})
    loads = nodes(ray, clock)
    await look(loads, clock)
    ray.pages["10.0.0.1"] = [*gateway(110), line(metric, value)]
    ray.pages["10.0.0.2"] = gateway(60, replica="g2")
    found = await look(loads, clock)
    assert found["team.a"].replicas == {"Gateway": 1}
    assert found["team.a"].rate(metrics.TILES_ADMITTED) == pytest.approx(5.0)


async def test_a_node_that_does_not_answer_is_named_and_its_replicas_do_not_count_as_told(clock):
    ray = Ray(**{"10_0_0_1": gateway(100), "10_0_0_2": gateway(50, replica="g2")})
    loads = nodes(ray, clock)
    await look(loads, clock)
    ray.pages.update({"10.0.0.1": gateway(110), "10.0.0.2": gateway(60, replica="g2")})
    await look(loads, clock)
    ray.pages.update({"10.0.0.1": gateway(120), "10.0.0.2": None})
    found = await look(loads, clock)
    assert found["team.a"].replicas == {"Gateway": 1}
    assert loads.silent.keys() == {"10.0.0.2"} and "10.0.0.2:8080" in loads.silent["10.0.0.2"]
    assert found["team.a"].rate(metrics.TILES_ADMITTED) == pytest.approx(10.0), (
        "known from before, for a while"
    )
    found = await look(loads, clock, 20.0)
    assert found["team.a"].rate(metrics.TILES_ADMITTED) == 0, "then forgotten"


async def test_a_node_that_hangs_changes_no_rate_of_the_others(clock):
    def hang():
        clock.seconds += 2.0

    ray = Ray(**{"10_0_0_1": gateway(100), "10_0_0_2": gateway(50, replica="g2")})
    ray.hang = hang
    loads = nodes(ray, clock)
    await look(loads, clock)
    ray.pages.update({"10.0.0.1": gateway(120), "10.0.0.2": None})
    found = await look(loads, clock)
    assert found["team.a"].rate(metrics.TILES_ADMITTED) == pytest.approx(10.0), (
        "read before the other one hung"
    )


async def test_replicas_of_a_node_that_ray_knows_no_more_are_forgotten_at_once_and_it_is_not_asked(clock):
    ray = Ray(**{"10_0_0_1": gateway(100), "10_0_0_2": gateway(50, replica="g2")})
    loads = nodes(ray, clock)
    await look(loads, clock)
    ray.pages.update({"10.0.0.1": gateway(110), "10.0.0.2": gateway(60, replica="g2")})
    await look(loads, clock)
    ray.pages.update({"10.0.0.1": gateway(125), "10.0.0.2": None})
    ray.asked.clear()
    clock.seconds += 2.0
    found = await loads.read({"10.0.0.1"})
    assert found["team.a"].rate(metrics.TILES_ADMITTED) == pytest.approx(25 / 4), "what went to the other one"
    assert ray.asked == ["http://10.0.0.1:8080/metrics"] and loads.silent == {}


class Hanging(Ray):
    """Nodes in `hung` answer nothing, and it takes the clock the time-out of one page to learn it."""

    def __init__(self, clock, hung, **pages):
        super().__init__(**pages)
        self.clock, self.hung = clock, set(hung)
        self.waiting = self.most = 0

    async def request(self, method, url, **how):
        if not any(f"//{host}:" in url for host in self.hung):
            return await super().request(method, url, **how)
        self.asked.append(url)
        until = self.clock.seconds + 2.0
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        await asyncio.sleep(0)
        self.waiting -= 1
        self.clock.seconds = max(self.clock.seconds, until)
        raise HttpTimedOut(f"no complete answer from {url} within 2 s")


async def test_a_node_that_hung_is_named_every_round_and_asked_every_ten_seconds(clock):
    ray = Hanging(clock, {"10.0.0.2"}, **{"10_0_0_1": gateway(100), "10_0_0_2": gateway(50, replica="g2")})
    loads = nodes(ray, clock)
    for _ in range(5):
        await look(loads, clock, 1.0)
        assert "within 2 s" in loads.silent["10.0.0.2"]
    assert ray.asked.count("http://10.0.0.2:8080/metrics") == 1
    assert ray.asked.count("http://10.0.0.1:8080/metrics") == 5
    ray.hung.clear()
    found = await look(loads, clock, 10.0)
    assert found["team.a"].replicas == {"Gateway": 2} and loads.silent == {}


async def test_a_node_that_told_just_before_is_asked_again_at_once_and_then_seldom(clock):
    ray = Hanging(clock, (), **{"10_0_0_1": gateway(100), "10_0_0_2": gateway(50, replica="g2")})
    loads = nodes(ray, clock)
    await look(loads, clock, 1.0)
    ray.hung.add("10.0.0.2")
    ray.asked.clear()
    for _ in range(4):
        await look(loads, clock, 1.0)
    assert ray.asked.count("http://10.0.0.2:8080/metrics") == 2, "busy for a moment is not gone"


async def test_however_many_nodes_hang_a_round_lasts_one_time_out_and_who_told_is_read_first(clock):
    hung = [f"10.0.1.{number}" for number in range(100)]
    hosts = {*hung, "10.0.0.1"}
    ray = Hanging(clock, (), **{host.replace(".", "_"): [] for host in hung}, **{"10_0_0_1": gateway(100)})
    loads = NodeLoads(ray, ray, gate=asyncio.Semaphore(16), report_s=1.0, now=clock)
    await loads.read(hosts)
    ray.hung.update(hung)
    for _ in range(3):
        ray.asked.clear()
        began = clock.seconds = clock.seconds + 1.0
        found = await loads.read(hosts)
        assert clock.seconds - began == 2.0, "and not one time-out after the other"
        assert found["team.a"].replicas == {"Gateway": 1} and loads.silent.keys() == set(hung)
    assert ray.most == 4, "others have room in the gate of all"


async def test_a_replica_that_left_its_page_is_forgotten_at_once(clock):
    ray = Ray(**{"10_0_0_1": [*gateway(100), *gateway(100, replica="g2")]})
    loads = nodes(ray, clock)
    await look(loads, clock)
    ray.pages["10.0.0.1"] = gateway(110)
    found = await look(loads, clock)
    assert found["team.a"].replicas == {"Gateway": 1}


async def test_a_replica_whose_counters_alone_are_left_is_gone(clock):
    ray = Ray(**{"10_0_0_1": [*gateway(100), *gateway(100, replica="g2")]})
    loads = nodes(ray, clock)
    await look(loads, clock)
    ray.pages["10.0.0.1"] = [*gateway(110), line(metrics.TILES_ADMITTED, 100, replica="g2")]
    found = await look(loads, clock)
    assert found["team.a"].replicas == {"Gateway": 1}, "it would stand for one that does not tell"


async def test_a_new_node_is_looked_for_until_it_is_found_and_then_rarely(clock):
    ray = Ray(**{"10_0_0_1": gateway(100)})
    loads = nodes(ray, clock)
    await look(loads, clock)
    await look(loads, clock)
    assert ray.finds == 2, "10.0.0.2 has no exporter yet"
    ray.pages["10.0.0.2"] = gateway(50, replica="g2")
    found = await look(loads, clock)
    assert found["team.a"].replicas == {"Gateway": 2} and ray.finds == 3
    await look(loads, clock)
    assert ray.finds == 3


async def test_only_nodes_of_replicas_are_asked_whatever_ray_says(clock):
    ray = Ray(**{"10_0_0_1": gateway(100)})
    ray.extra = [
        "169.254.169.254:8080",
        "127.0.0.1:9090",
        "metadata.internal:8080",
        "10.0.0.9:8080",
        "10.0.0.2:80",
        "10.0.0.2",
        "10.0.0.2:x",
    ]
    loads = nodes(ray, clock)
    await loads.read({*HOSTS, "169.254.169.254", "127.0.0.1", "metadata.internal"})
    assert ray.asked == ["http://10.0.0.1:8080/metrics"]


async def test_loopback_is_asked_where_ray_itself_is_there(clock):
    ray = Ray(**{"127_0_0_1": gateway(100)})
    ray.address = "http://127.0.0.1:8265"
    await nodes(ray, clock).read({"127.0.0.1"})
    assert ray.asked == ["http://127.0.0.1:8080/metrics"]


async def test_no_more_pages_are_held_at_a_time_than_the_gate_lets_through(clock):
    class Slow(Ray):
        held = most = 0

        async def request(self, method, url, **how):
            self.held += 1
            self.most = max(self.most, self.held)
            await asyncio.sleep(0)
            self.held -= 1
            return await super().request(method, url, **how)

    hosts = {f"10.0.0.{number}" for number in range(1, 10)}
    ray = Slow(**{host.replace(".", "_"): gateway(100) for host in hosts})
    await nodes(ray, clock).read(hosts)
    assert len(ray.asked) == 9 and ray.most == 2
