"""Non-maximum suppression by torchvision's operator, without importing torchvision.

The package brings its data sets, its models and torch's compiler along, which takes as long as torch itself: 1.5 s of
each start of a service or worker. The operator is in a library beside it, which torch can load alone.
"""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from ml.errors import ModelError


def nms(boxes: Tensor, scores: Tensor, iou: float) -> Tensor:
    """Indices (M,) int64 of the boxes that no better one overlaps by more than `iou` (0..1), best first.

    `boxes (N, 4)` floating: left, top, right, bottom in any unit; `scores (N,)` of the same type.
    """
    load_operators()
    kept: Tensor = torch.ops.torchvision.nms(boxes, scores, iou)
    return kept


def nms_by_group(boxes: Tensor, scores: Tensor, groups: Tensor, iou: float) -> Tensor:
    """The same where only boxes of one group see each other; `groups (N,)` int64. One group after the other."""
    members = [torch.where(groups == group)[0] for group in torch.unique(groups)]
    kept = [index[nms(boxes[index], scores[index], iou)] for index in members]
    return torch.cat(kept) if kept else groups.new_empty(0)


@cache
def load_operators() -> None:
    """Makes the operator known, which else the first use does.

    Raises:
        ModelError: torchvision is not installed, or does not fit this torch.
    """
    trouble: Exception | None = None
    spec = find_spec("torchvision")
    folders = [] if spec is None else spec.submodule_search_locations or []
    for library in (path for folder in folders for path in sorted(Path(folder).glob("_C*.so"))):
        try:
            torch.ops.load_library(library)  # type: ignore[no-untyped-call]
        except OSError as error:
            trouble = error
            continue
        if hasattr(torch.ops.torchvision, "nms"):
            return
    try:
        import torchvision  # noqa: F401  # another layout than that of its Linux packages
    except ImportError as error:
        trouble = error
    if not hasattr(torch.ops.torchvision, "nms"):
        raise ModelError(f"torchvision does not fit torch {torch.__version__}: install the two together ({trouble})")
