"""The installed libraries that tests compare with. One that is absent is a visible skip."""

import functools
import importlib

import pytest
import torch


@functools.cache
def _torchvision_operators():
    """Declares what torchvision needs to be imported beside a torch that it was not built for."""
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library  # kept by the cache: what is declared lives as long as the library


def peer(name):
    """The module, or a skip."""
    try:
        return importlib.import_module(name)
    except RuntimeError as error:
        if "operator torchvision::nms does not exist" not in str(error):
            raise
        _torchvision_operators()
        return importlib.import_module(name)
    except ImportError as error:
        return pytest.skip(f"{name} cannot be imported: {error}")
