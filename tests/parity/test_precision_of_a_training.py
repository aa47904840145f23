"""A training computes in the precision that its processor multiplies fast."""

import pytest

torch = pytest.importorskip("torch", reason="needs the training environment")


@pytest.mark.parametrize(
    ("has", "of_products"),
    [
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"amx_bf16": True}, torch.bfloat16),
        ({"avx2": True, "amx_bf16": False}, torch.float32),
        ({"neon": True, "bf16": True}, torch.bfloat16),
        ({"neon": True, "bf16": False}, torch.float32),
    ],
    ids=["AVX-512 BF16", "AMX", "AVX2", "Arm with BF16", "Arm without"],
)
def test_products_are_in_bfloat16_where_the_processor_has_them(
    monkeypatch: pytest.MonkeyPatch, has: dict[str, bool], of_products: torch.dtype
):
    from internvl_engines.nano.precision import fastest_precision

    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has)
    layer, rows = torch.nn.Linear(4, 4), torch.randn(2, 4)
    with fastest_precision():
        assert layer(rows).dtype == of_products
        mixed = torch.nn.functional.scaled_dot_product_attention(*(torch.randn(1, 1, 2, 4) for _ in range(3)))
        assert mixed.dtype == torch.float32


def test_without_bfloat16_products_muon_has_none(monkeypatch: pytest.MonkeyPatch):
    from internvl_engines.nano.precision import fastest_precision

    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True})
    seen: set[torch.dtype] = set()
    addmm = torch.addmm

    def watched(*tensors: torch.Tensor, **scales: float) -> torch.Tensor:
        seen.update(tensor.dtype for tensor in tensors)
        return addmm(*tensors, **scales)

    monkeypatch.setattr(torch, "addmm", watched)
    weight = torch.nn.Parameter(torch.randn(4, 8))
    weight.grad = torch.randn(4, 8)
    before = weight.detach().clone()
    with fastest_precision():
        torch.optim.Muon([weight], lr=0.1).step()
    assert seen == {torch.float32}
    assert not torch.equal(weight, before)
