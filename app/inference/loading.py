"""Settings -> inference: the one place that knows where the networks run."""

from app.inference.batched import BatchedInference
from app.inference.port import BatchRunner, Inference
from app.settings import Settings


def load_inference(settings: Settings) -> Inference:
    """Load the networks, or reach the machines that have them.

    Raises:
        ModelError: a network, its file or the device is not there, or such a machine has other networks.
        InferenceAwayError: none of those machines has answered for a minute.
    """
    return BatchedInference(_runner(settings))


def _runner(settings: Settings) -> BatchRunner:
    # Imported where they are needed: torch takes seconds and hundreds of megabytes, which a replica whose networks run
    # elsewhere does without.
    if settings.inference_addresses:
        from app.inference.remote import connect

        return connect(settings)
    from app.inference.local import load_local_runner

    return load_local_runner(settings)
