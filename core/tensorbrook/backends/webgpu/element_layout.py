"""How elements lie on the host, where bool and uint8 take a byte, and on the device: a word."""
from __future__ import annotations

BYTE_DTYPES = ("bool", "uint8")            # dtypes whose elements are bytes on the host, words there
WORD = 4                             # bytes


def to_device_layout(data, dtype: str) -> memoryview | bytes:
    """The elements of some bytes as the device has them, filled up to whole words."""
    view = memoryview(data).cast("B")
    if dtype not in BYTE_DTYPES:
        return view if view.nbytes % 4 == 0 else bytes(view) + bytes(-view.nbytes % 4)
    words = bytearray(4 * view.nbytes)
    words[::4] = view
    return bytes(words)


def to_host_layout(data: bytes, dtype: str, count: int) -> bytes:
    """So many elements of what the device has, as the host has them."""
    return data[:4 * count:4] if dtype in BYTE_DTYPES else data[:host_bytes(dtype) * count]


def device_bytes(dtype: str) -> int:
    """Bytes that an element takes on the device."""
    return 2 if dtype == "float16" else WORD


def host_bytes(dtype: str) -> int:
    """Bytes that an element takes on the host."""
    return 1 if dtype in BYTE_DTYPES else 2 if dtype == "float16" else 4
