"""Memory for large answers.

glibc gives the end of the heap back to the system after every large answer
and asks for it again with the next, page by page: a third of what the vectors
of an embedding cost.
"""

import ctypes
from typing import Final

_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
_KEPT_BYTES: Final = 8 * 1024 * 1024


def keep_freed_memory() -> bool:
    """Let up to 8 MB of freed memory wait for the next answer, where the C library can (``mallopt(3)``)."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, TypeError, AttributeError):
        return False
    return bool(mallopt(_TRIM_THRESHOLD, _KEPT_BYTES) and mallopt(_MMAP_THRESHOLD, _KEPT_BYTES))
