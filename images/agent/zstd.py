"""Decompression by the system's libzstd, straight into buffers that the disk can take: no pipe and no copy between."""

from __future__ import annotations

import ctypes

_lib = ctypes.CDLL("libzstd.so.1")
_lib.ZSTD_createDCtx.restype = ctypes.c_void_p
_lib.ZSTD_freeDCtx.argtypes = (ctypes.c_void_p,)
_lib.ZSTD_decompressStream.restype = ctypes.c_size_t
_lib.ZSTD_decompressDCtx.argtypes = (
    *(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_size_t),
)
_lib.ZSTD_decompressDCtx.restype = ctypes.c_size_t
_lib.ZSTD_isError.argtypes = (ctypes.c_size_t,)
_lib.ZSTD_getErrorName.argtypes = (ctypes.c_size_t,)
_lib.ZSTD_getErrorName.restype = ctypes.c_char_p


class CorruptStream(Exception):
    """The bytes are not a zstd stream, or not the whole of one."""


class _Span(ctypes.Structure):
    """ZSTD_inBuffer and ZSTD_outBuffer, which have the same shape (zstd.h)."""

    _fields_ = (("address", ctypes.c_void_p), ("size", ctypes.c_size_t), ("position", ctypes.c_size_t))


class FrameDecoder:
    """Whole frames from memory to memory, in one step each: what streams need a window and a copy for."""

    def __init__(self) -> None:
        self._context = ctypes.c_void_p(_lib.ZSTD_createDCtx())
        if not self._context:
            raise MemoryError("no memory for a zstd context")

    def decode(self, source: int, length: int, target: int, room: int) -> int:
        """Decode the `length` bytes at address `source` to `target`, where `room` bytes are; the decoded size.

        Other threads run meanwhile. Raises CorruptStream.
        """
        size: int = _lib.ZSTD_decompressDCtx(self._context, target, room, source, length)
        if _lib.ZSTD_isError(size):
            raise CorruptStream(_lib.ZSTD_getErrorName(size).decode())
        return size

    def close(self) -> None:
        """Free the context."""
        _lib.ZSTD_freeDCtx(self._context)


class Decoder:
    """One zstd stream of any number of frames (RFC 8878)."""

    def __init__(self) -> None:
        self._context = ctypes.c_void_p(_lib.ZSTD_createDCtx())
        if not self._context:
            raise MemoryError("no memory for a zstd context")
        self._source = _Span()
        self._pinned: object = None
        self._open_frame = False

    def feed(self, data: bytearray, length: int) -> None:
        """Take the first `length` bytes of `data` as the next input; what was fed before must be used up."""
        self._pinned = pinned = (ctypes.c_char * len(data)).from_buffer(data)
        self._source.address, self._source.size, self._source.position = ctypes.addressof(pinned), length, 0

    def fill(self, address: int, size: int, start: int) -> int:
        """Decode into the memory at `address` from `start` on; the new end, below `size` when more input is needed.

        Raises CorruptStream.
        """
        target = _Span(address, size, start)
        while target.position < size:
            before = (target.position, self._source.position)
            code = _lib.ZSTD_decompressStream(self._context, ctypes.byref(target), ctypes.byref(self._source))
            if _lib.ZSTD_isError(code):
                raise CorruptStream(_lib.ZSTD_getErrorName(code).decode())
            if (target.position, self._source.position) == before:
                break
            self._open_frame = code != 0
        return int(target.position)

    def finish(self) -> None:
        """Say that no more input comes. Raises CorruptStream when a frame is still open."""
        if self._open_frame:
            raise CorruptStream("the stream ends inside a frame")

    def close(self) -> None:
        """Free the context."""
        self._pinned = None
        _lib.ZSTD_freeDCtx(self._context)
