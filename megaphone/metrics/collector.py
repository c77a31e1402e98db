"""What prometheus-client asks at a scrape."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from megaphone.metrics.facts import NodeFacts
from megaphone.metrics.sources import NS, Labels, Metric, Samples
from megaphone.metrics.table import METRICS


class BoardCollector(Collector):
    """Turns the facts of the moment into metric families; `facts` is called once for each scrape."""

    def __init__(self, facts: Callable[[], NodeFacts], metrics: Sequence[Metric] = METRICS) -> None:
        self._facts = facts
        self._metrics = metrics

    def describe(self) -> Iterable[Family]:
        """The families without samples, so that registering needs no facts."""
        return [_empty(metric) for metric in self._metrics]

    def collect(self) -> Iterator[Family]:
        """All families in the order of the table."""
        node = self._facts()
        for metric in self._metrics:
            family = _empty(metric)
            if isinstance(family, HistogramMetricFamily):
                _add_histogram(family, metric.samples(node))
            else:
                for labels, value in metric.samples(node):
                    family.add_metric(labels, value)
            yield family


def _empty(metric: Metric) -> CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily:
    match metric.type:
        case "counter":
            return CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
        case "gauge":
            return GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
        case "histogram":
            return HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)


def _add_histogram(family: HistogramMetricFamily, samples: Samples) -> None:
    """Boards count each time in one bucket; Prometheus wants each bucket to include the smaller ones."""
    by_labels: dict[Labels, dict[str, float]] = {}
    for (*labels, part), value in samples:
        by_labels.setdefault(tuple(labels), {})[part] = value
    for labels_of, parts in by_labels.items():
        sum_ns = parts.pop("sum")
        bounds = accumulate(parts.values())
        family.add_metric(labels_of, list(zip(parts, bounds, strict=True)), sum_value=sum_ns * NS)
