"""Are the generated files what the types say? Called by `make check`; changes nothing in the checkout."""

from __future__ import annotations

import difflib
import sys
import tempfile
from pathlib import Path

from e2e.platform import chart as install
from internvl_operator.api import chart, crd, reference

ROOT = Path(__file__).parents[2]


def main() -> int:
    """Generate into a folder of its own and compare; prints a diff of each stale file, exit status 1."""
    stale = 0
    with tempfile.TemporaryDirectory() as name:
        folders = {
            "manifests/crds": crd.main,
            "docs": reference.main,
            "charts/internvl-operator": chart.main,
            "manifests": install.main,
        }
        for kept, generate in folders.items():
            fresh = Path(name, kept)
            generate([str(fresh)])
            for path in sorted(path for path in fresh.rglob("*") if path.is_file()):
                stale += _show_difference(ROOT / kept / path.relative_to(fresh), path)
    if stale:
        print("Run: make generate", file=sys.stderr)
    return 1 if stale else 0


def _show_difference(kept: Path, fresh: Path) -> bool:
    before = kept.read_text().splitlines() if kept.is_file() else []
    lines = difflib.unified_diff(
        before, fresh.read_text().splitlines(), str(kept.relative_to(ROOT)), "generated", lineterm=""
    )
    text = "\n".join(lines)
    if text:
        print(text)
    return bool(text)


if __name__ == "__main__":
    sys.exit(main())
