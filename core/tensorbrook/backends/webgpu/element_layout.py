"""Element layout: bool and uint8 take one byte on the host and one word on the device."""
from __future__ import annotations

BYTE_DTYPES = ("bool", "uint8")            # a byte on the host, a word on the device
WORD = 4                             # bytes


def to_device_layout(data, dtype: str) -> memoryview | bytes:
    """Convert elements from the host's layout to the device's, padded to whole words."""
    view = memoryview(data).cast("B")
    if dtype not in BYTE_DTYPES:
        return view if view.nbytes % WORD == 0 else bytes(view) + bytes(-view.nbytes % WORD)
    words = bytearray(WORD * view.nbytes)
    words[::WORD] = view
    return bytes(words)


def to_host_layout(data: bytes, dtype: str, count: int) -> bytes:
    """Convert `count` elements from the device's layout to the host's."""
    return data[:WORD * count:WORD] if dtype in BYTE_DTYPES else data[:host_bytes(dtype) * count]


def device_bytes(dtype: str) -> int:
    """Bytes of an element on the device."""
    return 2 if dtype == "float16" else WORD


def host_bytes(dtype: str) -> int:
    """Bytes of an element on the host."""
    return 1 if dtype in BYTE_DTYPES else device_bytes(dtype)
