"""Others' layers under their own names: the same arguments, numbers, sizes and state dicts."""

from shiftable.compat import antialiased_cnns, composer, kornia, timm

__all__ = ["antialiased_cnns", "composer", "kornia", "timm"]
