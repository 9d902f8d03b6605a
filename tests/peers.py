"""The installed libraries that tests compare with. One that is absent is a visible skip."""

import pytest

from benchmarks.speed.peers import load


def peer(name):
    """The module, or a skip."""
    try:
        return load(name)
    except ImportError as error:
        return pytest.skip(f"{name} cannot be imported: {error}")
