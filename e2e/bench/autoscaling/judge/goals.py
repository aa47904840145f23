"""The five goals of the comparison, each as figures beside a bound.

GPU-hours are compared only where both attain `COMPARABLE`, or as much as each other; what is left out is named.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from e2e.bench.autoscaling.judge.record import ATTAINED, COMPARABLE, Record, Result, percent
from e2e.bench.autoscaling.policies.catalogue import OURS, PEERS, UNSTATED

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
    is_ok: bool | None
    """None: no goal, told for the record."""

    @property
    def mark(self) -> str:
        """In one word or two."""
        return {True: "met", False: "MISSED", None: "for the record"}[self.is_ok]


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
    what = f"1a our defaults attain {percent(UNTUNED)} on every trace but step"
    goals = _least(records, OURS.name, what, is_goal=True)
    goals += _least(records, UNSTATED.name, "1a' the same, with nothing stated", is_goal=False)
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
                    f"{record.name} {peer.name} {percent(other.attained, 2)} > {percent(default.attained, 2)}"
                    f" for {other.gpu_hours / default.gpu_hours:.2f} x our GPU-hours"
                )
    if compared:
        figures = f"{compared - len(lost)} of {compared}" + (f"; not: {', '.join(lost)}" if lost else "")
        goals.append(
            Goal("1b our defaults attain more than every peer's on bursts, azure and step", figures, not lost)
        )
    return goals


def _least(records: Sequence[Record], policy: str, what: str, *, is_goal: bool) -> list[Goal]:
    shares = {
        record.name: result.attained
        for record in records
        if record.trace != "step" and (result := record.default(policy))
    }
    if not shares:
        return []
    worst = min(shares, key=lambda name: shares[name])
    below = [f"{name} {percent(share, 2)}" for name, share in sorted(shares.items()) if share < UNTUNED]
    figures = f"least {percent(shares[worst], 2)} on {worst}" + (
        f"; below: {', '.join(below)}" if below else ""
    )
    return [Goal(what, figures, not below if is_goal else None)]


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
    what = f"2 {record.name}: our defaults <= {most:.2f} x the {plan}"
    figures = f"{_bought(default)} against {_bought(least)}"
    if not default.is_comparable:
        return [Goal(what, f"not comparable, {figures}", False)]
    ratio = default.gpu_hours / least.gpu_hours
    return [Goal(what, f"{ratio:.2f}: {figures}", ratio <= most)]


def _bought(result: Result) -> str:
    return f"{result.gpu_hours:.0f} GPU-h at {percent(result.attained)}"


def _tuned_peers(records: Sequence[Record]) -> list[Goal]:
    """First by the protocol: peers are tuned on the first half, ours is not, the second is judged. Then with hindsight."""
    goals = []
    for record in records:
        swept = [peer.name for peer in PEERS if len(record.of(peer.name)) > 1]
        default = record.default(OURS.name)
        if default is None or not swept:
            continue
        attains = default.attained >= ATTAINED
        tuned = {name: found for name in swept if (found := record.tuned(name))}
        goals.append(
            _none_is_cheaper(
                f"3a {record.name}: no peer tuned on the first half > {percent(CHEAPER, 0)} cheaper at 99 % of the"
                " second than our untuned defaults",
                default if attains else None,
                {name: found for name, found in tuned.items() if found.attained >= ATTAINED},
                "" if attains else f"; our defaults {_bought(default)}",
            )
        )
        if len(record.of(OURS.name)) < 2:
            continue
        goals.append(
            _none_is_cheaper(
                f"3b {record.name}: no peer > {percent(CHEAPER, 0)} cheaper at 99 % than ours, all tuned with"
                " hindsight, on the judged half",
                record.cheapest(OURS.name),
                {peer.name: found for peer in PEERS if (found := record.cheapest(peer.name))},
                f"; our defaults {_bought(default)}",
            )
        )
    return goals


def _none_is_cheaper(what: str, ours: Result | None, others: Mapping[str, Result], untuned: str) -> Goal:
    """Of those that attain 99 %; None: ours does not. `untuned` is told as well."""
    if not others:
        figures = "no peer attains it, " + ("nor does ours" if ours is None else f"ours {_bought(ours)}")
        return Goal(what, figures + untuned, ours is not None)
    name, best = min(others.items(), key=lambda other: other[1].gpu_hours)
    if ours is None:
        return Goal(what, f"ours does not attain it, {name} {_bought(best)}{untuned}", False)
    less = 1 - best.gpu_hours / ours.gpu_hours
    figures = (
        f"{name} {abs(less) * 100:.1f} % {'cheaper' if less > 0 else 'dearer'}:"
        f" {_bought(best)} against {_bought(ours)}{untuned}"
    )
    return Goal(what, figures, less <= CHEAPER)


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
        counted = [item.saved for item in savings.values() if item.is_comparable]
        mean = 1 - math.exp(sum(math.log(1 - saved) for saved in counted) / max(len(counted), 1))
        bound = f" >= {percent(SAVED, 0)}" if is_goal else ""
        goals.append(
            Goal(
                f"4 {site}: GPU-hours saved against coupled, {kind}, same rule{bound}",
                _saved(savings, mean if counted else None),
                bool(counted) and mean >= SAVED if is_goal else None,
            )
        )
    return goals


@dataclass(frozen=True, slots=True)
class _Saving:
    """Ours beside another one."""

    ours: Result
    theirs: Result

    @property
    def saved(self) -> float:
        """Share of the GPU-hours."""
        return 1 - self.ours.gpu_hours / self.theirs.gpu_hours

    @property
    def is_comparable(self) -> bool:
        """Whether both attain enough."""
        return self.ours.is_comparable and self.theirs.is_comparable

    def __str__(self) -> str:
        return f"{self.saved * 100:+.0f} % at {percent(self.ours.attained)} against {percent(self.theirs.attained)}"


def _saved(savings: Mapping[str, _Saving], mean: float | None) -> str:
    counted = [f"{trace} {item}" for trace, item in savings.items() if item.is_comparable]
    left_out = [f"{trace} {item}" for trace, item in savings.items() if not item.is_comparable]
    figures = "no case counts" if mean is None else f"{mean * 100:+.0f} % ({', '.join(counted)})"
    if left_out:
        figures += f"; left out, below {percent(COMPARABLE)}: {', '.join(left_out)}"
    return figures


def _savings(records: Sequence[Record], site: str, other: str) -> Iterable[tuple[str, _Saving]]:
    for record in records:
        if record.site == site and record.fleet == 20:
            split, beside = record.default(OURS.name), record.default(other)
            if split is not None and beside is not None:
                yield record.trace, _Saving(split, beside)


def _step(records: Sequence[Record]) -> list[Goal]:
    """Beside the static peak that attains as much as ours, and not 99 %: nobody does who keeps no tenfold reserve."""
    goals = []
    for record in records:
        ours = record.default(OURS.name) if record.trace == "step" else None
        static = None if ours is None else record.cheapest("static-peak", ours.attained)
        if ours is None or static is None:
            continue
        recovered = max(float(ours.judged["last_late_s"]) - record.traffic["step_s"], 0.0)
        figures = f"{_bought(ours)} against {_bought(static)}"
        attains = record.cheapest("static-peak")
        if attains is not None and attains != static:
            figures += f" ({_bought(attains)})"
        figures += f"; recovered {recovered:.0f} s after the step"
        goals.append(
            Goal(
                f"5 {record.name}: no dearer than the static peak that attains as much",
                figures,
                ours.gpu_hours <= static.gpu_hours,
            )
        )
    return goals
