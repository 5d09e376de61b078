"""The standalone verifier, loaded as the one file that it is, beside the broker's own."""

from __future__ import annotations

import importlib.util
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from broker.audit.note import VerifierKey
from broker.audit.verify import verify_bundle, verify_certificate

FILE = Path(__file__).parents[2] / "broker_verify" / "broker_verify.py"


def _load(name: str) -> ModuleType:
    file = FILE.with_name(f"{name}.py")
    spec = importlib.util.spec_from_file_location(f"standalone_{name}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _beside(name: str, **neighbours: ModuleType) -> ModuleType:
    """A file that stands on others, with these neighbours where it looks for them."""
    before = {other: sys.modules.get(other) for other in neighbours}
    sys.modules.update(neighbours)
    try:
        return _load(name)
    finally:
        for other, module in before.items():
            del sys.modules[other]
            if module is not None:
                sys.modules[other] = module


standalone = _load("broker_verify")
of_decisions = _beside("verify_decision", broker_verify=standalone)
with_root = _beside("verify_root", broker_verify=standalone, verify_decision=of_decisions)


def verdict(data: bytes, trusted: Sequence[VerifierKey], kept: Sequence[str] = ()) -> bool:
    """What both verifiers say of a bundle; fails when they differ (I21)."""
    keys = [standalone.read_key(key.format()) for key in trusted]
    ours = verify_bundle(data, trusted, kept)
    theirs = standalone.verify_bundle(io.BytesIO(data), keys, kept, with_root.Placed)
    faults = [finding.text for finding in ours.findings if not finding.ok]
    assert ours.ok is theirs.ok, (faults, theirs.findings)
    return ours.ok


def certificate_verdict(data: bytes, trusted: Sequence[VerifierKey]) -> bool:
    keys = [standalone.read_key(key.format()) for key in trusted]
    theirs = standalone.verify_certificate(data, keys)
    assert verify_certificate(data, trusted).ok is theirs.ok, theirs.findings
    return theirs.ok
