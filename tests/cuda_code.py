"""What nvcc made of the CUDA kernels: `python -m tests.cuda_code` prints a table of it.

Read from the object files of the build by cuobjdump, which needs no GPU. Registers, spills, local memory and the widths of
loads and stores decide whether a kernel can run at the speed of the memory.
"""

import re
import shutil
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent


class CodeUnavailableError(Exception):
    """There is nothing to read, or nothing to read it with."""


@dataclass(frozen=True)
class Kernel:
    """One kernel of the library."""

    name: str  # as C++ has it, without namespaces
    registers: int
    stack: int  # bytes a thread; arrays that are not in registers, and spills
    local: int  # likewise
    loads: Counter  # bytes an access -> instructions
    stores: Counter
    spills: int  # instructions that access local memory
    instructions: int
    loop: int  # instructions of the largest loop, 0 without one


def _tool(name: str) -> str:
    """As installed beside this Python, or on PATH."""
    for folder in map(Path, sys.path):
        found = folder / "nvidia" / "cu13" / "bin" / name
        if found.exists():
            return str(found)
    if (found := shutil.which(name)) is None:
        raise CodeUnavailableError(f"needs {name}: pip install nvidia-cuda-{name}")
    return found


def _objects() -> list[Path]:
    folder = ROOT / "build" / f"cmake-{sys.implementation.cache_tag}" / "CMakeFiles" / "kernels.dir"
    objects = sorted(folder.glob("*/cuda*.cu.o"))
    if not objects:
        raise CodeUnavailableError("this folder's build has no CUDA kernels")
    return objects


def _dump(path: Path, what: str) -> str:
    _tool("nvdisasm")  # which it runs
    command = [_tool("cuobjdump"), what, str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _short(names: list[str]) -> list[str]:
    """Names without namespaces and parameters."""
    shown = subprocess.run(
        ["c++filt"], input="\n".join(names), capture_output=True, text=True, check=True
    ).stdout.splitlines()
    plain = [re.sub(r"\(anonymous namespace\)::|shiftable::|^void ", "", name) for name in shown]
    return [name.partition("(")[0] for name in plain]


def _resources(text: str) -> dict[str, tuple[int, int, int]]:
    """Registers, stack and local memory of every kernel."""
    pattern = r"Function (\S+):\s+REG:(\d+) STACK:(\d+) SHARED:\d+ LOCAL:(\d+)"
    return {
        name: (int(registers), int(stack), int(local))
        for name, registers, stack, local in re.findall(pattern, text)
    }


def _width(opcode: str) -> int:
    """Bytes that an instruction such as LDG.E.128.CONSTANT moves for a thread."""
    for part, size in {".128": 16, ".64": 8, ".U8": 1, ".S8": 1, ".U16": 2, ".S16": 2}.items():
        if part in opcode:
            return size
    return 4


def _count(code: str) -> dict[str, object]:
    """Counts the instructions of one kernel's listing."""
    loads, stores, spills, loop = Counter(), Counter(), 0, 0
    lines = re.findall(r"/\*([0-9a-f]{4,})\*/\s+(?:@!?U?P\w+\s+)?(\S+)([^;]*);", code)
    lines = [line for line in lines if line[1] != "NOP"]
    for address, opcode, rest in lines:
        if opcode.startswith("LDG"):
            loads[_width(opcode)] += 1
        elif opcode.startswith("STG"):
            stores[_width(opcode)] += 1
        elif opcode.startswith(("LDL", "STL")):
            spills += 1
        elif opcode.startswith("BRA"):
            target = re.search(r"0x([0-9a-f]+)", rest)
            if target and int(target[1], 16) < int(address, 16):
                inside = [
                    a for a, *_ in lines if int(target[1], 16) <= int(a, 16) <= int(address, 16)
                ]
                loop = max(loop, len(inside))
    return {
        "loads": loads, "stores": stores, "spills": spills, "instructions": len(lines), "loop": loop,
    }  # fmt: skip


def _kernels_of(path: Path) -> list[Kernel]:
    resources = _resources(_dump(path, "--dump-resource-usage"))
    codes = _dump(path, "--dump-sass").split("Function : ")[1:]
    found = [(code.split(None, 1)[0], _count(code)) for code in codes]
    found = [(name, counts) for name, counts in found if name in resources]
    short = _short([name for name, _ in found])
    return [
        Kernel(shown, *resources[name], **counts)
        for shown, (name, counts) in zip(short, found, strict=True)
        if not shown.startswith("$")
    ]


@cache
def kernels_built() -> list[Kernel]:
    """Every kernel of this folder's build; raises CodeUnavailableError where they cannot be read."""
    with ThreadPoolExecutor() as pool:
        return [kernel for found in pool.map(_kernels_of, _objects()) for kernel in found]


def _widths(counts: Counter) -> str:
    return " ".join(f"{count}x{size}" for size, count in sorted(counts.items(), reverse=True))


def table(kernels: list[Kernel]) -> list[str]:
    """A line for every kernel, below a heading."""
    heading = "registers  local  spills  code  loop  loads (count x bytes) | stores | kernel"
    return [heading] + [
        f"{k.registers:9} {k.stack + k.local:6} {k.spills:7} {k.instructions:5} {k.loop:5}  "
        f"{_widths(k.loads)} | {_widths(k.stores)} | {k.name}"
        for k in sorted(kernels, key=lambda k: k.name)
    ]


def headline() -> list[Kernel]:
    """Those for float16, four taps and stride 2, with the widest vectors, and windows of uint8."""
    names = (
        r"(filter|transpose)_(planes|pixels)<Half, 4, 2, 8, false>|filter_map(_pixels)?<Half, 4, 3, 8>|"
        r"transpose_map<Half, 4, 3, (8, true|2, false)>|take<unsigned char, Half, 8, 1, int, float>"
    )
    return [kernel for kernel in kernels_built() if re.fullmatch(names, kernel.name)]


def main() -> None:
    """Prints a line for every kernel."""
    try:
        kernels = kernels_built()
    except CodeUnavailableError as reason:
        sys.exit(f"cuda_code: {reason}")
    print(*table(kernels), f"{len(kernels)} kernels", sep="\n")


if __name__ == "__main__":
    main()
