"""The C library's allocator, tuned for large tensors on a CPU."""

import ctypes
import platform
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # mallopt's names for them (malloc.h)
_LARGEST = 2**31 - 1
_STEP = 512 * 2**20


def tune_allocator() -> str | None:
    """Keeps large blocks of memory in the process when they are freed, to be used again.

    By default glibc maps every block above 32 MiB afresh and gives it back when it is freed, so
    that each large tensor is paid for page by page: on a CPU often more than the arithmetic. The
    setting is the process's own, for everything in it, and cannot be taken back; call it early.

    It costs memory: the heap grows in steps of 512 MiB, and what was used at the highest point
    stays with the process. The first few blocks after the call may still be new memory, until the
    heap's first step has been handed out. Torch's tensors on a GPU are not touched.

    Returns:
        None if it was done, else the reason why it could not be.

    Examples:
        >>> import shiftable
        >>> reason = shiftable.tune_allocator()
    """
    if not sys.platform.startswith("linux"):
        return f"only glibc on Linux can be tuned, this is {sys.platform}"
    if platform.libc_ver()[0] != "glibc":
        return "only glibc can be tuned, this process runs on another C library"
    mallopt = ctypes.CDLL(None).mallopt
    settings = ((_MMAP_THRESHOLD, _LARGEST), (_TRIM_THRESHOLD, _LARGEST), (_TOP_PAD, _STEP))
    if not all(mallopt(name, value) for name, value in settings):
        return "mallopt refused"
    return None
