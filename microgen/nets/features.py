"""A fixed random view of pictures and volumes, to tell how alike two sets of them are.

Shapes: B batch, C channels, F features, S one or more spatial axes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

_CONV = {2: functional.conv2d, 3: functional.conv3d}
_POOL = {2: functional.avg_pool2d, 3: functional.avg_pool3d}
_TO_GRID = {2: functional.adaptive_avg_pool2d, 3: functional.adaptive_avg_pool3d}


class RandomFeatures(nn.Module):
    """Mean and spread of rectified random filters at several scales: a texture in a few dozen numbers.

    Random filters followed by a rectifier tell textures apart without any training (Ustyuzhaninov et al. 2017,
    doi:10.48550/arXiv.1606.00021). The filters are always the same; they are no part of a state.

    Parameters
    ----------
    dims
        2 for pictures, 3 for volumes.
    channels
        Channels of the field.
    filters
        Filters per scale.
    scales
        Number of scales, each half as fine as the one before.
    """

    def __init__(self, dims: int, channels: int, *, filters: int = 16, scales: int = 4) -> None:
        super().__init__()
        self.dims, self.scales = dims, scales
        drawn = torch.randn(filters, channels, *(3,) * dims, generator=torch.Generator().manual_seed(0))
        drawn = drawn - drawn.flatten(1).mean(dim=1).reshape(-1, *(1,) * (dims + 1))
        norms = drawn.flatten(1).norm(dim=1).reshape(-1, *(1,) * (dims + 1))
        self.weight: Tensor
        self.register_buffer("weight", drawn / norms, persistent=False)

    def forward(self, x_BCS: Tensor) -> Tensor:
        """Return features ``(B, F)``: blind to where things are."""
        x = x_BCS.float()
        parts = [x.flatten(2).mean(dim=2), x.flatten(2).std(dim=2)]
        for _ in range(self.scales):
            h = functional.relu(_CONV[self.dims](x, self.weight)).flatten(2)
            parts += [h.mean(dim=2), h.std(dim=2)]
            if min(x.shape[2:]) < 8:
                break
            x = _POOL[self.dims](x, 2)
        return torch.cat(parts, dim=1)

    def layout(self, x_BCS: Tensor) -> Tensor:
        """Return the field on a grid of 8 blocks along each axis ``(B, F)``: where things are, and no details."""
        coarse: Tensor = _TO_GRID[self.dims](x_BCS.float(), 8)
        return coarse.flatten(1)
