"""Anti-aliased layers: they hold the arguments of an operator and call it."""

from shiftable.nn.blur import BlurPool1d, BlurPool2d, BlurPool3d, MaxBlurPool2d
from shiftable.nn.conv import BlurConv2d
from shiftable.nn.ideal import IdealDownsample2d
from shiftable.nn.polyphase import PolyphaseDownsample2d
from shiftable.nn.upsample import BlurUpsample2d

__all__ = [
    "BlurConv2d",
    "BlurPool1d",
    "BlurPool2d",
    "BlurPool3d",
    "BlurUpsample2d",
    "IdealDownsample2d",
    "MaxBlurPool2d",
    "PolyphaseDownsample2d",
]
