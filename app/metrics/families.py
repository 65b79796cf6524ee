"""What the metrics share: their prefix, and how something is told that could not be measured."""

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

PREFIX = "chatbot_platform_"


def gauge(name: str, documentation: str, *labels: str) -> GaugeMetricFamily:
    """A family of values that rise and fall."""
    return GaugeMetricFamily(PREFIX + name, documentation, labels=labels)


def counter(name: str, documentation: str, *labels: str) -> CounterMetricFamily:
    """A family of values that rise, and begin again at 0; their samples' names end in _total."""
    return CounterMetricFamily(PREFIX + name, documentation, labels=labels)


def measured(what: str, trouble: str = "") -> Metric:
    """Whether something was measured; no figure of it at all is no zero."""
    family = gauge("measured", "Whether this could be measured; if not, 0, and why", "what", "reason")
    family.add_metric([what, trouble], 0 if trouble else 1)
    return family
