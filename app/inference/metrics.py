"""What inference counts about itself, for Prometheus.

| name | labels | meaning |
|---|---|---|
| `rollcall_inference_info` | what `EngineInfo` says | what really runs; always 1 |
| `rollcall_inference_waiting` | `lane` | images that wait |
| `rollcall_inference_batch_images` | `lane` | histogram of the images of one batch |
| `rollcall_inference_seconds` | `lane`, `stage` | histogram: `queue` of one ask; `detect` and `embed` of one batch |
| `rollcall_inference_refused_total` | | interactive asks that were told to come back |
| `rollcall_inference_failed_total` | | asks that failed in the networks |
| `rollcall_gpu_memory_bytes` | `kind` | `allocated` and `reserved` by this process; only where it uses a GPU |
| `rollcall_inference_worker_up` | `worker` | of remote networks: 1 where the address gets batches |
| `rollcall_inference_worker_batches` | `worker` | batches on their way there |
| `rollcall_inference_worker_answers_total` | `worker`, `outcome` | batches that were `answered`, or `failed` |

They belong to the networks and not to an application: whoever scrapes asks for them.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict

from prometheus_client import Counter, Histogram, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from app.inference.port import Analysis, EngineInfo, Lane
from app.inference.workers import Circuit, Worker

_BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128)
# Seconds: from one small picture on a GPU to a burst that waits.
_SECONDS_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class InferenceMetrics:
    """Counts what is run and what is refused; safe for several threads."""

    def __init__(self) -> None:
        self._images = Histogram(
            "rollcall_inference_batch_images",
            "Images that were run together.",
            ("lane",),
            buckets=_BATCH_BUCKETS,
            registry=None,
        )
        self._seconds = Histogram(
            "rollcall_inference_seconds",
            "Waiting of one ask (queue), and what its batch took (detect, embed).",
            ("lane", "stage"),
            buckets=_SECONDS_BUCKETS,
            registry=None,
        )
        self._refused = Counter(
            "rollcall_inference_refused", "Interactive asks that were told to come back.", registry=None
        )
        self._failed = Counter("rollcall_inference_failed", "Asks that failed in the networks.", registry=None)

    def ran(self, lane: Lane, n_images: int, analyses: Sequence[Analysis]) -> None:
        """Count a batch; of all its analyses the times are the same but for `queue_s`."""
        self._images.labels(lane).observe(n_images)
        for analysis in analyses:
            self._seconds.labels(lane, "queue").observe(analysis.queue_s)
        for analysis in analyses[:1]:
            self._seconds.labels(lane, "detect").observe(analysis.detect_s)
            self._seconds.labels(lane, "embed").observe(analysis.embed_s)

    def refused(self) -> None:
        self._refused.inc()

    def failed(self) -> None:
        self._failed.inc()

    def collect(self, info: EngineInfo, waiting: Mapping[Lane, int]) -> Iterator[Metric]:
        """Everything, with what is so just now."""
        said = {name: str(value) for name, value in asdict(info).items()}
        what = GaugeMetricFamily("rollcall_inference_info", "What really runs.", labels=list(said))
        what.add_metric(list(said.values()), 1.0)
        yield what
        depth = GaugeMetricFamily("rollcall_inference_waiting", "Images that wait.", labels=["lane"])
        for lane, n_images in waiting.items():
            depth.add_metric([lane], n_images)
        yield depth
        for counted in (self._images, self._seconds, self._refused, self._failed):
            yield from counted.collect()
        yield from _gpu_memory(info.device)


def workers_metrics(workers: Sequence[Worker]) -> Iterator[Metric]:
    """How the addresses are that batches are sent to."""
    up = GaugeMetricFamily("rollcall_inference_worker_up", "Whether it gets batches.", labels=["worker"])
    under_way = GaugeMetricFamily("rollcall_inference_worker_batches", "Batches on their way.", labels=["worker"])
    answers = CounterMetricFamily(
        "rollcall_inference_worker_answers", "Batches answered and failed.", labels=["worker", "outcome"]
    )
    for worker in workers:
        up.add_metric([worker.url], float(worker.breaker.circuit is Circuit.CLOSED))
        under_way.add_metric([worker.url], worker.n_under_way)
        answers.add_metric([worker.url, "answered"], worker.n_answered)
        answers.add_metric([worker.url, "failed"], worker.n_failed)
    yield from (up, under_way, answers)


def _gpu_memory(device: str) -> Iterator[Metric]:
    """Asks torch only where it is loaded and uses a GPU: a remote engine's device is not ours."""
    torch = sys.modules.get("torch")
    if torch is None or not device.startswith("cuda") or not torch.cuda.is_initialized():
        return
    memory = GaugeMetricFamily("rollcall_gpu_memory_bytes", "GPU memory of this process.", labels=["kind"])
    memory.add_metric(["allocated"], torch.cuda.memory_allocated(device))
    memory.add_metric(["reserved"], torch.cuda.memory_reserved(device))
    yield memory
