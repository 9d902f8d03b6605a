"""Networks by name and path, real weights among them."""

import importlib.util
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from shiftable import Sweep, demo, evaluate, images, line, models


@pytest.mark.parametrize(("name", "right"), [("demo:efficientnet-lite0", 17), ("demo:squeezenet", 12)])  # fmt: skip
def test_demo_networks_know_their_classes(name, right):
    """Real weights, real photographs: wrong preprocessing or channel order would not pass."""
    network = models.load(name)
    photographs = images.load("demo:photographs", size=network.size)
    scale, bias = (torch.tensor(v).view(3, 1, 1) for v in (network.scale, network.bias))
    pixels = torch.stack([photo * scale + bias for photo in photographs])
    with torch.inference_mode():
        predicted = network.model(pixels).argmax(1)
    assert int((predicted == torch.tensor(photographs.labels)).sum()) >= right
    assert len(network.classes) == 1000
    assert len(network.weights) == 64


class Tiny(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(3, 4)

    def forward(self, x):
        return self.layer(x.mean((2, 3)))


BATCH = torch.rand(5, 3, 8, 8)


def test_exported_file(tmp_path):
    model = Tiny().eval()
    dynamic = {"x": {0: torch.export.Dim("batch")}}
    torch.export.save(
        torch.export.export(model, (BATCH,), dynamic_shapes=dynamic), tmp_path / "tiny.pt2"
    )
    network = models.load(str(tmp_path / "tiny.pt2"), size=(8, 8), mean=(0.5,), std=(0.25,))
    torch.testing.assert_close(network.model(BATCH), model(BATCH))
    np.testing.assert_allclose(network.scale, [1 / (255 * 0.25)] * 3)
    np.testing.assert_allclose(network.bias, [-2] * 3)
    np.testing.assert_allclose(network.mean_colour, [127.5] * 3)
    assert network.weights is not None
    photo = torch.zeros(3, 8, 8, dtype=torch.uint8)
    assert len(evaluate(network.model, [photo], Sweep("circular", line(1), (8, 8)))) == 1


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_torchscript_file(tmp_path):
    model = Tiny().eval()
    torch.jit.save(torch.jit.trace(model, BATCH), tmp_path / "tiny.pt")
    network = models.load(str(tmp_path / "tiny.pt"), size=(8, 8))
    torch.testing.assert_close(network.model(BATCH), model(BATCH))


def test_code_in_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "my_code.py").write_text(
        "import torch\n"
        "class Net(torch.nn.Module):\n"
        "    def forward(self, x):\n"
        "        return x.mean((2, 3))\n"
        "instance = Net()\n"
        "number = 3\n"
        "def mean(x):\n"
        "    return x.mean((2, 3))\n"
        "def broken():\n"
        "    raise RuntimeError('no such file')\n"
        "def not_a_network():\n"
        "    return 3\n"
    )
    monkeypatch.chdir(tmp_path)
    for attribute in ("Net", "instance", "mean"):
        network = models.load(f"my_code:{attribute}", size=(8, 8))
        assert not getattr(network.model, "training", False)
        torch.testing.assert_close(network.model(BATCH), BATCH.mean((2, 3)))
    for attribute in ("number", "not_a_network"):
        with pytest.raises(ValueError, match="to be a network or to return one"):
            models.load(f"my_code:{attribute}", size=(8, 8))
    with pytest.raises(ValueError, match=r"my_code:broken\(\) failed: RuntimeError: no such file"):
        models.load("my_code:broken", size=(8, 8))
    with pytest.raises(ValueError, match="cannot find 'missing' in module 'my_code'"):
        models.load("my_code:missing")
    with pytest.raises(ValueError, match="expected the input size of 'my_code:Net'"):
        models.load("my_code:Net")


def test_weights_decide_the_digest(tmp_path, monkeypatch):
    (tmp_path / "two_nets.py").write_text(
        "import torch\n"
        "def make(value):\n"
        "    layer = torch.nn.Linear(2, 2)\n"
        "    torch.nn.init.constant_(layer.weight, value)\n"
        "    torch.nn.init.constant_(layer.bias, value)\n"
        "    return layer\n"
        "one, again, other = make(1.0), make(1.0), make(2.0)\n"
    )
    monkeypatch.chdir(tmp_path)
    digests = [models.load(f"two_nets:{n}", size=(8, 8)).weights for n in ("one", "again", "other")]
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "resnet50"}, "unknown model 'resnet50'; expected demo:NAME"),
        ({"name": "demo:resnet50"}, "unknown demo model 'resnet50'; known: efficientnet-lite0"),
        ({"name": "nowhere.pt2"}, "nowhere.pt2 does not exist"),
        ({"name": "no_such_package:net"}, "cannot find 'net' in module 'no_such_package'"),
        ({"name": "demo:squeezenet", "weights": "a.pth"}, "expected weights only with timm:"),
        ({"name": "demo:squeezenet", "std": (0.0,)}, "expected std > 0"),
        ({"name": "demo:squeezenet", "mean": (0.5, 0.5)}, "expected one value or three"),
    ],
)
def test_rejects_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        models.load(**arguments)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_rejects_files_that_hold_no_network(tmp_path):
    for name, kind in (("a.pt2", "torch.export"), ("a.pt", "TorchScript")):
        (tmp_path / name).write_bytes(b"not a network")
        with pytest.raises(ValueError, match=f"cannot read .* as a {kind} file"):
            models.load(str(tmp_path / name), size=(8, 8))


def test_pickled_weights_cannot_run_code(tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ("ran",))

    with pytest.raises(pickle.UnpicklingError, match="expected numpy arrays only"):
        demo.arrays_from_pickle(pickle.dumps(Evil()))


# torchvision and timm need a torchvision that fits the installed torch. Beside a CPU build of torch
# the package's own import fails for want of two operators, which the tests define (in a process of
# their own, as they cannot be taken back).
_DEFINED = """
import torch
library = torch.library.Library("torchvision", "DEF")
for name in ("nms", "qnms"):
    library.define(name + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
from shiftable import models
"""


def run(code, *arguments):
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=300
    )


@pytest.mark.parametrize(
    ("name", "build"),
    [
        ("timm:resnet18", "timm.create_model('resnet18')"),
        ("torchvision:resnet18", "torchvision.models.resnet18()"),
    ],
)
def test_named_packages(tmp_path, name, build):
    package = name.partition(":")[0]
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    code = f"""
import torchvision, {package}
torch.manual_seed(0)
torch.save({build}.state_dict(), sys.argv[1])
network = models.load("{name}", weights=sys.argv[1])
assert network.size == (224, 224)
assert [round(v) for v in network.mean_colour] == [124, 116, 104], network.mean_colour
assert network.model(torch.zeros(1, 3, 224, 224)).shape == (1, 1000)
try:
    models.load("{package}:resnet1")
except ValueError as error:
    assert "unknown {package} model 'resnet1'" in str(error), error
else:
    raise AssertionError
"""
    done = run("import sys" + _DEFINED + code, str(tmp_path / "weights.pth"))
    assert done.returncode == 0, done.stderr


def test_a_package_that_does_not_import_is_one_line():
    code = """
import sys
sys.modules["torchvision"] = None
from shiftable import models
try:
    models.load("torchvision:resnet18")
except ImportError as error:
    print(error)
"""
    done = run(code)
    assert "torchvision cannot be imported" in done.stdout
    assert "in a build that fits torch" in done.stdout
    assert done.stdout.count("\n") == 1
