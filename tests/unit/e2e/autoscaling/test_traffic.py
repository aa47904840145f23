"""Traffic: scaled to a fleet, as bursty as it says, read from small files in the published formats."""

import json
from pathlib import Path

import numpy as np
import pytest

from e2e.bench.autoscaling.requests import MANY_TILES, RequestClass, Requests
from e2e.bench.autoscaling.site import HEAVY, LIGHT
from e2e.bench.autoscaling.traces import azure, servegen, shapes
from e2e.bench.autoscaling.traces.catalogue import TRACES
from e2e.bench.autoscaling.traces.stream import MEAN_LOAD, MOST_PICTURES, arrivals, pictures, quantiles

SECONDS = 7_200


def mean_load(requests: Requests, seconds: int) -> float:
    return float((requests.vision_s(HEAVY).sum() + requests.language_s(HEAVY).sum()) / seconds)


@pytest.mark.parametrize("name", TRACES)
def test_a_trace_keeps_its_share_of_a_fleet_busy(name: str) -> None:
    requests = TRACES[name].traffic(None, SECONDS).requests(HEAVY, replicas=8, seed=5)
    assert mean_load(requests, SECONDS) == pytest.approx(MEAN_LOAD * 8, rel=0.12)
    assert requests.output_tokens.min() >= 1
    assert requests.prompt_tokens.min() >= 1


def test_the_same_seed_draws_the_same_traffic() -> None:
    traffic = TRACES["bursts"].traffic(None, SECONDS)
    first, second = (traffic.requests(HEAVY, replicas=4, seed=9) for _ in range(2))
    assert np.array_equal(first.at, second.at)
    assert np.array_equal(first.output_tokens, second.output_tokens)


@pytest.mark.parametrize("cv", [0.5, 1.0, 2.5])
def test_gaps_vary_as_they_should(cv: float) -> None:
    gaps = np.diff(arrivals(np.full(2_000, 20.0), cv, np.random.default_rng(1)))
    assert np.std(gaps) / np.mean(gaps) == pytest.approx(cv, rel=0.05)
    assert np.mean(gaps) == pytest.approx(1 / 20, rel=0.03)


def test_quantiles_are_those_that_were_given() -> None:
    drawn = quantiles([(0, 1), (50, 100), (90, 1_000), (100, 2_000)], np.random.default_rng(1), 50_000)
    assert np.percentile(drawn, 50) == pytest.approx(100, rel=0.05)
    assert np.percentile(drawn, 90) == pytest.approx(1_000, rel=0.05)


def test_work_parts_only_where_it_is_said_to() -> None:
    def correlation(name: str) -> float:
        requests = TRACES[name].traffic(None, SECONDS).requests(LIGHT, replicas=8, seed=5)
        minute = (requests.at / 60).astype(np.int64)
        vision = np.bincount(minute, requests.vision_s(LIGHT))
        language = np.bincount(minute, requests.language_s(LIGHT))
        return float(np.corrcoef(vision, language)[0, 1])

    assert correlation("azure") > 0.9
    assert correlation("parted") < -0.5


def test_requests_of_too_many_pictures_are_cut() -> None:
    tiles, prompt = pictures(np.array([2, 50]), np.array([5, 5]), np.array([10, 10]))
    assert tiles.tolist() == [10, 5 * MOST_PICTURES]
    assert prompt.tolist() == [10 + 10 * 256, 10 + 50 * 256]


def test_every_request_is_of_one_class() -> None:
    tiles = np.array([0, 1, MANY_TILES - 1, MANY_TILES])
    ones = np.ones(4, dtype=np.int64)
    requests = Requests(np.arange(4.0), tiles, ones, ones)
    assert [requests.of(kind).tolist() for kind in RequestClass] == [
        [True, False, False, False],
        [False, True, True, False],
        [False, False, False, True],
    ]


def test_reads_servegens_client_pool(tmp_path: Path) -> None:
    folder = tmp_path / servegen.FOLDER
    folder.mkdir()
    windows = "\n".join(f"{start},2.0,1.5,Gamma,0.4,1.0" for start in range(0, 86_400, 600))
    (folder / "chunk-0-trace.csv").write_text(windows + "\n")
    (folder / "chunk-1-trace.csv").write_text(windows.replace(",2.0,1.5,Gamma", ",0.0,0.0,") + "\n")
    content = {"text_tokens": "{100: 1.0}", "image_tokens": "{512: 1.0}", "image_count": "{0: 0.5, 2: 0.5}"}
    dataset = json.dumps({str(start): {**content, "output_tokens": "{7: 1.0}"} for start in (0, 21_600)})
    for number in (0, 1):
        (folder / f"chunk-{number}-dataset.json").write_text(dataset)
    traffic = servegen.published(tmp_path, SECONDS)
    assert [stream.cv for stream in traffic.streams] == [1.5]
    tiles, prompt, output = traffic.streams[0].content(np.random.default_rng(1), 1_000)
    assert set(tiles.tolist()) == {0, 4}
    assert set(prompt.tolist()) == {100, 100 + 4 * 256}
    assert set(output.tolist()) == {7}
    assert "ServeGen" in traffic.note


def test_reads_azures_arrivals_with_seven_digits_and_crlf(tmp_path: Path) -> None:
    folder = tmp_path / azure.TEXT
    folder.mkdir()
    lines = [f"2023-11-16 18:{17 + i // 60:02}:{i % 60:02}.9799600,100,10" for i in range(900)]
    text = "\r\n".join(["TIMESTAMP,ContextTokens,GeneratedTokens", *lines])
    for name in ("code", "conv"):
        (folder / f"AzureLLMInferenceTrace_{name}.csv").write_text(text, newline="")
    traffic = azure.bursts(tmp_path, SECONDS)
    assert all(np.all(stream.rate == 1.0) for stream in traffic.streams)


def test_draws_each_minute_of_azures_figures_between_the_two_known_values(tmp_path: Path) -> None:
    folder = tmp_path / azure.MULTIMODAL
    folder.mkdir()
    header = "hours_since_2024-10-15T12:00Z,image_min,image_max,text_min,text_max"
    rows = [f"{hour},6,60,30,90" for hour in (-0.1, 1.0, 2.0)]
    (folder / "arrivals_per_min.csv").write_text("\n".join([header, *rows, "3.0,,,30,90"]))
    cdf = [[0, 5], [50, 100], [49, 101], [100, 900]]
    names = (
        "output_tokens_cdf_image_requests",
        "input_tokens_cdf_text_requests",
        "output_tokens_cdf_text_requests",
    )
    (folder / "cdfs.json").write_text(json.dumps(dict.fromkeys(names, cdf)))
    image, text = azure.multimodal(tmp_path, SECONDS).streams
    assert 6 <= image.rate.min() * 60 < image.rate.max() * 60 <= 60
    assert 30 <= text.rate.min() * 60 < text.rate.max() * 60 <= 90
    assert len(np.unique(image.rate[:60])) == 1


def test_without_files_the_note_says_that_it_is_fitted(tmp_path: Path) -> None:
    for name in ("servegen", "azure", "bursts"):
        assert "fitted" in TRACES[name].traffic(tmp_path, SECONDS).note
        assert "fitted" in TRACES[name].traffic(None, SECONDS).note


def test_the_step_comes_in_each_half() -> None:
    rate = shapes.step(SECONDS * 2).streams[0].rate
    half = len(rate) // 2
    for part in (rate[:half], rate[half:]):
        assert part.max() == 10 * part.min()
        assert np.sum(part == 10) == 1_200
