"""Builds shiftable._C and _eager by driving csrc/CMakeLists.txt; all else is in pyproject.toml."""

import os
import re
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError

HERE = Path(__file__).parent.resolve()
CUDA = {"": "AUTO", "1": "ON", "0": "OFF"}  # SHIFTABLE_CUDA: where nvcc is, demanded, left out


def cuda_architectures() -> str:
    """CMake's list of GPUs to compile for; never that of a GPU that happens to be there.

    SHIFTABLE_CUDA_ARCHITECTURES is one ("80-real;90"); TORCH_CUDA_ARCH_LIST ("8.0 9.0+PTX") says the
    same in torch's way.
    """
    if named := os.environ.get("SHIFTABLE_CUDA_ARCHITECTURES"):
        return named
    found = []
    for name in re.split(r"[;,\s]+", os.environ.get("TORCH_CUDA_ARCH_LIST", "9.0+PTX").strip()):
        match = re.fullmatch(r"(\d+)\.(\d+)([af]?)(\+PTX)?", name)
        if match is None:
            raise SystemExit(
                f"TORCH_CUDA_ARCH_LIST: expected numbers such as 9.0+PTX, got '{name}'"
            )
        if match[1] + match[2] == "103":  # nvcc 13 makes code for it that computes wrong
            raise SystemExit("TORCH_CUDA_ARCH_LIST: 10.3 is served by code for 10.0; name 10.0")
        found.append(match[1] + match[2] + match[3] + ("" if match[4] else "-real"))
    return ";".join(found)


class CMakeBuild(build_ext):
    """Configures, compiles and installs the extension modules, each a target of that name."""

    def build_extension(self, ext: Extension) -> None:
        name = ext.name.rpartition(".")[2]
        target = Path(self.get_ext_fullpath(ext.name)).resolve().parent
        build = HERE / "build" / f"cmake-{sys.implementation.cache_tag}"
        cuda = os.environ.get("SHIFTABLE_CUDA", "")
        if cuda not in CUDA:
            raise SystemExit(f"SHIFTABLE_CUDA: expected 1, 0 or nothing, got '{cuda}'")
        configure = [
            "cmake", "-S", str(HERE / "csrc"), "-B", str(build), "-G", "Ninja",
            "-DCMAKE_BUILD_TYPE=Release",
            f"-DPython_EXECUTABLE={sys.executable}",
            f"-DSHIFTABLE_WERROR={os.environ.get('SHIFTABLE_WERROR', 'OFF')}",
            f"-DSHIFTABLE_CUDA={CUDA[cuda]}",
            f"-DSHIFTABLE_CUDA_ARCHITECTURES={cuda_architectures()}",
        ]  # fmt: skip
        compile_ = ["cmake", "--build", str(build), "--target", name]
        install = ["cmake", "--install", str(build), "--prefix", str(target), "--component", name]
        # Ninja as installed beside this Python, which need not be on PATH.
        tools = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}",
        }
        for command in (configure, compile_, install):
            if code := subprocess.run(command, env=tools).returncode:
                message = f"{' '.join(command[:2])} failed ({code}); its message stands above"
                raise CompileError(message) if ext.optional else SystemExit(message)


setup(
    ext_modules=[
        Extension("shiftable._C", sources=[]),
        # Fits one version of torch; the package does without it, a little slower on small tensors.
        Extension("shiftable._eager", sources=[], optional=True),
    ],
    cmdclass={"build_ext": CMakeBuild},
)
