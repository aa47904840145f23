"""Command line: `python3 -m e2e.setup run|dev|cluster|helm|lock ...`, called by the Makefile."""

import sys

# Before any other import of ours: they use syntax and modules that an older interpreter lacks, and a
# newcomer whose python3 is old should read this sentence and no traceback.
if sys.version_info < (3, 11):  # noqa: UP036 - this is the check itself
    sys.exit(
        f"Python >= 3.11 is needed, and {sys.executable} is {sys.version.split()[0]}. "
        "Run: make PYTHON=/path/to/python3.11 ..."
    )

from e2e.setup.command import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
