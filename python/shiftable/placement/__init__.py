"""Where a data set puts its objects, and what that means for a network that is shown them moved.

Photographers centre what they photograph, at typical sizes, so that a network trained on their
pictures need not learn invariance (Azulay & Weiss, JMLR 2019).
"""

from shiftable.placement.coco import from_coco
from shiftable.placement.objects import Objects
from shiftable.placement.pixels import from_masks, from_threshold
from shiftable.placement.report import machine, text
from shiftable.placement.summary import COVER, Histograms, Placement, Range, describe, histograms
from shiftable.placement.sweeps import Joined, Side, joined

__all__ = [
    "COVER",
    "Histograms",
    "Joined",
    "Objects",
    "Placement",
    "Range",
    "Side",
    "describe",
    "from_coco",
    "from_masks",
    "from_threshold",
    "histograms",
    "joined",
    "machine",
    "text",
]
