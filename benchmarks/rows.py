"""The rows of the report: ours beside a peer, their ratio, and whether it meets its goal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median

from benchmarks.measuring import Sample


@dataclass(frozen=True, slots=True)
class Goal:
    """A limit for a ratio."""

    limit: float
    at_least: bool = False

    def met(self, ratio: float) -> bool:
        return ratio >= self.limit if self.at_least else ratio <= self.limit

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.limit:g}"


def at_most(limit: float) -> Goal:
    return Goal(limit)


def at_least(limit: float) -> Goal:
    return Goal(limit, at_least=True)


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison. `amount` turns seconds into a rate of `unit` for display.

    The ratio is the median over rounds of ours ÷ theirs, or theirs ÷ ours where `speed` says that the goal
    counts how many times as fast we are. No samples of theirs: the peer was not to be had, `note` says why.
    """

    topic: str
    work: str
    peer: str
    ours: Sequence[Sample]
    theirs: Sequence[Sample] = ()
    goal: Goal | None = None
    unit: str = "s"
    amount: float | None = None
    speed: bool = False
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """None where there is nothing to compare with."""
        theirs = [sample.value for sample in self.theirs]
        if not theirs or not self.ours:
            return None
        mine = [sample.value for sample in self.ours]
        if len(theirs) != len(mine):
            theirs = [median(theirs)] * len(mine)
        return median(
            _divided(b, a) if self.speed else _divided(a, b) for a, b in zip(mine, theirs, strict=True)
        )

    @property
    def met(self) -> bool | None:
        """None where there is no goal, or nothing to compare with."""
        ratio = self.ratio
        return None if self.goal is None or ratio is None else self.goal.met(ratio)

    @property
    def load(self) -> tuple[float, float]:
        """Medians of the load average and of the cores that others used."""
        samples = [*self.ours, *self.theirs]
        loads = [sample.load for sample in samples if sample.load]
        others = [sample.others for sample in samples if sample.load]
        return (median(loads), median(others)) if loads else (0.0, 0.0)

    def shown(self, samples: Sequence[Sample]) -> str:
        """The median of some samples as text."""
        if not samples:
            return "–"
        value = median(sample.value for sample in samples)
        if self.amount is not None:
            return f"{self.amount / value:,.0f} {self.unit}"
        return amount_of(value, self.unit)

    def to_json(self) -> dict[str, object]:
        return {**asdict(self), "ratio": self.ratio, "met": self.met}


def _divided(a: float, b: float) -> float:
    if b:
        return a / b
    return 0.0 if a == 0 else float("inf")


def amount_of(value: float, unit: str) -> str:
    """`0.0123, "s"` → "12.3 ms"."""
    match unit:
        case "s" if value < 0.001:
            return f"{value * 1e6:,.0f} µs"
        case "s" if value < 1:
            return f"{value * 1e3:,.1f} ms"
        case "s":
            return f"{value:,.2f} s"
        case "bytes":
            return f"{value / 1e6:,.1f} MB"
        case "%":
            return f"{value * 100:.1f} %"
        case _:
            return f"{value:g} {unit}".strip()
