"""Values that are read in the background, so that nobody waits for them."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from rollout.base.logger import get_logger

__all__ = ["Refreshed"]

log = get_logger(__name__)

_KEYS = 32
"""So many values are kept; who asks for more has the oldest forgotten."""

_Value = TypeVar("_Value")


class Refreshed(Generic[_Value]):
    """The last value of each key, at most ``seconds`` old while somebody asks for it."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._under_way: set[Hashable] = set()
        self._values: OrderedDict[Hashable, tuple[float, _Value]] = OrderedDict()

    def get(self, key: Hashable, read: Callable[[], _Value]) -> _Value | None:
        """The value of ``key``; None before the first, and where the last is too old to be shown.

        An old one is read anew by ``read`` in a thread of its own, one at a time for each key.
        """
        with self._lock:
            at, value = self._values.get(key, (None, None))
            age = None if at is None else self._clock() - at
            begin = (age is None or age >= self._seconds) and key not in self._under_way
            if begin and len(self._under_way) < _KEYS:
                self._under_way.add(key)
                threading.Thread(target=self._read, args=(key, read), daemon=True).start()
        return value if age is not None and age < 3 * self._seconds else None

    def _read(self, key: Hashable, read: Callable[[], _Value]) -> None:
        began = self._clock()
        try:
            value = read()
        except Exception as error:  # noqa: BLE001 - nothing is shown then, and it is tried again
            log.warning("what the page shows could not be read", error=str(error))
            with self._lock:
                self._under_way.discard(key)
            return
        with self._lock:
            self._under_way.discard(key)
            self._values[key] = (began, value)
            self._values.move_to_end(key)
            while len(self._values) > _KEYS:
                self._values.popitem(last=False)
