"""The five goals of the comparison, each as figures beside a bound."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from e2e.bench.autoscaling.judge.record import Record
from e2e.bench.autoscaling.policies.catalogue import OURS, PEERS

SMOOTH = ("smooth", "servegen")
COMPARED = ("bursts", "azure", "step")
UNTUNED = 0.985
OVER_ORACLE = 1.20
OVER_MINUTE_ORACLE = {"heavy": 1.5, "light": 1.7}
CHEAPER = 0.05
SAVED = 0.30


@dataclass(frozen=True, slots=True)
class Goal:
    """One bound on one or more figures."""

    what: str
    figures: str
    is_ok: bool

    def line(self) -> str:
        """For the terminal."""
        return f"{'ok    ' if self.is_ok else 'MISSED'} {self.what}: {self.figures}"


def judge(records: Sequence[Record]) -> list[Goal]:
    """All goals that these cases have figures for."""
    return [
        *_untuned(records),
        *_near_oracle(records),
        *_tuned_peers(records),
        *_coupled(records),
        *_step(records),
    ]


def _untuned(records: Sequence[Record]) -> list[Goal]:
    ours = {
        record.name: result.attained
        for record in records
        if record.trace != "step" and (result := record.default(OURS.name))
    }
    goals = []
    if ours:
        worst = min(ours, key=lambda name: ours[name])
        below = [f"{name} {share:.2%}" for name, share in sorted(ours.items()) if share < UNTUNED]
        figures = f"least {ours[worst]:.2%} on {worst}" + (f"; below: {', '.join(below)}" if below else "")
        goals.append(
            Goal(f"1a our defaults attain {UNTUNED:.1%} on every trace but step", figures, not below)
        )
    lost, compared = [], 0
    for record in records:
        default = record.default(OURS.name) if record.trace in COMPARED else None
        if default is None:
            continue
        for peer in PEERS:
            other = record.default(peer.name)
            if other is None:
                continue
            compared += 1
            if other.attained > default.attained:
                lost.append(
                    f"{record.name} {peer.name} {other.attained:.2%} > {default.attained:.2%}"
                    f" for {other.gpu_hours / default.gpu_hours:.2f} x our GPU-hours"
                )
    if compared:
        figures = f"{compared - len(lost)} of {compared}" + (f"; not: {', '.join(lost)}" if lost else "")
        goals.append(
            Goal("1b our defaults attain more than every peer's on bursts, azure and step", figures, not lost)
        )
    return goals


def _near_oracle(records: Sequence[Record]) -> list[Goal]:
    goals = []
    for record in records:
        if record.trace in SMOOTH and record.fleet >= 20:
            goals += _over(record, "oracle", OVER_ORACLE)
        if record.trace == "azure" and record.fleet >= 20:
            goals += _over(record, "minute-oracle", OVER_MINUTE_ORACLE[record.site])
    return goals


def _over(record: Record, plan: str, most: float) -> list[Goal]:
    default = record.default(OURS.name)
    least = record.cheapest(plan)
    if default is None or least is None:
        return []
    ratio = default.gpu_hours / least.gpu_hours
    figures = (
        f"{ratio:.2f} ({default.gpu_hours:.0f} against {least.gpu_hours:.0f} GPU-h, {default.attained:.2%})"
    )
    return [Goal(f"2 {record.name}: our defaults <= {most:.2f} x the {plan}", figures, ratio <= most)]


def _tuned_peers(records: Sequence[Record]) -> list[Goal]:
    """Both tuned with the same hindsight, on cases where both were swept."""
    goals = []
    for record in records:
        if len(record.of(OURS.name)) < 2:
            continue
        cheapest = record.cheapest(OURS.name)
        ours = math.inf if cheapest is None else cheapest.gpu_hours
        others = {peer.name: found.gpu_hours for peer in PEERS if (found := record.cheapest(peer.name))}
        name = f"3 {record.name}: no tuned peer > {CHEAPER:.0%} cheaper at 99 %"
        if not others:
            goals.append(Goal(name, f"no peer attains 99 %; ours {ours:.0f} GPU-h", math.isfinite(ours)))
            continue
        best = min(others, key=lambda peer: others[peer])
        if math.isinf(ours):
            goals.append(Goal(name, f"ours does not attain it, {best} for {others[best]:.0f} GPU-h", False))
            continue
        less = 1 - others[best] / ours
        default = record.default(OURS.name)
        untuned = (
            "" if default is None else f", our defaults {default.gpu_hours:.0f} at {default.attained:.2%}"
        )
        figures = f"{best} {less:+.1%} less ({others[best]:.0f} against {ours:.0f} GPU-h{untuned})"
        goals.append(Goal(name, figures, less <= CHEAPER))
    return goals


def _coupled(records: Sequence[Record]) -> list[Goal]:
    goals = []
    for site, kind, is_goal in (
        ("heavy", "measured", True),
        ("heavy", "ideal", False),
        ("light", "measured", False),
        ("light", "ideal", False),
    ):
        savings = dict(_savings(records, site, f"coupled-{kind}"))
        if not savings:
            continue
        mean = 1 - math.exp(sum(math.log(1 - item.saved) for item in savings.values()) / len(savings))
        figures = f"{mean:+.0%} (" + ", ".join(f"{name} {item}" for name, item in savings.items()) + ")"
        bound = f" >= {SAVED:.0%}" if is_goal else ", for the record"
        goals.append(
            Goal(
                f"4 {site}: GPU-hours saved against coupled, {kind}, same rule{bound}",
                figures,
                mean >= SAVED or not is_goal,
            )
        )
    return goals


@dataclass(frozen=True, slots=True)
class _Saving:
    """Share of the GPU-hours, and the shares of requests within the objectives that each was paid for."""

    saved: float
    ours: float
    theirs: float

    def __str__(self) -> str:
        return f"{self.saved:+.0%} at {self.ours:.1%} against {self.theirs:.1%}"


def _savings(records: Sequence[Record], site: str, other: str) -> Iterable[tuple[str, _Saving]]:
    for record in records:
        if record.site == site and record.fleet == 20:
            split, beside = record.default(OURS.name), record.default(other)
            if split is not None and beside is not None:
                saved = 1 - split.gpu_hours / beside.gpu_hours
                yield record.trace, _Saving(saved, split.attained, beside.attained)


def _step(records: Sequence[Record]) -> list[Goal]:
    goals = []
    for record in records:
        if record.trace != "step":
            continue
        ours, static = record.default(OURS.name), record.cheapest("static-peak")
        if ours is None or static is None:
            continue
        began = record.traffic["step_s"]
        recovered = max(float(ours.judged["last_late_s"]) - began, 0.0)
        figures = f"{ours.gpu_hours:.0f} against {static.gpu_hours:.0f} GPU-h; recovered {recovered:.0f} s after the step"
        goals.append(
            Goal(f"5 {record.name}: no dearer than static peak", figures, ours.gpu_hours <= static.gpu_hours)
        )
    return goals
