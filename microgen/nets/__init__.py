"""Bare torch modules; they know nothing of data, units or training."""

from microgen.nets.unet import Embedding, UNet

__all__ = ["Embedding", "UNet"]
