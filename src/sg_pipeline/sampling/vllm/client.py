"""Requests to one vLLM server, many at a time, by an event loop in a thread.

A connection that breaks is tried again, which is safe: a turn is drawn from its own seed, and an update sends all of
the new weights. A server that does not answer in time is not asked again: it hangs.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Coroutine
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any, TypeVar

import aiohttp

T = TypeVar("T")

_ATTEMPTS = 4
_FIRST_PAUSE_S = 0.5
"""Before the second attempt; twice as long before each further one."""
_CONNECT_S = 10.0
_KEPT_S = 4.0
"""An idle connection is closed before the server does so (after 5 s), which could coincide with the next request."""
_KEY = "VLLM_API_KEY"
"""The variable in which vLLM, too, looks for its key."""


class NoAnswerError(Exception):
    """The server cannot be reached, or does not answer."""


class RefusalError(Exception):
    """The server answers with an error: its message, and the `status` of HTTP."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Client:
    """Calls one server. A request raises `NoAnswerError` or `RefusalError`."""

    def __init__(self, url: str, answer_s: float, attempts: int = _ATTEMPTS) -> None:
        """Start the thread, without connecting; `answer_s` is how long to wait for an answer to a request."""
        self.url = url
        self._attempts = attempts
        self._answer_s = answer_s
        self._under_way: dict[Future[Any], int] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"client of {url}", daemon=True)
        self._thread.start()
        self._session = self._wait(self._open())

    def get(self, path: str, **parameters: str) -> Any:
        """Return the answer to GET, read as JSON (None if it is empty)."""
        return self._wait(self._ask("GET", path, params=parameters))

    def post(self, path: str, body: Any = None, **parameters: str) -> Any:
        """Return the answer to POST, as `get` does."""
        return self._wait(self._ask("POST", path, params=parameters, json=body))

    def begin(self, key: int, path: str, body: Any) -> None:
        """Start a POST; `finished` returns the answer under `key`."""
        self._under_way[asyncio.run_coroutine_threadsafe(self._ask("POST", path, json=body), self._loop)] = key

    def finished(self, wait_s: float) -> list[tuple[int, Any]]:
        """Return new answers, an exception for a request that failed; wait up to `wait_s` for the first one."""
        done, _ = wait(self._under_way, timeout=wait_s, return_when=FIRST_COMPLETED)
        return [(self._under_way.pop(future), future.exception() or future.result()) for future in done]

    def forget(self) -> None:
        """Cancel all requests that were begun; the server then drops them as well."""
        for future in self._under_way:
            future.cancel()
        self._under_way.clear()

    def close(self) -> None:
        """End the thread; the client is not used again."""
        self.forget()
        self._wait(self._session.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _open(self) -> aiohttp.ClientSession:
        key = os.environ.get(_KEY)
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEPT_S),
            timeout=aiohttp.ClientTimeout(total=self._answer_s, sock_connect=_CONNECT_S),
            headers={"Authorization": f"Bearer {key}"} if key else {},
        )

    async def _ask(self, method: str, path: str, **arguments: Any) -> Any:
        for attempt in range(self._attempts):
            if attempt:
                await asyncio.sleep(_FIRST_PAUSE_S * 2 ** (attempt - 1))
            try:
                async with self._session.request(method, self.url + path, **arguments) as response:
                    return _read(response.status, await response.read())
            except TimeoutError as error:
                silence = f"no answer within {self._answer_s:g} s (sampling.server.answer_s)"
                connecting = isinstance(error, aiohttp.ConnectionTimeoutError)
                raise NoAnswerError(f"no connection within {_CONNECT_S:g} s" if connecting else silence) from error
            except aiohttp.ClientError as error:
                failure = error
        raise NoAnswerError(str(failure) or type(failure).__name__) from failure


def _read(status: int, body: bytes) -> Any:
    try:
        answer = json.loads(body) if body else None
    except ValueError:
        answer = None
    if status < 400:
        return answer
    message = answer.get("error", answer.get("detail")) if isinstance(answer, dict) else None
    message = message.get("message") if isinstance(message, dict) else message
    raise RefusalError(status, str(message or body[:200].decode(errors="replace")))
