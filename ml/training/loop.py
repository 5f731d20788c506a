"""The one training loop: epochs in phases, early stopping, and a checkpoint after each epoch to go on from."""

import io
import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from math import cos, isfinite, pi
from typing import Any, Final, TypeAlias

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from ml.backbones.torch_backbone import torch_device
from ml.errors import TrainingError
from ml.training.types import Checkpoints, Report, TrainingCurves, TrainingSettings

Batches: TypeAlias = Callable[[np.random.Generator], Iterable[tuple[Tensor, Tensor]]]
"""One epoch of inputs and labels `(n,)` int64; whatever is drawn is drawn from the generator."""
Tensors: TypeAlias = dict[str, Tensor]

_FORMAT: Final = 1
_UNREADABLE: Final = (RuntimeError, ValueError, KeyError, TypeError, EOFError, pickle.UnpicklingError)


@dataclass(frozen=True, slots=True)
class Validation:
    """How good a network is for people it does not learn from: FNIR at FPIR 1 %, and what decides between equals.

    Few people give few different rates; `tie_break` is finer. Of both, lower is better.
    """

    fnir: float
    tie_break: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Phase:
    """Epochs in which `parameters` of the network learn, beside the head, which always does.

    The rate falls from `learning_rate` to 0 along half a cosine. Without parameters only the head learns: the network
    stays as it is, so it is not measured either.
    """

    parameters: Sequence[nn.Parameter]
    n_epochs: int
    learning_rate: float
    weight_decay: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """What is to be learned.

    `network` maps inputs to embeddings `(n, D)`, `head` those and labels to a loss; both on the CPU, and changed in
    place. `validate` is called in eval mode without gradients; the network is then on the device of the training.
    `penalty`, if any, is added to the loss of every batch. A phase ends after `patience` epochs without a better
    validation. `identity` says in a word what all this is made of: only a checkpoint of the same is gone on from.
    """

    network: nn.Module
    head: nn.Module
    phases: Sequence[Phase]
    batches: Batches
    validate: Callable[[nn.Module], Validation]
    identity: str
    penalty: Callable[[], Tensor] | None = None
    patience: int = 8


@dataclass(frozen=True, slots=True, eq=False)
class Learned:
    """The network's tensors at its best epoch, on the CPU, and how it went."""

    tensors: Tensors
    curves: TrainingCurves


@contextmanager
def seeded(settings: TrainingSettings) -> Iterator[None]:
    """Torch's random numbers begin at the seed, on so many threads; afterwards all is as it was.

    What draws first weights goes inside. Threads change the order of sums, so another number of them gives tensors
    that differ in their last bits.
    """
    device = torch_device(settings.device)
    gpus = [torch.cuda.current_device() if device.index is None else device.index] if device.type == "cuda" else []
    with (
        torch.random.fork_rng(devices=gpus),
        torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True),
        threadpool_limits(limits=settings.n_threads),
    ):
        torch.manual_seed(settings.seed)
        yield


def learn(lesson: Lesson, settings: TrainingSettings, checkpoints: Checkpoints, report: Report) -> Learned:
    """Train until the phases are over or nothing gets better; go on from the checkpoint where there is one.

    Every epoch draws from a generator of its own, so one that is repeated after a crash is the same epoch: on the CPU
    the tensors are equal bit by bit, however often the training was interrupted. On a GPU with bfloat16 sums may
    differ in their last bits.

    Args:
        lesson: what is to be learned; its network and head are changed.
        settings: seed, device and threads; the rest is already in the lesson.
        checkpoints: where the state is kept after each epoch.
        report: told after each epoch.

    Returns:
        The tensors of the best epoch; those of the start where none was better.

    Raises:
        TrainingError: the loss is no number any more, or there is nothing in an epoch.
        ModelError: there is no such device.
    """
    with seeded(settings):
        return _Loop(lesson, settings).run(checkpoints, report)


@dataclass(slots=True, eq=False)
class _State:
    """Where a training stands: `n_waited` epochs of this phase since the last that was better."""

    phase: int
    epoch: int
    n_waited: int
    best: Validation
    best_tensors: Tensors
    curves: TrainingCurves = field(default_factory=TrainingCurves)


class _Loop:
    def __init__(self, lesson: Lesson, settings: TrainingSettings) -> None:
        self._lesson, self._seed = lesson, settings.seed
        self._device = torch_device(settings.device)
        lesson.network.to(self._device)
        lesson.head.to(self._device)
        self._n_epochs = [phase.n_epochs for phase in lesson.phases]

    def run(self, checkpoints: Checkpoints, report: Report) -> Learned:
        state, optimizer_state = self._resumed(checkpoints.load())
        while state.phase < len(self._lesson.phases):
            phase = self._lesson.phases[state.phase]
            optimizer = self._begin(phase, optimizer_state)
            while state.epoch < phase.n_epochs and state.n_waited < self._lesson.patience:
                self._epoch(phase, state, optimizer)
                checkpoints.save(self._packed(state, optimizer))
                report(self._share(state), self._message(state), state.curves)
            state.phase, state.epoch, state.n_waited, optimizer_state = state.phase + 1, 0, 0, None
        return Learned(state.best_tensors, state.curves)

    def _begin(self, phase: Phase, optimizer_state: dict[str, Any] | None) -> torch.optim.AdamW:
        """Only the phase's parameters and the head learn."""
        self._lesson.network.requires_grad_(False)
        for parameter in phase.parameters:
            parameter.requires_grad_(True)
        # A direction of the head has no length that could be kept short.
        groups = [
            {"params": list(phase.parameters), "weight_decay": phase.weight_decay},
            {"params": list(self._lesson.head.parameters()), "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW([group for group in groups if group["params"]], lr=phase.learning_rate)
        if optimizer_state is not None:
            optimizer.load_state_dict(optimizer_state)
        return optimizer

    def _epoch(self, phase: Phase, state: _State, optimizer: torch.optim.AdamW) -> None:
        rate = phase.learning_rate * (1 + cos(pi * state.epoch / phase.n_epochs)) / 2
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = self._learn_once(len(state.curves.loss), optimizer)
        found = self._validated() if phase.parameters else _last(state)
        state.curves.loss.append(loss)
        state.curves.validation_fnir.append(found.fnir)
        state.curves.learning_rate.append(rate)
        state.epoch += 1
        if (found.fnir, found.tie_break) < (state.best.fnir, state.best.tie_break):
            state.best, state.best_tensors, state.n_waited = found, _copied(self._lesson.network), 0
            state.curves = _with_best(state.curves, len(state.curves.loss) - 1)
        elif phase.parameters:
            state.n_waited += 1

    def _learn_once(self, number: int, optimizer: torch.optim.AdamW) -> float:
        """One epoch; its mean loss."""
        drawn = np.random.SeedSequence([self._seed, number])
        torch.manual_seed(int(drawn.generate_state(1)[0]))
        self._lesson.network.train()
        self._lesson.head.train()
        losses = [
            self._step(inputs.to(self._device), labels.to(self._device), optimizer)
            for inputs, labels in self._lesson.batches(np.random.default_rng(drawn))
        ]
        if not losses:
            raise TrainingError("there is no batch of faces to learn from: add faces, or make the batches smaller")
        mean = float(torch.stack(losses).mean())
        if not isfinite(mean):
            raise TrainingError(f"the loss of epoch {number + 1} is {mean}: choose a lower learning rate")
        return mean

    def _step(self, inputs: Tensor, labels: Tensor, optimizer: torch.optim.AdamW) -> Tensor:
        optimizer.zero_grad()
        # bfloat16 has the range of float32, so gradients need no scaling; on a CPU it would be slower, not faster.
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._device.type == "cuda"):
            loss: Tensor = self._lesson.head(self._lesson.network(inputs), labels)
        whole = loss if self._lesson.penalty is None else loss + self._lesson.penalty()
        torch.autograd.backward(whole)
        optimizer.step()
        return whole.detach()

    def _validated(self) -> Validation:
        self._lesson.network.eval()
        with torch.no_grad():
            return self._lesson.validate(self._lesson.network)

    def _share(self, state: _State) -> float:
        return (sum(self._n_epochs[: state.phase]) + state.epoch) / max(1, sum(self._n_epochs))

    def _message(self, state: _State) -> str:
        part = f"part {state.phase + 1} of {len(self._n_epochs)}, " if len(self._n_epochs) > 1 else ""
        return f"{part}round {state.epoch} of at most {self._n_epochs[state.phase]}"

    def _packed(self, state: _State, optimizer: torch.optim.AdamW) -> bytes:
        """The state as bytes. No random numbers: every epoch has its own."""
        buffer = io.BytesIO()
        content = {
            "format": _FORMAT,
            "identity": self._identity,
            "place": [state.phase, state.epoch, state.n_waited],
            "best": [state.best.fnir, state.best.tie_break],
            "best_tensors": state.best_tensors,
            "curves": asdict(state.curves),
            "network": self._lesson.network.state_dict(),
            "head": self._lesson.head.state_dict(),
            "optimizer": optimizer.state_dict(),
        }
        torch.save(content, buffer)
        return buffer.getvalue()

    def _resumed(self, packed: bytes | None) -> tuple[_State, dict[str, Any] | None]:
        """The state of the checkpoint; the start where there is none, or it is damaged or of another lesson."""
        content = _read(packed)
        if content is None or content.get("format") != _FORMAT or content.get("identity") != self._identity:
            return _State(0, 0, 0, self._validated(), _copied(self._lesson.network)), None
        self._lesson.network.load_state_dict(content["network"])
        self._lesson.head.load_state_dict(content["head"])
        best, curves = Validation(*content["best"]), TrainingCurves(**content["curves"])
        phase, epoch, n_waited = content["place"]
        return _State(phase, epoch, n_waited, best, content["best_tensors"], curves), content["optimizer"]

    @property
    def _identity(self) -> str:
        return f"{self._lesson.identity}, seed {self._seed}, epochs {self._n_epochs}"


def _read(packed: bytes | None) -> Mapping[str, Any] | None:
    """What a checkpoint holds, plain data and tensors only; None where there is none to be read."""
    if packed is None:
        return None
    try:
        content = torch.load(io.BytesIO(packed), map_location="cpu", weights_only=True)
    except _UNREADABLE:
        return None
    return content if isinstance(content, dict) else None


def _copied(network: nn.Module) -> Tensors:
    return {name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()}


def _last(state: _State) -> Validation:
    """Of a network that did not change; nothing is better than itself."""
    return state.best if not state.curves.validation_fnir else Validation(state.curves.validation_fnir[-1], np.inf)


def _with_best(curves: TrainingCurves, epoch: int) -> TrainingCurves:
    return TrainingCurves(curves.loss, curves.validation_fnir, curves.learning_rate, epoch)
