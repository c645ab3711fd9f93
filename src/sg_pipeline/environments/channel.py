"""Whole messages over a socket between a pool and a worker: pickles, each preceded by its length.

The pool's end (`Channel`) never blocks: a worker may freeze in the middle of a message, or stop reading, and what
waits for it must be able to give up. The worker's end blocks; it has nobody else to serve.
"""

import contextlib
import pickle
import socket
import struct
from typing import Any, BinaryIO

_LENGTH = struct.Struct("!Q")
_CHUNK = 2**20


def pack(message: object) -> bytes:
    """Return the bytes of a message."""
    content = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(content)) + content


def read(stream: BinaryIO) -> Any:
    """Wait for a message and return it.

    Raises:
        EOFError: the other end is closed.
    """
    return pickle.loads(_read_exactly(stream, _LENGTH.unpack(_read_exactly(stream, _LENGTH.size))[0]))


def _read_exactly(stream: BinaryIO, size: int) -> bytes:
    content = stream.read(size)
    if len(content) < size:
        raise EOFError
    return content


class Channel:
    """One end of a socket that sends and receives what goes through now, and keeps the rest for the next time."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._socket = end
        self._unread, self._unsent = bytearray(), bytearray()

    def fileno(self) -> int:
        """Return the descriptor, for selectors."""
        return self._socket.fileno()

    @property
    def unsent(self) -> bool:
        """Whether a part of a message waits for the socket to be writable."""
        return bool(self._unsent)

    def send(self, message: object) -> None:
        """Send a message; that the other end is gone shows at the next `exchange`."""
        self._unsent += pack(message)
        self._flush()

    def exchange(self) -> list[Any] | None:
        """Send and receive what goes through now.

        Returns:
            The messages that are complete; None: not a byte went through.

        Raises:
            OSError: the other end is gone.
        """
        sent = self._flush()
        try:
            chunk = self._socket.recv(_CHUNK)
        except BlockingIOError:
            return [] if sent else None
        if not chunk:
            raise ConnectionResetError
        self._unread += chunk
        messages = []
        while len(self._unread) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(self._unread)[0]
            if len(self._unread) < end:
                break
            messages.append(pickle.loads(self._unread[_LENGTH.size : end]))
            del self._unread[:end]
        return messages

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _flush(self) -> bool:
        """Send on; return whether a byte went through."""
        before = len(self._unsent)
        with contextlib.suppress(OSError):  # full, or the other end is gone
            while self._unsent:
                del self._unsent[: self._socket.send(self._unsent)]
        return len(self._unsent) < before
