"""The vision side: tower, router and both projectors, from pixels of tiles to rows for the language model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from internvl_engines.contract.checkpoint import CheckpointConfig
from internvl_engines.reference.projectors import compress_projector, keep_projector, pixel_shuffle
from internvl_engines.reference.router import CrossAttentionPooling, Gating, compressed
from internvl_engines.reference.vision_tower import VisionTower


class Vision(nn.Module):
    """Modules named as in the checkpoint; the router and ``mlp2`` exist for Flash only."""

    def __init__(self, config: CheckpointConfig) -> None:
        super().__init__()
        self.config = config
        self.factor = round(1 / config.downsample_ratio)
        size, language_size = config.vision.hidden_size, config.language.hidden_size
        self.vision_model = VisionTower(config.vision)
        self.mlp1 = keep_projector(size, language_size, self.factor)
        if config.flash:
            self.mlp2 = compress_projector(size, language_size, self.factor)
            self.pooling_before_gating = CrossAttentionPooling(size)
            self.gating = Gating(size)

    def patches(self, pixel_values: Tensor) -> Tensor:
        """[N, 3, S, S] -> [N, P, D]."""
        return self.vision_model(pixel_values)  # type: ignore[no-any-return]

    def keep(self, patches: Tensor) -> Tensor:
        """[N, P, D] -> [N, K, H]."""
        return self.mlp1(pixel_shuffle(patches, self.factor))  # type: ignore[no-any-return]

    def compress(self, patches: Tensor) -> Tensor:
        """[N, P, D] -> [N, C, H]."""
        return self.mlp2(pixel_shuffle(patches, self.factor**2))  # type: ignore[no-any-return]

    def compress_probability(self, patches: Tensor) -> Tensor:
        """[N, P, D] -> p0 [N]."""
        return self.gating(self.pooling_before_gating(patches))[:, 0]  # type: ignore[no-any-return]

    def route_logits(self, patches: Tensor) -> Tensor:
        """The router's two classes before the softmax, "compress" first: [N, P, D] -> [N, 2]."""
        return self.gating.logits(self.pooling_before_gating(patches))

    def router_parameters(self) -> Iterator[nn.Parameter]:
        """Those of the router; none without Flash."""
        if self.config.flash is not None:
            yield from self.pooling_before_gating.parameters()
            yield from self.gating.parameters()

    def parameters_but_router(self) -> Iterator[nn.Parameter]:
        """Tower and projectors: what sees, without what chooses a resolution."""
        router = set(self.router_parameters())
        yield from (parameter for parameter in self.parameters() if parameter not in router)

    def routes(self, patches: Tensor) -> Tensor:
        """Which tiles of one request are compressed: [N, P, D] -> bool [N]; never without Flash."""
        flash = self.config.flash
        if flash is None:
            return torch.zeros(patches.shape[0], dtype=torch.bool)
        return compressed(
            self.compress_probability(patches),
            relative_threshold=flash.relative_threshold,
            absolute_threshold=flash.absolute_threshold,
        )

    def features(self, pixel_values: Tensor) -> list[Tensor]:
        """The rows of each tile of one request, in order: [N, 3, S, S] -> N tensors [K or C, H]."""
        patches = self.patches(pixel_values)
        routes: Sequence[bool] = self.routes(patches).tolist()
        return [
            self.compress(patches[index : index + 1])[0]
            if route
            else self.keep(patches[index : index + 1])[0]
            for index, route in enumerate(routes)
        ]
