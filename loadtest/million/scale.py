"""The axes of plots: round ticks, and numbers as people read them."""

from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Final

STEPS: Final = (1, 2, 5, 10)


@dataclass(frozen=True, slots=True)
class Scale:
    """Values from `low` to `high` on a length of 1; `logarithmic` needs them above 0."""

    low: float
    high: float
    ticks: tuple[float, ...]
    logarithmic: bool = False

    def place(self, value: float) -> float:
        """Where a value lies, 0 to 1; values beyond the ends lie at the ends."""
        if self.logarithmic:
            low, high, value = log10(self.low), log10(self.high), log10(max(value, self.low))
        else:
            low, high = self.low, self.high
        return min(1.0, max(0.0, (value - low) / (high - low)))


def linear(most: float, count: int = 5) -> Scale:
    """From 0 to a round number that is not below `most`, with about `count` steps."""
    step = _step(max(most, 1e-9) / count)
    steps = max(1, ceil(most / step - 1e-9))
    return Scale(0.0, _rounded(steps * step), tuple(_rounded(number * step) for number in range(steps + 1)))


def within(low: float, high: float, count: int = 6) -> Scale:
    """Exactly from `low` to `high`, with round ticks in between: for axes of time."""
    step = _step(max(high - low, 1e-9) / count)
    first, last = ceil(low / step - 1e-9), floor(high / step + 1e-9)
    return Scale(low, max(high, low + 1e-9), tuple(_rounded(number * step) for number in range(first, last + 1)))


def decades(least: float, most: float) -> Scale:
    """Logarithmic, from the power of ten below `least` to the one above `most`."""
    low = floor(log10(max(least, 1e-9)) + 1e-9)
    high = max(low + 1, ceil(log10(max(most, least, 1e-9)) - 1e-9))
    return Scale(10.0**low, 10.0**high, tuple(10.0**power for power in range(low, high + 1)), logarithmic=True)


def short(value: float) -> str:
    """A number as an axis says it: 0, 0.5, 250, 1.5k, 20k, 1M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def clock(seconds: float) -> str:
    """A time on an axis: 45 s, 5 min, 1:30 h."""
    if seconds < 120 and seconds % 60:
        return f"{seconds:g} s"
    minutes = seconds / 60
    if minutes < 120:
        return f"{minutes:g} min" if seconds else "0"
    return f"{int(minutes // 60)}:{int(minutes % 60):02d} h"


def time_scale(end: float, count: int = 6) -> Scale:
    """From 0 to `end` seconds, with ticks at whole seconds, minutes or quarters of hours."""
    for step in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400):
        if end / step <= count:
            break
    return Scale(0.0, max(end, 1.0), tuple(float(number * step) for number in range(int(end // step) + 1)))


def _step(rough: float) -> float:
    power = 10.0 ** floor(log10(rough))
    return next(step * power for step in STEPS if rough <= step * power * (1 + 1e-9))


def _rounded(value: float) -> float:
    return float(f"{value:.12g}")
