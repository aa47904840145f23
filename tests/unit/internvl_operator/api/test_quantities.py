import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from internvl_operator.api import quantities


@pytest.mark.parametrize(
    ("text", "cores"), [("1", "1"), ("100m", "0.1"), ("1.5", "1.5"), ("2500m", "2.5"), ("1024", "1024")]
)
def test_cores_are_read(text, cores):
    assert quantities.parse_cpu(text) == Decimal(cores)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("67108864", 2**26),
        ("64Mi", 2**26),
        ("1.5Gi", 3 * 2**29),
        ("500M", 500_000_000),
        ("0.1G", 10**8),
        ("64Ti", 2**46),
    ],
)
def test_bytes_are_read(text, size):
    assert quantities.parse_memory(text) == size


def test_parts_of_a_byte_are_rounded_up():
    assert quantities.parse_memory("100000000.5") == 100_000_001


@pytest.mark.parametrize("text", ["", "-1", "1e3", "1 ", "m", "99m", "1025", "1Gi", "１", "1\n"])
def test_other_cpu_texts_are_refused(text):
    with pytest.raises(ValueError):
        quantities.parse_cpu(text)


@pytest.mark.parametrize("text", ["", "-1", "1m", "1Pi", "63Mi", "65Ti", "4 Gi", "4gi"])
def test_other_memory_texts_are_refused(text):
    with pytest.raises(ValueError):
        quantities.parse_memory(text)


@given(st.text(alphabet="0123456789.mkMGTi ", max_size=8))
def test_the_schemas_patterns_accept_what_the_parsers_can_read(text):
    for parse, pattern in (
        (quantities.parse_cpu, quantities.CPU_PATTERN),
        (quantities.parse_memory, quantities.MEMORY_PATTERN),
    ):
        try:
            parse(text)
        except ValueError as error:
            assert re.search(pattern, text) is None or "must be at least" in str(error)
        else:
            assert re.search(pattern, text)
