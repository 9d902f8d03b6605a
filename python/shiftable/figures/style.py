"""What all figures have in common; with its neighbours, the only files that import matplotlib."""

import warnings
from pathlib import Path

from matplotlib.figure import Figure

# Told apart also where there are no colours.
MARKERS = ("o", "s", "^", "D", "v", "P", "X", ".")


def plain(text: str) -> str:
    """Text as it is: a dollar sign starts no formula."""
    return text.replace("$", r"\$")


def save(figure: Figure, path: Path) -> None:
    """Writes a figure, as a PNG or by the file's suffix, without the time."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # drawn as a box
        if path.suffix == ".svg":
            figure.savefig(path, format="svg", metadata={"Date": None})
        else:
            figure.savefig(path, format="png")
