"""Started by test_scratch: trains as the test does, and dies by its own hand in the middle."""

import os
import signal
import sys
from pathlib import Path

from ml.training.checkpoints import FileCheckpoints
from ml.training.types import TrainingCurves
from tests.ml.training.test_scratch import train


def die(share: float, message: str, curves: TrainingCurves) -> None:
    if len(curves.loss) == 1:
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    train(checkpoints=FileCheckpoints(Path(sys.argv[1]), bytes, bytes), report=die)
