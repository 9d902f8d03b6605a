"""Loads a network by name or path, with its preprocessing."""

import hashlib
import importlib
import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from shiftable import demo, mended
from shiftable.convert import antialias
from shiftable.convert.placement import structure
from shiftable.engine import Model, dtype_of, weights_digest
from shiftable.mended import Mended


@dataclass(frozen=True, eq=False)
class Network:
    """A network and what it wants to be shown: RGB pixels 0..255 times `scale`, plus `bias`.

    Args:
        name: as given to `load`.
        model: takes (B, 3, h, w) float32 and returns logits (B, K).
        size: (h, w) of its input in pixels.
        scale: factor by channel.
        bias: term by channel, added after the factor.
        weights: SHA-256 of its parameters and buffers; None where they cannot be read.
        classes: names of the K classes, empty where unknown.
        code: SHA-256 of what is known of how it computes: its structure as it prints itself, its
            file, or the source file that it was made in.
    """

    name: str
    model: Model
    size: tuple[int, int]
    scale: tuple[float, float, float]
    bias: tuple[float, float, float]
    weights: str | None = None
    classes: tuple[str, ...] = ()
    code: str | None = None

    @property
    def mean_colour(self) -> tuple[float, ...]:
        """The pixel (RGB, 0..255) that the network sees as 0."""
        return tuple(-b / s for b, s in zip(self.bias, self.scale, strict=True))


def load(
    name: str,
    *,
    size: tuple[int, int] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    weights: str | Path | None = None,
    memory_format: torch.memory_format = torch.channels_last,
) -> Network:
    """Loads a network, ready to evaluate.

    Args:
        name: `demo:efficientnet-lite0`, `demo:squeezenet`, `timm:NAME`, `torchvision:NAME`, the
            path of a `torch.export` (.pt2) or TorchScript (.pt, .pth, .ts) file, or of one that
            `shiftable antialias` wrote (.pt, .pth), or `package.module:attribute`: a network, any function of a batch, or a class or function
            that needs no arguments and returns one of these.
        size: (h, w) of the input in pixels; needed where the name brings no preprocessing.
        mean: by channel, in units of 0..1, taken off before the division by `std`; by default the
            named network's own, else 0.
        std: by channel, in units of 0..1; by default the named network's own, else 1.
        weights: for `timm:` and `torchvision:`, a file with a state dict, in place of the
            pretrained weights that these packages download.
        memory_format: of the weights; give `evaluate` the same.

    Raises:
        ValueError: for an unknown name, a file that cannot be read, or missing preprocessing.
        ImportError: where a named package is missing.
    """
    kind, _, rest = name.partition(":")
    if Path(name).suffix in (".pt", ".pth") and (stored := mended.read(Path(name))) is not None:
        if weights is not None or size is not None or mean is not None or std is not None:
            raise ValueError(f"{name} knows its own weights, size and preprocessing; give none")
        return _mended(name, stored, memory_format)
    if weights is not None and kind not in ("timm", "torchvision"):
        raise ValueError(f"expected weights only with timm: or torchvision: models, got '{name}'")
    if kind in _NAMED and rest:
        model, found, scale, bias, classes = _NAMED[kind](rest, weights)
    elif Path(name).suffix in (".pt2", ".pt", ".pth", ".ts"):
        model, found, scale, bias, classes = _from_file(Path(name)), None, (1 / 255,), (0.0,), ()
    elif kind and rest:
        model, found, scale, bias, classes = _from_code(kind, rest), None, (1 / 255,), (0.0,), ()
    else:
        raise ValueError(
            f"unknown model '{name}'; expected demo:NAME, timm:NAME, torchvision:NAME, a .pt2 or "
            "TorchScript file, or package.module:callable"
        )
    if isinstance(model, nn.Module):
        digest = weights_digest(model)
        try:
            model = model.eval()
        except NotImplementedError:  # an exported one cannot change its mode, nor tell it
            for module in model.modules():
                module.training = False
        else:
            model.to(memory_format=memory_format)  # type: ignore[call-overload]
    else:
        digest = None
    if mean is not None or std is not None:
        scale, bias = _normalisation(mean or (0.0,), std or (1.0,))
    size = size or found
    if size is None:
        raise ValueError(f"expected the input size of '{name}', got none; give it as --size")
    code = _code(name, kind, model)
    return Network(name, model, size, _rgb(scale), _rgb(bias), digest, tuple(classes), code)


def _mended(name: str, stored: Mended, memory_format: torch.memory_format) -> Network:
    """The network that was mended, mended again, with the stored weights."""
    kind = stored.model.partition(":")[0]
    network = load(
        stored.model,
        size=stored.size,
        mean=stored.mean,
        std=stored.std,
        # These would download weights that are not needed.
        weights=Path(name) if kind in ("timm", "torchvision") else None,
        memory_format=memory_format,
    )
    if not isinstance(network.model, nn.Module):
        raise ValueError(f"{name}: {stored.model} is no module any more")
    example = torch.zeros((1, 3, *stored.size), dtype=dtype_of(network.model))
    try:
        antialias(network.model, example, **stored.antialias)
        network.model.load_state_dict(dict(stored.state))
    except (RuntimeError, TypeError, ValueError) as error:
        reason = str(error).strip().replace("\n\t", " ")
        raise ValueError(f"{name} does not fit {stored.model}: {reason}") from error
    return replace(network, name=name, weights=weights_digest(network.model))


def _rgb(values: Sequence[float]) -> tuple[float, float, float]:
    """One value for each of three channels."""
    if len(values) not in (1, 3):
        raise ValueError(f"expected one value or three (R, G, B), got {tuple(values)}")
    red, green, blue = [*values] * (3 // len(values))
    return red, green, blue


# model, (h, w), scale, bias, class names
_Loaded = tuple[Model, tuple[int, int], Sequence[float], Sequence[float], Sequence[str]]


def _normalisation(
    mean: Sequence[float], std: Sequence[float]
) -> tuple[Sequence[float], Sequence[float]]:
    """(x / 255 - mean) / std as one factor and one term on pixels 0..255."""
    if min(std) <= 0:
        raise ValueError(f"expected std > 0, got {tuple(std)}")
    pairs = list(zip(_rgb(mean), _rgb(std), strict=True))
    return [1 / (255 * s) for _, s in pairs], [-m / s for m, s in pairs]


def _demo(name: str, _: object) -> _Loaded:
    known: dict[str, tuple[Callable[[], nn.Module], int, float, tuple[float, ...]]] = {
        "efficientnet-lite0": (demo.efficientnet_lite0, 224, 1 / 128, (-127 / 128,)),
        "squeezenet": (demo.squeezenet, 227, 1.0, (-122.679, -116.669, -104.006)),
    }
    if name not in known:
        raise ValueError(f"unknown demo model '{name}'; known: {', '.join(known)}")
    build, side, scale, bias = known[name]
    return build(), (side, side), (scale,), bias, demo.class_names()


def _timm(name: str, weights: str | Path | None) -> _Loaded:
    timm = _imported("timm")
    if not timm.is_model(name):
        near = ", ".join(timm.list_models(f"*{name}*")[:5]) or "see timm.list_models()"
        raise ValueError(f"unknown timm model '{name}'; near: {near}")
    model = _built(f"timm:{name}", lambda: timm.create_model(name, pretrained=weights is None))
    _read_weights(model, weights)
    settings = timm.data.resolve_model_data_config(model)
    _, height, width = settings["input_size"]
    return model, (height, width), *_normalisation(settings["mean"], settings["std"]), ()


def _torchvision(name: str, weights: str | Path | None) -> _Loaded:
    models = _imported("torchvision").models
    if name not in models.list_models():
        raise ValueError(
            f"unknown torchvision model '{name}'; see torchvision.models.list_models()"
        )
    pretrained = models.get_model_weights(name).DEFAULT
    model = _built(
        f"torchvision:{name}",
        lambda: models.get_model(name, weights=pretrained if weights is None else None),
    )
    _read_weights(model, weights)
    settings = pretrained.transforms()
    if not hasattr(settings, "crop_size"):
        raise ValueError(f"expected an image classifier, got torchvision's '{name}'")
    side = int(settings.crop_size[0])
    normalisation = _normalisation(settings.mean, settings.std)
    return model, (side, side), *normalisation, pretrained.meta.get("categories", ())


_NAMED: dict[str, Callable[[str, Any], _Loaded]] = {
    "demo": _demo,
    "timm": _timm,
    "torchvision": _torchvision,
}


def _imported(package: str) -> Any:
    try:
        return importlib.import_module(package)
    except Exception as error:  # also a build of it that does not fit the installed torch
        reason = str(error).strip().partition("\n")[0]
        raise ImportError(
            f"{package} cannot be imported ({reason}); `pip install {package}`, in a build that "
            f"fits torch {torch.__version__}"
        ) from error


def _built(name: str, build: Callable[[], nn.Module]) -> nn.Module:
    try:
        return build()
    except Exception as error:  # a download that fails, in one of many ways
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(
            f"cannot load {name} ({reason}); without a network, give its state dict as --weights"
        ) from error


def _read_weights(model: nn.Module, weights: str | Path | None) -> None:
    if weights is None:
        return
    try:
        stored = mended.read(Path(weights))
        model.load_state_dict(
            torch.load(weights, map_location="cpu", weights_only=True)
            if stored is None
            else dict(stored.state)
        )
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(f"cannot read weights from {weights}: {reason}") from error


def _from_file(path: Path) -> Model:
    if not path.is_file():
        raise ValueError(f"expected a model file, but {path} does not exist")
    try:
        if path.suffix == ".pt2":
            return torch.export.load(path).module()
        script: nn.Module = torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]
        return script
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(
            f"cannot read {path} as a "
            f"{'torch.export file' if path.suffix == '.pt2' else 'TorchScript file or a mended network'}"
            f" ({reason}); a state dict is given as --weights beside a timm: or torchvision: model"
        ) from error


def _from_code(module: str, attribute: str) -> Model:
    sys.path.insert(0, str(Path.cwd()))  # a console script does not look here by itself
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"cannot find '{attribute}' in module '{module}': {error}") from error
    except Exception as error:  # the module's own fault
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"module '{module}' cannot be imported ({reason})") from error
    finally:
        sys.path.pop(0)
    model: Model = _made(found, f"{module}:{attribute}") if _makes(found) else found
    if not callable(model):
        raise ValueError(
            f"expected {module}:{attribute} to be a network or to return one, got "
            f"{type(model).__name__}"
        )
    return model


def _makes(found: object) -> bool:
    """Whether this makes a network, rather than being one: a callable that needs no argument."""
    if isinstance(found, nn.Module) or not callable(found):
        return False
    try:
        parameters = inspect.signature(found).parameters.values()
    except ValueError:  # a function of C++
        return False
    return all(
        p.default is not p.empty or p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters
    )


def _made(make: Callable[[], Model], name: str) -> Model:
    try:
        return make()
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(f"{name}() failed: {type(error).__name__}: {reason}") from error


def _code(name: str, kind: str, model: Model) -> str:
    """SHA-256 of a network's structure, and of the file that it is from."""
    digest = hashlib.sha256()
    if isinstance(model, nn.Module):
        digest.update(structure(model).encode())
    source = Path(name) if Path(name).is_file() else None
    if source is None and kind in sys.modules:  # package.module:attribute
        found = getattr(sys.modules[kind], "__file__", None)
        source = Path(found) if found else None
    if source is not None and source.is_file():
        digest.update(source.read_bytes())
    return digest.hexdigest()
