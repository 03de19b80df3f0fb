"""Bare torch modules; they know nothing of data, units or training."""

from microgen.nets.autoencoder import Decoder, Encoder, Shape
from microgen.nets.unet import Embedding, UNet

__all__ = ["Decoder", "Embedding", "Encoder", "Shape", "UNet"]
