"""What measuring costs: CPU time of one thread for each thing that is counted, into Ray's own metrics.

Ray's library is asked without a cluster: its worker records in the same way, and exports in a thread of its own.
"""

import time
import warnings
from collections.abc import Callable

from e2e.bench.result import BenchResult, Goal
from internvl_runtimes.contract import metrics
from internvl_runtimes.contract.metrics import Role
from internvl_runtimes.deployments.admission import Admitted
from internvl_runtimes.deployments.arrivals import Answering, Arrivals
from internvl_runtimes.deployments.metrics import RayRecorder
from internvl_runtimes.deployments.tile_meter import TileMeter
from internvl_runtimes.engines.step_meter import Part, StepMeter
from internvl_runtimes.preprocess.prompt import Prompt
from internvl_runtimes.protocol.handover import Chunk, Sampling
from internvl_runtimes.protocol.openai import parse_chat_request

SEQUENCES = 8
ROUNDS, TIMES = 7, 2000
STEP_LIMIT_NS = 500.0
"""Of one output token at eight sequences: a decode step of the smallest model takes 180,000 ns for each."""
PIECE_LIMIT_US = 10.0
"""Of one piece of an answer, which itself costs 1,000 to 2,000 us on its way."""


def run() -> BenchResult:
    """Measure each kind of count."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ray's own use of pydantic is not ours to mend
        recorder = {role: RayRecorder(role) for role in Role}
    step_us = _microseconds(_step())
    costs = {
        "one step of the language engine": step_us,
        "one piece of an answer, at the gateway": _microseconds(_piece(recorder[Role.GATEWAY])),
        "one request, at the gateway": _microseconds(_request(recorder[Role.GATEWAY])),
        "one request and its engine call, in vision": _microseconds(_tiles(recorder[Role.VISION])),
        "what a vision replica tells each second": _microseconds(
            TileMeter(recorder[Role.VISION]).record_load
        ),
    }
    token_ns = step_us * 1000 / SEQUENCES
    return BenchResult(
        name="measuring",
        title="What measuring costs, CPU time",
        columns=("what", "us"),
        rows=tuple((what, f"{cost:.2f}") for what, cost in costs.items()),
        raw={"us": costs, "token_ns": token_ns},
        goals=(
            Goal(f"one output token of {SEQUENCES} sequences together, ns", token_ns, "<=", STEP_LIMIT_NS),
            Goal(
                "one piece of an answer, us",
                costs["one piece of an answer, at the gateway"],
                "<=",
                PIECE_LIMIT_US,
            ),
        ),
    )


def _microseconds(run_once: Callable[[], None]) -> float:
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.thread_time()
        for _ in range(TIMES):
            run_once()
        best = min(best, time.thread_time() - began)
    return best / TIMES * 1e6


def _step() -> Callable[[], None]:
    meter = StepMeter()

    def once() -> None:
        prefill, decode = Part("prefill"), Part("decode")
        began = time.monotonic()
        decode.ran(SEQUENCES, time.monotonic() - began)
        meter.step(prefill, decode, seconds=time.monotonic() - began, saturated=True, is_full=True)

    return once


def _piece(recorder: RayRecorder) -> Callable[[], None]:
    answering, chunk = Answering(Arrivals(recorder), _admitted()), Chunk("red", (1, 2, 3))
    return lambda: answering.piece(chunk)


def _request(recorder: RayRecorder) -> Callable[[], None]:
    arrivals, admitted, chunk = Arrivals(recorder), _admitted(), Chunk("red", (1,))

    def once() -> None:
        arrivals.admitted(admitted)
        with arrivals.answering(admitted) as answering:
            answering.piece(chunk)

    return once


def _tiles(recorder: RayRecorder) -> Callable[[], None]:
    meter = TileMeter(recorder)

    def once() -> None:
        with meter.request(1), meter.batch(1):
            pass
        recorder.record(metrics.QUEUE_SECONDS, 0.1, stage="vision")

    return once


def _admitted() -> Admitted:
    chat = parse_chat_request(b'{"model": "m", "messages": [{"role": "user", "content": "x"}]}')
    return Admitted(
        chat=chat,
        images=(b"picture",),
        image_params=("messages[0]",),
        prompt=Prompt((1, 2), 1),
        tiles=13,
        model="m",
        prompt_tokens_bound=3400,
        visual_tokens_bound=3328,
        sampling=Sampling(max_tokens=64),
    )
