"""Settings -> inference: the one place that knows where the networks run."""

from app.inference.batched import BatchedInference
from app.inference.local import load_local_runner
from app.inference.port import Inference
from app.settings import Settings


def load_inference(settings: Settings) -> Inference:
    """Load the networks, or reach the machines that have them.

    Raises:
        ModelError: a network, its file or the device is not there.
    """
    return BatchedInference(load_local_runner(settings))
