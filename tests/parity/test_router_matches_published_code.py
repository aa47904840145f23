"""Router and pixel shuffle against the published formulas, written here with torch's own modules."""

import pytest

torch = pytest.importorskip("torch", reason="needs the training environment")
SIZE = 48


def published_pooling(pooling, patches):
    """The Flash remote code: attention 1, then attention 2 three times; attentions 3 and 4 are never called."""
    attentions = {}
    for step in (1, 2):
        attention = torch.nn.MultiheadAttention(SIZE, 16, batch_first=True).eval()
        attention.load_state_dict(pooling.get_submodule(f"attn{step}").state_dict())
        attentions[step] = attention
    out = pooling.query_token.unsqueeze(0).expand(len(patches), -1, -1)
    for step in (1, 2, 2, 2):
        out, _ = attentions[step](out, patches, patches)
        out = pooling.get_submodule(f"norm{step}")(out)
    return out.squeeze(1)


def test_pooling_is_the_published_one_attentions_three_and_four_left_out():
    from internvl_engines.reference.router import CrossAttentionPooling

    torch.manual_seed(0)
    pooling, patches = CrossAttentionPooling(SIZE).eval(), torch.randn(5, 16, SIZE)
    with torch.no_grad():
        assert torch.allclose(pooling(patches), published_pooling(pooling, patches), atol=1e-5)
        before = pooling(patches)
        for step in (3, 4):
            pooling.get_submodule(f"attn{step}").in_proj_weight.add_(1)
        assert torch.equal(pooling(patches), before)
        pooling.get_submodule("attn2").in_proj_weight.add_(torch.randn(3 * SIZE, SIZE))
        assert not torch.allclose(pooling(patches), before, atol=1e-3)


def test_weights_have_the_names_of_the_published_files():
    from internvl_engines.reference.projectors import compress_projector, keep_projector
    from internvl_engines.reference.router import CrossAttentionPooling, Gating

    numbers = {name.split(".")[0] for name in compress_projector(4, 8, 2).state_dict()}
    assert numbers == {"0", "1", "4", "7"}
    assert {name.split(".")[0] for name in keep_projector(4, 8, 2).state_dict()} == {"0", "1", "3"}
    blocks = {tuple(name.split(".")[:2]) for name in Gating(SIZE).state_dict()}
    assert blocks == {(f"block{n}", i) for n in range(1, 5) for i in "035"} | {("gate", "0"), ("gate", "1")}
    pooled = set(CrossAttentionPooling(SIZE).state_dict())
    assert {
        "query_token",
        "attn4.in_proj_weight",
        "attn1.in_proj_bias",
        "attn2.out_proj.weight",
        "norm3.bias",
    } <= pooled


def published_pixel_shuffle(x, scale):
    """Version v2 of the family, [N, side, side, C]."""
    n, w, h, c = x.size()
    x = x.view(n, w, int(h * scale), int(c / scale)).permute(0, 2, 1, 3).contiguous()
    x = x.view(n, int(h * scale), int(w * scale), int(c / (scale * scale)))
    return x.permute(0, 2, 1, 3).contiguous()


@pytest.mark.parametrize("factor", [2, 4])
def test_pixel_shuffle_is_version_two_not_transposed(factor):
    from internvl_engines.reference.projectors import pixel_shuffle

    patches = torch.arange(2 * 64 * 3.0).reshape(2, 64, 3)
    published = published_pixel_shuffle(patches.reshape(2, 8, 8, 3), 1 / factor).flatten(1, 2)
    assert torch.equal(pixel_shuffle(patches, factor), published)


@pytest.mark.parametrize(
    ("p0", "relative", "absolute", "expected"),
    [
        ([0.9], 0.0, 0.0, [False]),  # nothing is above a quantile of itself
        ([0.1, 0.9, 0.5], 0.0, 0.0, [False, True, True]),
        ([0.1, 0.9, 0.5], 0.5, 0.0, [False, True, False]),
        ([0.1, 0.9, 0.5], 0.0, 0.6, [False, True, False]),
        ([0.7, 0.9, 0.8], 1.0, 0.0, [False, False, False]),
    ],
)
def test_the_lowest_tile_is_never_compressed_and_both_thresholds_hold(p0, relative, absolute, expected):
    from internvl_engines.reference.router import compressed

    routes = compressed(torch.tensor(p0), relative_threshold=relative, absolute_threshold=absolute)
    assert routes.tolist() == expected
