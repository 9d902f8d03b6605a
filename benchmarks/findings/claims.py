"""The claims of Azulay & Weiss, or what follows from them, and how the stored numbers judge each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any

Found = Mapping[str, Any]  # the results, by the name of their file


@dataclass(frozen=True)
class Claim:
    """One claim of the source.

    Args:
        title: of its section.
        claim: in one sentence.
        commands: that test it.
        figure: a file beside the page, with what it shows; or None.
        numbers: lines of Markdown from the results.
        verdict: whether it held, from the results.
        page: where more is said, or None.
    """

    title: str
    claim: str
    commands: str
    figure: tuple[str, str] | None
    numbers: Callable[[Found], list[str]]
    verdict: Callable[[Found], str]
    page: str | None = None


def share(found: Mapping[str, Any], sign: str = "") -> str:
    """A share with its interval, in per cent."""
    value, low, high = (100 * found[key] for key in ("value", "low", "high"))
    return f"{value:{sign}.1f} % [{low:{sign}.1f}, {high:{sign}.1f}]"


def number(found: Mapping[str, Any] | None) -> str:
    """A value with its interval."""
    if found is None or found["value"] is None:
        return "-"
    return f"{found['value']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    """Lines of Markdown."""
    return ["| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows]]


# -- one pixel -------------------------------------------------------------------------------------


def one_pixel_numbers(found: Found) -> list[str]:
    """The least and the most of the crops, and on black."""
    rows = []
    for name, points in found["one_pixel"]["series"].items():
        if "mean" in name:
            continue
        order = sorted(points, key=lambda point: point["top1_change"]["value"])
        sizes = ", ".join(f"{point['size']:g}" for point in points)
        rows.append([name, sizes, *(share(order[at]["top1_change"]) for at in (0, -1))])
    head = ["network", "sizes of the object", "P(top-1 change), least of them", "most"]
    return table(head, rows)


def one_pixel_verdict(found: Found) -> str:
    """Held where every interval keeps away from 0."""
    lows = [
        point["top1_change"]["low"]
        for points in found["one_pixel"]["series"].values()
        for point in points
    ]
    return "Held" if min(lows) > 0 else "Not held at every size"


def sizes_numbers(found: Found) -> list[str]:
    """One row a network."""
    rows = [
        [one["model"]["name"], share(own["top1_change_size"]), number(own["mac_size"])]
        for one, own in _sizes(found)
    ]
    return table(["network", "P(top-1 change) for one pixel of size", "mean absolute change"], rows)


def _sizes(found: Found) -> list[tuple[Any, Any]]:
    """What `shiftable metrics --json` says of each network, and its metrics."""
    every = [found[name] for name in ("sizes_squeezenet", "sizes_lite0")]
    return [(one, one["sweeps"][0]["metrics"]) for one in every]


def sizes_verdict(found: Found) -> str:
    """Held where no interval holds 0."""
    lows = [own["top1_change_size"]["low"] for _, own in _sizes(found)]
    return "Held" if min(lows) > 0 else "Not held for every network"


# -- sampling --------------------------------------------------------------------------------------


def spectrum_numbers(found: Found) -> list[str]:
    """One row a step."""
    rows = [[one["title"], share(one["aliasing_share"])] for one in found["spectrum"]["steps"]]
    return table(["step, every fourth pixel kept", "energy that aliases"], rows)


def spectrum_verdict(found: Found) -> str:
    """Held where a bare stride and a max-pool fold back far more than an ideal filter."""
    by_name = {one["step"]: one["aliasing_share"] for one in found["spectrum"]["steps"]}
    worse = min(by_name[name]["low"] for name in ("slice", "max"))
    return "Held" if worse > by_name["ideal"]["high"] else "Not held"


def layers_numbers(found: Found) -> list[str]:
    """Of each network: what aliases at its strides, and its errors, on the grid and between."""
    rows = []
    for network in found["layers"]:
        layers = network["layers"]
        shares = [o["aliasing_share"] for o in network["operations"] if not o["blurred"]]
        known = [one for one in shares if one is not None]
        wrapped = [
            one for one in layers if one["aliasing"] and one["aliasing"]["value"] is not None
        ]
        errors = [one["aliasing"]["value"] for one in wrapped]
        grid = [one["circular_on_grid"]["value"] for one in wrapped]
        rows.append(
            [
                network["network"],
                f"{min(known):.1%} to {max(known):.1%}" if known else "none is bare",
                f"{max(grid):.0e}" if max(grid) else "0",
                f"{min(errors):.3f} to {max(errors):.3f}",
                number(wrapped[-1]["aliasing"]),
            ]
        )
    head = [
        "network",
        "energy that aliases at its bare strides",
        "error on the grid, circular padding, at most",
        "error between, of its layers",
        "of the last map",
    ]
    return table(head, rows)


def layers_verdict(found: Found) -> str:
    """Held where the grid is exact and what lies between is not."""
    layers = [
        one
        for network in found["layers"]
        for one in network["layers"]
        if one["aliasing"] and one["aliasing"]["value"] is not None
    ]
    exact = max(one["circular_on_grid"]["value"] for one in layers) < 1e-3
    aliased = min(one["aliasing"]["low"] for one in layers) > 1e-3
    return "Held" if exact and aliased else "Not held"


def lie_numbers(found: Found) -> list[str]:
    """Of each network the layers that add most."""
    rows = []
    for network in found["layers"]:
        known = [one for one in network["layers"] if one["lie"] is not None]
        order = sorted(known, key=lambda one: one["lie"]["value"], reverse=True)[:3]
        strided = sum(one["stride"] != one["reads"] for one in order)
        shown = ", ".join(f"{one['name']} {one['lie']['value']:.3f}" for one in order)
        rows.append(
            [
                network["network"],
                number(network["lie"]["whole"]),
                shown,
                f"{strided} of {len(order)}",
            ]
        )
    head = ["network", "change of all probabilities for a pixel", "layers that add most", "strided"]
    return table(head, rows)


def lie_verdict(found: Found) -> str:
    """By the three layers of each network that add most."""
    shares = []
    for network in _plain(found):
        known = [one for one in network["layers"] if one["lie"] is not None]
        order = sorted(known, key=lambda one: one["lie"]["value"], reverse=True)[:3]
        shares.append(sum(one["stride"] != one["reads"] for one in order))
    if min(shares) == 3:
        return "Held"
    return (
        "Held for the most part: activations of large maps add, too" if min(shares) else "Not held"
    )


# -- depth -----------------------------------------------------------------------------------------


def depth_numbers(found: Found) -> list[str]:
    """Errors in the first and the last third of the layers' depths."""
    rows = []
    for network in _plain(found):
        cells = [network["network"], str(max(one["depth"] for one in network["layers"]))]
        for what in ("borders", "aliasing", "both"):
            early, late = _thirds(network, what)
            cells.append(f"{early:.3f} -> {late:.3f}")
        rows.append(cells)
    head = ["network", "depth", "borders: first third -> last", "aliasing", "both"]
    return table(head, rows)


def _plain(found: Found) -> list[Any]:
    return [one for one in found["layers"] if one["network"].startswith("demo:")]


def _thirds(network: Mapping[str, Any], what: str) -> tuple[float, float]:
    """Means over the layers of the first third of the depths, and of the last."""
    known = [
        (one["depth"], one[what]["value"])
        for one in network["layers"]
        if one[what] is not None and one[what]["value"] is not None
    ]
    deepest = max(depth for depth, _ in known)
    early = [value for depth, value in known if depth <= deepest / 3]
    late = [value for depth, value in known if depth > deepest * 2 / 3]
    return sum(early) / len(early), sum(late) / len(late)


def depth_verdict(found: Found) -> str:
    """Part by part: borders and aliasing, by more than a tenth."""
    parts = []
    for what in ("borders", "aliasing"):
        grew = [late > 1.1 * early for early, late in (_thirds(one, what) for one in _plain(found))]
        parts.append(
            f"{what}: {'held' if all(grew) else 'not held' if not any(grew) else 'in part'}"
        )
    deep = {one["network"]: max(layer["depth"] for layer in one["layers"]) for one in _plain(found)}
    return f"{'; '.join(parts)}; {_deeper_network(found, deep)}".capitalize()


def _deeper_network(found: Found, deep: Mapping[str, int]) -> str:
    """Whether the deeper of the two networks changes its mind more often."""
    changes = {
        name: max(point["top1_change"]["value"] for point in points)
        for name, points in found["one_pixel"]["series"].items()
        if "," not in name
    }
    squeezenet, lite0 = changes["SqueezeNet 1.1"], changes["EfficientNet-Lite0"]
    deeper = deep["demo:efficientnet-lite0"] > deep["demo:squeezenet"]
    return f"of the two networks the deeper is {'the worse: held' if (lite0 > squeezenet) == deeper else 'the better: not held'}"


# -- data ------------------------------------------------------------------------------------------


def placement_numbers(found: Found) -> list[str]:
    """How central Fashion-MNIST is, and what two networks do inside and outside."""
    placement = found["placement"]
    every = placement["classes"][0]
    lines = [
        f"Of {placement['images']:,} garments {share(every['middle'])} have their centre in the middle "
        f"ninth of the image (11.1 % of uniform ones would), {every['bits']:.2f} bits of 6.34.",
        "",
    ]
    rows = [
        [
            name,
            *(share(sweep[side]["consistency"]) for side in ("inside", "outside")),
            share(sweep["consistency"], "+"),
        ]
        for name, sweep in placement["sweeps"].items()
    ]
    head = ["trained on", "consistency inside the data's range", "outside", "difference"]
    return lines + table(head, rows)


def placement_verdict(found: Found) -> str:
    """On the data at hand."""
    placement = found["placement"]
    central = placement["classes"][0]["middle"]["low"] > placement["classes"][0]["middle_by_size"]
    worse = placement["sweeps"]["centred"]["consistency"]["low"] > 0
    return f"{'Held' if central and worse else 'Not held'} on Fashion-MNIST; no photographs with boxes or keypoints were at hand"


def augmentation_numbers(found: Found) -> list[str]:
    """Of each network and range: inside, outside and the difference, means over seeds."""
    rows = []
    for name, seeds in found["augmentation"]["results"].items():
        split = [one["test"]["split"] for one in seeds.values()]
        if not all(_has_sides(one) for one in split):
            continue  # trained in the middle alone, or everywhere
        values = [
            fmean(one[side]["consistency"]["value"] for one in split)
            for side in ("inside", "outside")
        ]
        low = min(one["difference"]["consistency"]["low"] for one in split)
        high = max(one["difference"]["consistency"]["high"] for one in split)
        variant, _, farthest = name.rpartition("-")
        rows.append(
            [
                _NETWORKS[variant],
                farthest,
                *(f"{100 * value:.1f} %" for value in values),
                f"{100 * (values[1] - values[0]):+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]",
            ]
        )
    head = [
        "network",
        "trained up to, pixels",
        "consistency inside",
        "outside",
        "difference, points",
    ]
    return [
        *table(head, rows),
        "",
        f"Test images; means over {len(split)} seeds, in brackets what holds the 95 % interval of every seed.",
    ]


def _has_sides(split: Mapping[str, Any]) -> bool:
    known = [split.get(side, {}).get("consistency", {}) for side in ("inside", "outside")]
    return all(one.get("value") is not None for one in known) and "difference" in split


_NETWORKS = {
    "max": "max-pool, average over places",
    "max-blur": "max-blur, average over places",
    "max-places": "max-pool, places kept",
}


def augmentation_verdict(found: Found) -> str:
    """By network: whether every range and seed is less consistent outside."""
    told: dict[bool, list[str]] = {True: [], False: []}
    for variant, title in _NETWORKS.items():
        highs = [
            one["test"]["split"]["difference"]["consistency"]["high"]
            for name, seeds in found["augmentation"]["results"].items()
            if name.rpartition("-")[0] == variant
            for one in seeds.values()
            if _has_sides(one["test"]["split"])
        ]
        told[max(highs) < 0].append(title)
    if not told[False]:
        return "Held: less consistent outside, for every network, range and seed; how much less, the table says"
    return f"Held in part: for {', '.join(told[True]) or 'no network'}; not in every seed for {', '.join(told[False])}"


def mending_numbers(found: Found) -> list[str]:
    """Before, and mended and recovered."""
    rows = []
    for name, one in found["recovery"]["networks"].items():
        for protocol, stages in one["protocols"].items():
            before, after = (stages[stage]["top1_change"] for stage in ("before", "recovered"))
            values = [share(before["value"]), share(after["value"])]
            rows.append([name, protocol, *values, share(after["difference"], "+")])
    head = ["network", "protocol", "P(top-1 change) before", "mended and recovered", "difference"]
    return table(head, rows)


def mending_verdict(found: Found) -> str:
    """By network: fewer changes by the paired interval, under both protocols; never none."""
    told: dict[bool, list[str]] = {True: [], False: []}
    left = []
    for name, one in found["recovery"]["networks"].items():
        after = [stages["recovered"]["top1_change"] for stages in one["protocols"].values()]
        told[all(change["difference"]["high"] < 0 for change in after)].append(name)
        left += [change["value"]["value"] for change in after]
    some = "changes are left" if min(left) > 0 else "no change is left"
    if not told[True]:
        return f"Not held: every difference may be 0; {some}"
    if not told[False]:
        return f"Held: fewer changes; {some}"
    return f"Held for {', '.join(told[True])}, for {', '.join(told[False])} the difference may be 0; {some}"


CLAIMS = (
    Claim(
        "One pixel changes the answer",
        "Moving a photograph by one pixel often changes the class that a modern network predicts.",
        "python -m benchmarks.findings.one_pixel --json benchmarks/results/findings/one_pixel.json \\\n"
        "  --figure docs/one_pixel.png --page docs/one_pixel.md",
        ("one_pixel.png", "P(top-1 change) and mean absolute change against the size"),
        one_pixel_numbers,
        one_pixel_verdict,
        "one_pixel.md",
    ),
    Claim(
        "So does one pixel of size",
        "So does making it larger or smaller by one pixel.",
        "shiftable sweep --model demo:squeezenet --images demo:all-photographs --protocol embed \\\n"
        "  --shifts sizes:8 --out runs/sizes && \\\n"
        "  shiftable metrics runs/sizes --json > benchmarks/results/findings/sizes_squeezenet.json\n"
        "# and the same of demo:efficientnet-lite0, to sizes_lite0.json",
        None,
        sizes_numbers,
        sizes_verdict,
    ),
    Claim(
        "Down-sampling ignores the sampling theorem",
        "Neither a stride nor a max-pool removes what no longer has a place after it, so it aliases.",
        "shiftable spectrum demo:all-photographs --json > benchmarks/results/findings/spectrum.json\n"
        "shiftable spectrum chelsea.png --out docs/spectrum.png       # of scikit-image's data",
        (
            "spectrum.png",
            "A photograph after eight ways to keep every fourth pixel, and their spectra",
        ),
        spectrum_numbers,
        spectrum_verdict,
        "explain.md",
    ),
    Claim(
        "Layers move along by whole pixels of their grid alone",
        "A network of convolutions and strides is exactly equivariant to shifts by its total stride, and not to the others.",
        "shiftable antialias --model demo:squeezenet --out squeezenet-blurred.pt\n"
        "shiftable antialias --model demo:efficientnet-lite0 --images demo:all-photographs --recover 0 \\\n"
        "  --out lite0-blurred.pt\n"
        "shiftable layers demo:squeezenet squeezenet-blurred.pt demo:efficientnet-lite0 lite0-blurred.pt \\\n"
        "  --images demo:photographs --lie --probes 16 --out docs/layers.png --json \\\n"
        "  > benchmarks/results/findings/layers.json",
        (
            "layers.png",
            "Errors of layers by aliasing and by borders, and Lie derivatives, against depth",
        ),
        layers_numbers,
        layers_verdict,
        "explain.md",
    ),
    Claim(
        "It is the strides that change the output",
        "What reaches the output comes from the layers that lower resolution.",
        "the same; the column of the Lie derivative",
        None,
        lie_numbers,
        lie_verdict,
        "explain.md",
    ),
    Claim(
        "Deeper is worse",
        "The deeper a layer or a network, the less does it follow a shift.",
        "the same",
        None,
        depth_numbers,
        depth_verdict,
    ),
    Claim(
        "Augmentation is not enough",
        "A network trained with translations ignores them only where its training images were.",
        "python -m benchmarks.findings.augmentation --json benchmarks/results/findings/augmentation.json \\\n"
        "  --figure docs/augmentation.png --page docs/augmentation.md",
        ("augmentation.png", "Consistency against the distance from the middle"),
        augmentation_numbers,
        augmentation_verdict,
        "augmentation.md",
    ),
    Claim(
        "Data sets are biased",
        "Photographers put objects in the middle and at typical sizes, so a network need not learn to be invariant.",
        "python -m benchmarks.findings.placement --json benchmarks/results/findings/placement.json \\\n"
        "  --figure docs/placement.png",
        ("placement.png", "Map of centres, histogram of sizes, and consistency inside and outside"),
        placement_numbers,
        placement_verdict,
        "placement.md",
    ),
    Claim(
        "Anti-aliasing helps, and does not cure",
        "Low-pass filters before the strides make a network change its mind less often, and not never.",
        "python -m benchmarks.findings.recovery --json benchmarks/results/findings/recovery.json \\\n"
        "  --speeds --figure docs/recovery.png --page docs/recovery.md",
        ("recovery.png", "Metrics before, after mending and after recovery"),
        mending_numbers,
        mending_verdict,
        "recovery.md",
    ),
)
