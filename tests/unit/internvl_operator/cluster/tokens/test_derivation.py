import base64

import pytest

from internvl_operator.api.keys import ServiceKey
from internvl_operator.cluster.kubernetes import ApiFault
from internvl_operator.cluster.tokens import Tokens, ensure_token_key
from internvl_operator.errors import Rejected

NANO, OTHER = ServiceKey("team", "nano"), ServiceKey("team", "other")


class Kubernetes:
    def __init__(self, found=None):
        self.found = found

    async def get_object(self, kind, namespace, name):
        return self.found

    async def create_object(self, manifest):
        self.found = manifest


def test_each_service_has_its_own_token_which_stays_over_restarts():
    tokens = Tokens(b"k" * 32)
    assert tokens.token_of(NANO, "u") == Tokens(b"k" * 32).token_of(NANO, "u")
    assert tokens.token_of(NANO, "u") != tokens.token_of(OTHER, "u")
    assert tokens.token_of(NANO, "u") != tokens.token_of(NANO, "later")
    assert tokens.token_of(NANO, "u") != Tokens(b"j" * 32).token_of(NANO, "u")


def test_the_key_is_in_no_text():
    assert "kkk" not in repr(Tokens(b"k" * 32))


def test_a_short_key_is_refused():
    with pytest.raises(Rejected, match="32"):
        Tokens(b"short")


async def test_a_missing_key_is_made_once():
    kubernetes = Kubernetes()
    first = await ensure_token_key(kubernetes, "ns", "key")
    assert len(first) == 32
    assert await ensure_token_key(kubernetes, "ns", "key") == first


async def test_a_key_that_another_process_made_at_the_same_time_is_taken():
    kubernetes = Kubernetes()

    async def lose(manifest):
        kubernetes.found = {"data": {"key": base64.b64encode(b"t" * 32).decode()}}
        raise ApiFault(409, "already exists")

    async def at_once(seconds):
        return None

    kubernetes.create_object = lose
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("internvl_operator.cluster.tokens.asyncio.sleep", at_once)
        assert await ensure_token_key(kubernetes, "ns", "key") == b"t" * 32


@pytest.mark.parametrize("data", [{}, {"key": "no base64!"}])
async def test_a_secret_without_a_key_is_named(data):
    with pytest.raises(Rejected, match="the Secret key"):
        await ensure_token_key(Kubernetes({"data": data}), "ns", "key")
