"""The thin environment of one checkout: `.venv` or `.venv-dev`, over an environment of the cache.

It holds the interpreter, one .pth file and the console scripts, takes a tenth of a second to make, and is what
every command of the Makefile runs. Two checkouts so share gigabytes and still import each their own code.
"""

from __future__ import annotations

import shutil
import sys
import venv
from pathlib import Path

from e2e.setup.cache import Cache, digest_of

_STAMP = "made-from"
_NOT_SCRIPTS = ("python", "activate", "deactivate", "pydoc")
_INTERNVL = """\
#!{python}
import sys

from internvl_operator.cli import main

sys.exit(main())
"""


def ensure_thin_environment(name: str, *, heavy: Path, root: Path, cache: Cache) -> Path:
    """Return `root/name`, importing from `heavy` and from the checkout's packages; made anew when either moved."""
    thin = root / name
    stamp = thin / _STAMP
    # This file is part of what it was made from: a change of the layout below remakes it.
    wanted = digest_of(str(heavy), str(root), sys.version, Path(__file__))
    with cache.lock(f"checkout-{digest_of(str(thin))}"):
        if not (stamp.is_file() and stamp.read_text() == wanted):
            shutil.rmtree(thin, ignore_errors=True)
            venv.EnvBuilder(symlinks=True, with_pip=False).create(thin)
            _write_path_file(thin, heavy=heavy, root=root)
            _link_scripts(thin, heavy=heavy)
            stamp.write_text(wanted)
    return thin


def site_packages(environment: Path) -> Path:
    """The folder of installed packages of an environment of this interpreter's version."""
    return environment / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"


def import_folders(root: Path) -> list[Path]:
    """What of a checkout is importable: its three packages, and the root for `e2e`."""
    return [root / "operator", root / "runtimes", root / "engines", root]


def _write_path_file(thin: Path, *, heavy: Path, root: Path) -> None:
    # addsitedir, and not a plain line, so that .pth files of the installed packages count as well.
    lines = [f"import site; site.addsitedir({str(site_packages(heavy))!r})", *map(str, import_folders(root))]
    (site_packages(thin) / "internvl.pth").write_text("\n".join(lines) + "\n")


def _link_scripts(thin: Path, *, heavy: Path) -> None:
    """Console scripts again, but run by the thin interpreter: `ray`, `pytest`, and `kubectl` as it is."""
    python = thin / "bin/python"
    for script in sorted((heavy / "bin").iterdir()):
        if script.name.startswith(_NOT_SCRIPTS):
            continue
        content = script.read_bytes()
        shown = thin / "bin" / script.name
        if content.startswith(b"#!") and str(heavy / "bin/python").encode() in content:
            shown.write_bytes(content.replace(str(heavy / "bin/python").encode(), str(python).encode()))
            shown.chmod(0o755)
        else:
            shown.symlink_to(script)
    # mypy takes its third-party types from here: with the thin interpreter it would meet our own folders twice.
    (thin / "heavy").symlink_to(heavy)
    internvl = thin / "bin/internvl"
    internvl.unlink(missing_ok=True)
    internvl.write_text(_INTERNVL.format(python=python))
    internvl.chmod(0o755)
