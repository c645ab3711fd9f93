"""How far a long phase has come, how fast, and how long it still takes: a line that a terminal updates in place.

Where the output is no terminal it is a line of the log, one a minute. tqdm counts; it is not used as it is, since what
it writes between two lines of a log cannot be read there.
"""

import logging
import sys
from typing import Any

from tqdm import tqdm

logger = logging.getLogger(__name__)

_SOON_S, _MINUTE_S = 2.0, 60.0


class ProgressBar(tqdm):  # type: ignore[type-arg]
    """A context manager; `update(n)` counts. Phases of less than two seconds (in a log, a minute) show nothing.

    Without log lines of the level INFO there is none. Of several processes the first alone has them: it shows its part.
    """

    monitor_interval = 0  # no thread beside the environments' processes

    def __init__(self, what: str, total: float | None, unit: str) -> None:
        """Begin a phase.

        Args:
            what: is done, such as "compiling games".
            total: of `unit`; None: unknown.
            unit: in the plural.
        """
        self._in_place = sys.stdout.isatty()
        wait = _SOON_S if self._in_place else _MINUTE_S
        super().__init__(
            desc=what,
            total=total,
            unit=f" {unit}",
            unit_scale=True,
            leave=False,
            file=sys.stdout,
            delay=wait,
            mininterval=0.2 if self._in_place else wait,
            miniters=1,
            dynamic_ncols=True,
            disable=not logger.isEnabledFor(logging.INFO),
        )

    def display(self, msg: str | None = None, pos: int | None = None) -> Any:
        """Show the present state."""
        if self._in_place:
            return super().display(msg, pos)
        if msg is None:  # else it clears the line
            logger.info("%s", self.format_meter(**{**self.format_dict, "ncols": 0}))  # 0: no bar
        return True
