"""Colours that every figure shares."""

# Okabe & Ito's, told apart by colour-blind readers too; the last is for all that is left.
COLOURS = (
    "#0072b2", "#d55e00", "#009e73", "#e69f00", "#cc79a7", "#56b4e9", "#f0e442", "#999999"
)  # fmt: skip


def contrast(colour: str, other: str) -> float:
    """Returns the contrast of two colours, 1..21.

    Args:
        colour: as `#rrggbb`.
        other: likewise.

    References:
        W3C, Web Content Accessibility Guidelines 2.2: contrast ratio and relative luminance.

    Examples:
        >>> contrast("#ffffff", "#000000")
        21.0
    """
    darker, lighter = sorted((_luminance(colour), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def readable(colour: str, background: str, least: float = 3) -> str:
    """Returns the colour, moved towards black or white until it stands out from a background.

    Args:
        colour: as `#rrggbb`.
        background: likewise.
        least: contrast that is wanted: 3 for lines, 4.5 for text.

    Examples:
        >>> readable("#0072b2", "#ffffff"), readable("#f0e442", "#ffffff")
        ('#0072b2', '#9e962c')
    """
    end = 0 if _luminance(background) > 0.18 else 255
    own = _channels(colour)
    for step in range(101):
        mixed = [round(value + (end - value) * step / 100) for value in own]
        found = "#" + "".join(f"{value:02x}" for value in mixed)
        if contrast(found, background) >= least:
            return found
    return found


def _channels(colour: str) -> tuple[int, ...]:
    return tuple(int(colour[at : at + 2], 16) for at in (1, 3, 5))


def _luminance(colour: str) -> float:
    linear = [
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
        for value in (channel / 255 for channel in _channels(colour))
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
