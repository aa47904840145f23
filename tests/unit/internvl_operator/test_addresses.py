import pytest

from internvl_operator.addresses import parse_ray_address
from internvl_operator.errors import Rejected


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("http://ray:8265", "http://ray:8265"),
        ("http://ray:8265/", "http://ray:8265"),
        ("https://ray", "https://ray:443"),
        ("http://Ray-Head.Example:08265", "http://ray-head.example:8265"),
        ("http://[::1]:8265", "http://[::1]:8265"),
    ],
)
def test_an_address_has_one_normal_form(text, normal):
    assert parse_ray_address(text) == normal


@pytest.mark.parametrize(
    "text",
    [
        "ray:8265",
        "ftp://ray:8265",
        "http://",
        "http://user:pw@ray:8265",
        "http://ray:8265/api",
        "http://ray:8265?x=1",
        "http://ray:99999",
        "http://ray:0",
        "http://ray..head:8265",
        "http://ray-:8265",
        "http://ray :8265",
        "http://ray\n:8265",
    ],
)
def test_what_is_no_dashboard_address_is_refused_with_an_example(text):
    with pytest.raises(Rejected, match="8265"):
        parse_ray_address(text)
