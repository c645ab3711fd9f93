"""Progress of a long phase, with its rate and the time left: one line that a terminal updates in place.

Without a terminal it is one log line a minute: tqdm's own output is not readable in a log.
"""

import logging
import sys
from typing import Any

from tqdm import tqdm

logger = logging.getLogger(__name__)

_SOON_S, _MINUTE_S = 2.0, 60.0


class ProgressBar(tqdm):  # type: ignore[type-arg]
    """A context manager; `update(n)` counts. Phases shorter than two seconds (in a log, a minute) show nothing.

    Nothing is shown where INFO messages are not logged. Of several processes only the first logs them, and shows its
    own part.
    """

    monitor_interval = 0  # without tqdm's thread

    def __init__(self, what: str, total: int, unit: str, done: int = 0) -> None:
        """Begin a phase.

        Args:
            what: the activity, such as "compiling games".
            total: amount of `unit`.
            unit: in the plural.
            done: amount that an earlier start has done.
        """
        self._in_place = sys.stdout.isatty()
        wait = _SOON_S if self._in_place else _MINUTE_S
        super().__init__(
            desc=what,
            total=total,
            initial=done,
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
