"""What a stage of a replica did, as the counters of the contract."""

from internvl_runtimes.contract import metrics
from internvl_runtimes.contract.metrics import Stage
from internvl_runtimes.deployments.metrics import Recorder
from internvl_runtimes.engines.base import StageWork


def record_work(recorder: Recorder, stage: Stage, work: StageWork) -> None:
    """Add what a stage did since the last time."""
    recorder.record(metrics.WORK, work.done, stage=stage)
    recorder.record(metrics.BUSY_SECONDS, work.busy_s, stage=stage)
    recorder.record(metrics.SATURATED_WORK, work.saturated_done, stage=stage)
    recorder.record(metrics.SATURATED_SECONDS, work.saturated_s, stage=stage)
