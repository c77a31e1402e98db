"""Durations, counted in log-linear buckets: mergeable over processes, and of a fixed size whatever comes.

Up to 128 us every microsecond has a bucket; above, each doubling is divided into 128 equal parts, so that a value is
known to 1 part in 128. Durations of 2^30 us (18 minutes) and more share the last bucket.
"""

from collections.abc import Iterable, Mapping
from typing import Self

PRECISION_BITS = 7
MAGNITUDE_BITS = 30
PARTS = 1 << PRECISION_BITS
BUCKETS = (MAGNITUDE_BITS - PRECISION_BITS + 1) * PARTS


def bucket_of(microseconds: int) -> int:
    """The bucket of a duration; C's `histogram_bucket` is the same."""
    if microseconds < PARTS:
        return max(0, microseconds)
    shift = microseconds.bit_length() - 1 - PRECISION_BITS
    return min(BUCKETS - 1, (shift << PRECISION_BITS) + (microseconds >> shift))


def highest_of(bucket: int) -> int:
    """The longest duration that falls into a bucket, in microseconds."""
    if bucket < 2 * PARTS:
        return bucket
    shift = (bucket >> PRECISION_BITS) - 1
    return (((bucket & (PARTS - 1)) + PARTS + 1) << shift) - 1


class Histogram:
    """Counts per bucket, those of 0 left out. All durations are in seconds."""

    __slots__ = ("counts",)

    def __init__(self, counts: Mapping[int, int] | None = None) -> None:
        self.counts: dict[int, int] = dict(counts or {})

    @classmethod
    def of(cls, seconds: Iterable[float]) -> Self:
        """The histogram of these durations."""
        made = cls()
        for each in seconds:
            bucket = bucket_of(int(each * 1e6))
            made.counts[bucket] = made.counts.get(bucket, 0) + 1
        return made

    @classmethod
    def merged(cls, parts: Iterable["Histogram"]) -> Self:
        """All that was counted in any of them."""
        made = cls()
        for part in parts:
            for bucket, count in part.counts.items():
                made.counts[bucket] = made.counts.get(bucket, 0) + count
        return made

    @classmethod
    def from_json(cls, pairs: Iterable[Iterable[int]]) -> Self:
        """From what `as_json` gave."""
        return cls({bucket: count for bucket, count in pairs})  # noqa: C416

    def as_json(self) -> list[list[int]]:
        """Pairs of bucket and count, for JSON."""
        return [[bucket, count] for bucket, count in sorted(self.counts.items())]

    def __add__(self, other: "Histogram") -> "Histogram":
        return Histogram.merged((self, other))

    def __sub__(self, earlier: "Histogram") -> "Histogram":
        """What came since an earlier state of the same histogram."""
        rest = {bucket: count - earlier.counts.get(bucket, 0) for bucket, count in self.counts.items()}
        return Histogram({bucket: count for bucket, count in rest.items() if count > 0})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Histogram) and self.counts == other.counts

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<Histogram of {self.count}, p50 {self.percentile(50):.6f} s, p99 {self.percentile(99):.6f} s>"

    @property
    def count(self) -> int:
        """How many durations it holds."""
        return sum(self.counts.values())

    @property
    def maximum(self) -> float:
        """The longest, to 1 part in 128; 0.0 if there is none."""
        return highest_of(max(self.counts)) / 1e6 if self.counts else 0.0

    @property
    def mean(self) -> float:
        """The average, to 1 part in 128; 0.0 if there is none."""
        total = sum(highest_of(bucket) * count for bucket, count in self.counts.items())
        return total / self.count / 1e6 if self.counts else 0.0

    def percentile(self, percent: float) -> float:
        """The shortest duration that `percent` (0 to 100) of all do not exceed, to 1 part in 128; 0.0 of none."""
        if not 0 <= percent <= 100:
            raise ValueError(f"a percentile is 0 to 100, not {percent}")
        rest = max(1, -int(-self.count * percent // 100))
        for bucket in sorted(self.counts):
            rest -= self.counts[bucket]
            if rest <= 0:
                return highest_of(bucket) / 1e6
        return 0.0
