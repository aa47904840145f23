"""Makes what the commands of the Makefile stand on: environments, a Go toolchain, the control plane's binaries.

Runs with the bare interpreter of the machine (Python >= 3.11, standard library only), because it is what makes
everything else importable. `python3 -m e2e.setup` from the root of the repository is its entry.
Heavy things live in one cache folder, named by the digest of what made them; a checkout holds only thin ones.
"""
