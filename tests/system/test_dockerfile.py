"""The image's recipe obeys hadolint's rules; no container engine is needed for that."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_the_dockerfile_obeys_hadolint() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    recipe = Path(__file__).parents[2] / "Dockerfile"
    done = subprocess.run([hadolint, recipe], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
