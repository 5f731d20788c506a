"""How this machine runs its networks: said by the settings, measured once and kept, or what is probably best."""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final, Literal

from app.settings import AUTO, Settings
from ml.errors import ModelError
from ml.plan import EnginePlan, cpu_name, default_plan, n_usable_cpus, parse_plan

_PACKAGES: Final = ("torch", "openvino", "onnxruntime")

Ground = Literal["set", "measured", "assumed"]


@dataclass(frozen=True, slots=True)
class ChosenPlan:
    """A plan and why it is this one: `set` by the operator, `measured` on this machine, or `assumed`."""

    plan: EnginePlan
    ground: Ground


@dataclass(frozen=True, slots=True)
class Measured:
    """One plan that was tried: milliseconds for one picture, and for each of several at once."""

    plan: str
    one_ms: float
    each_ms: float
    agreement: float


def chosen_plan(settings: Settings) -> ChosenPlan:
    """How the networks shall be run here.

    Raises:
        ModelError: the setting `engine` is not a plan.
    """
    if settings.engine != AUTO:
        return ChosenPlan(parse_plan(settings.engine), "set")
    kept = kept_plan(settings)
    return ChosenPlan(kept, "measured") if kept else ChosenPlan(default_plan(settings.device), "assumed")


def kept_plan(settings: Settings) -> EnginePlan | None:
    """What was measured here; None where nothing was, or the machine, its packages or networks are others since."""
    try:
        kept = json.loads(_path(settings).read_text())
        return parse_plan(kept["plan"]) if kept["measured_on"] == _circumstances(settings) else None
    except (OSError, ValueError, KeyError, TypeError, ModelError):
        return None


def keep_plan(settings: Settings, plan: EnginePlan, tried: Sequence[Measured]) -> Path:
    """Store what was measured; whoever reads meanwhile finds the old file or the new one."""
    path = _path(settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = {
        "plan": str(plan),
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "measured_on": _circumstances(settings),
        "tried": [asdict(each) for each in tried],
    }
    new = path.with_name(f"{path.name}.{os.getpid()}")
    new.write_text(json.dumps(facts, indent=2) + "\n")
    new.replace(path)
    return path


def _path(settings: Settings) -> Path:
    """Of its own for each machine and choice of networks: several may share the folder."""
    said = json.dumps(_circumstances(settings), sort_keys=True).encode()
    return settings.data_dir / f"engine-{blake2b(said, digest_size=4).hexdigest()}.json"


def _circumstances(settings: Settings) -> dict[str, Any]:
    return {
        "cpu": cpu_name(),
        "n_cpus": n_usable_cpus(),
        "device": settings.device,
        "backbone": settings.backbone,
        "detector": settings.detector,
        **dict(_installed()),
    }


def _installed() -> Iterator[tuple[str, str | None]]:
    for package in _PACKAGES:
        try:
            yield package, version(package)
        except PackageNotFoundError:
            yield package, None
