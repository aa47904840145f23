"""Products in bfloat16 and attention in float32 where the processor multiplies bfloat16, else all in float32.

Measured for one step of ``both`` on one core that has AMX: all float32 1.13 s, all bfloat16 1.11 s (its attention's
backward pass is slow), mixed 0.81 s. A processor that has no more than AVX2 emulates bfloat16: 0.5 GFLOPS of it on a
core with 73 in float32, so that a training would take days.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode


class _AttentionInFloat32(TorchFunctionMode):
    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func is not functional.scaled_dot_product_attention:
            return func(*args, **kwargs)
        query, key, value, *rest = args
        with torch.autocast("cpu", enabled=False):
            mixed = func(query.float(), key.float(), value.float(), *rest, **kwargs)
        return mixed.to(query.dtype)


class _NoBfloat16Casts(TorchFunctionMode):
    """``torch.optim.Muon`` makes its matrices orthogonal in bfloat16, whatever the processor."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        return args[0].float() if func is Tensor.bfloat16 else func(*args, **(kwargs or {}))


PRODUCTS = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")
"""What processors that multiply bfloat16 have: AVX-512 BF16 or AMX of x86, BF16 or SVE BF16 of Arm."""


def product_precision() -> str:
    """What linear layers and Muon compute in on this machine: ``bfloat16`` or ``float32``."""
    has = torch.cpu.get_capabilities()
    return "bfloat16" if any(has.get(name) for name in PRODUCTS) else "float32"


@contextmanager
def fastest_precision() -> Iterator[None]:
    """Within it, linear layers and Muon compute in bfloat16 where that is faster; all else stays float32."""
    if product_precision() == "bfloat16":
        with torch.autocast("cpu", dtype=torch.bfloat16), _AttentionInFloat32():
            yield
    else:
        with _NoBfloat16Casts():
            yield
