"""Kubernetes quantities, parsed purely: cores of a CPU, bytes of memory."""

import re
from decimal import Decimal

_NUMBER = r"(?P<number>[0-9]{1,12}(\.[0-9]{1,9})?)"
_CPU = re.compile(rf"{_NUMBER}(?P<suffix>m?)")
_MEMORY = re.compile(rf"{_NUMBER}(?P<suffix>[kMGT]|[KMGT]i)?")
_BYTES = {
    "": 1,
    "k": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
}

CPU_PATTERN = r"^[0-9]{1,12}(\.[0-9]{1,9})?m?$"
MEMORY_PATTERN = r"^[0-9]{1,12}(\.[0-9]{1,9})?([kMGT]|[KMGT]i)?$"
MIN_CPU, MAX_CPU = Decimal("0.1"), Decimal(1024)
MIN_MEMORY, MAX_MEMORY = 64 * 2**20, 64 * 2**40


def parse_cpu(text: str) -> Decimal:
    """Cores: `2`, `1.5` or `500m`.

    Raises:
        ValueError: of another form, or outside 100m to 1024 cores.
    """
    match = _CPU.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a CPU quantity: write cores ('2', '1.5') or millicores ('500m')")
    cores = Decimal(match["number"]) / (1000 if match["suffix"] else 1)
    if not MIN_CPU <= cores <= MAX_CPU:
        raise ValueError(f"{text!r} must be at least 100m and at most 1024 cores")
    return cores


def parse_memory(text: str) -> int:
    """Bytes, rounded up: `4Gi`, `500M` or plain bytes.

    Raises:
        ValueError: of another form, or outside 64Mi to 64Ti.
    """
    match = _MEMORY.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a memory quantity: write for example '4Gi', '500M' or bytes")
    exact = Decimal(match["number"]) * _BYTES[match["suffix"] or ""]
    size = int(exact) + (exact != int(exact))
    if not MIN_MEMORY <= size <= MAX_MEMORY:
        raise ValueError(f"{text!r} must be at least 64Mi and at most 64Ti")
    return size
