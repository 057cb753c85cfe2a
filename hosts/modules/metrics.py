"""What is counted and measured on a node: by user code, and by the node itself.

User code's metrics are those of the library prometheus_client (the extra `metrics`), in a registry
of the node's own. The node's need no library: they are read from what it keeps anyway.
"""

from __future__ import annotations

import importlib.util
import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

from runtime.codec import decode_args
from runtime.errors import Kind, PerdureError
from runtime.inputs import ReplyTo

logger = logging.getLogger(__name__)

#: Series (names with labels) of user code, at most: each costs about a kilobyte for ever.
SERIES: Final = 10_000

MISSING: Final = 'the module metrics needs prometheus_client: pip install "perdure[metrics]"'


class Sample(NamedTuple):
    """One figure."""

    name: str
    #: counter, gauge or histogram
    kind: str
    labels: Mapping[str, str]
    value: float
    help: str = ""


def available() -> bool:
    """Whether the library for user code's metrics is there."""
    return importlib.util.find_spec("prometheus_client") is not None


class Metrics:
    """The metrics of a node, and what the Lua module `metrics` tells. Safe from any thread.

    Args:
        own: reads the node's own figures.
    """

    def __init__(self, own: Callable[[], Iterable[Sample]]) -> None:
        self._own = own
        self._lock = threading.Lock()
        self._registry: Any = None
        #: name -> kind, label names, metric
        self._metrics: dict[str, tuple[str, tuple[str, ...], Any]] = {}
        self._series: dict[tuple[str, str, tuple[tuple[str, str], ...]], Any] = {}
        self._refused: set[str] = set()

    def samples(self) -> list[Sample]:
        """Every figure as it is now, the node's own first."""
        samples = list(self._own())
        for family in self._registry.collect() if self._registry else ():
            samples += [
                Sample(sample.name, family.type, sample.labels, sample.value)
                for sample in family.samples
                if not sample.name.endswith("_created")
            ]
        return samples

    def text(self) -> str:
        """Every figure in Prometheus's text format.

        Raises PerdureError UNAVAILABLE when prometheus_client is not installed.
        """
        library = _library()
        own = library.CollectorRegistry(auto_describe=False)
        own.register(_Own(self._own))
        texts = [library.generate_latest(each) for each in (own, self._registry) if each]
        return b"".join(texts).decode()

    def ask(self, verb: str, pid: str, args: bytes, reply: ReplyTo | None) -> None:
        name, value, labels = decode_args(args)
        try:
            self._measure(verb, name, value, labels or {})
        except PerdureError as error:
            # Nobody waits, and code that is wrong once is wrong often.
            if name not in self._refused and len(self._refused) < SERIES:
                self._refused.add(name)
                logger.warning("%s: %s; further ones of this metric are dropped", pid, error)

    def lost(self, prefix: str) -> None:
        """Nothing is kept for a slot."""

    def _measure(self, verb: str, name: str, value: float, labels: dict[str, Any]) -> None:
        kind = verb.partition("_")[0]
        key = (kind, name, tuple(sorted((label, _text(each)) for label, each in labels.items())))
        series = self._series.get(key)
        if series is None:
            with self._lock:
                series = self._series[key] = self._new_series(*key)
        if verb == "gauge_set":
            series.set(value)
        elif verb == "histogram":
            series.observe(value)
        else:
            series.inc(value)

    def _new_series(self, kind: str, name: str, labels: tuple[tuple[str, str], ...]) -> Any:
        names = tuple(label for label, _ in labels)
        if len(self._series) >= SERIES:
            text = f"metric {name}: there are {SERIES} series already: give labels few values"
            raise PerdureError(Kind.RATE_LIMITED, text)
        if name not in self._metrics:
            self._metrics[name] = (kind, names, self._new_metric(kind, name, names))
        known, known_names, metric = self._metrics[name]
        if (kind, names) != (known, known_names):
            text = f"metric {name} is a {_shape(known, known_names)}, not a {_shape(kind, names)}"
            raise PerdureError(Kind.INVALID, text)
        return metric.labels(*(value for _, value in labels)) if labels else metric

    def _new_metric(self, kind: str, name: str, labels: tuple[str, ...]) -> Any:
        library = _library()
        if self._registry is None:
            self._registry = library.CollectorRegistry()
        make = {
            "counter": library.Counter,
            "gauge": library.Gauge,
            "histogram": library.Histogram,
        }[kind]
        try:
            return make(name, "", labels, registry=self._registry)
        except ValueError as error:
            raise PerdureError(Kind.INVALID, f"metric {name}: {error}") from error


class _Own:
    """The node's own figures as prometheus_client reads them."""

    def __init__(self, own: Callable[[], Iterable[Sample]]) -> None:
        self._own = own

    def collect(self) -> Iterable[Any]:
        families: dict[str, Any] = {}
        for sample in self._own():
            if sample.name not in families:
                name = sample.name.removesuffix("_total")
                families[sample.name] = _library().Metric(name, sample.help, sample.kind)
            families[sample.name].add_sample(sample.name, dict(sample.labels), sample.value)
        return families.values()


def _library() -> Any:
    try:
        import prometheus_client
    except ImportError as error:
        raise PerdureError(Kind.UNAVAILABLE, MISSING) from error
    return prometheus_client


def _text(value: Any) -> str:
    """The value of a label, as Lua prints it."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return str(value).lower() if isinstance(value, bool) else str(value)


def _shape(kind: str, labels: tuple[str, ...]) -> str:
    return f"{kind} with the labels {', '.join(labels)}" if labels else f"{kind} without labels"
