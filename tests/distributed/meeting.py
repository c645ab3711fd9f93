"""Three processes exchange values and errors, then one hangs; under torchrun, with an output folder."""

import sys
import time
from pathlib import Path

from sg_pipeline.distributed.failures import end_with_the_others, is_lost, leave_together, lost, release_others
from sg_pipeline.distributed.world import printed_elsewhere, world
from sg_pipeline.errors import DataError, RankError

TIMEOUT_S = 8.0


def main(folder: Path) -> None:
    """Exchange, fail together in every way, and lose the third process."""
    here = world()
    assert here.size == 3
    here.open(TIMEOUT_S)
    end_with_the_others(here)
    assert here.gather(here.rank * 10) == [0, 10, 20]
    assert here.broadcast({"rank": here.rank}) == {"rank": 0}
    assert here.on_first(lambda: here.rank) == 0
    assert here.everywhere(lambda: here.rank + 1) == [1, 2, 3]
    assert here.seconds > 0

    error = _error(lambda: here.on_first(_damaged))
    assert isinstance(error, DataError)
    assert str(error) == "damaged on rank 0"
    assert printed_elsewhere(error) == (here.rank != 0)

    error = _error(lambda: here.everywhere(_damaged if here.rank == 1 else lambda: None))
    assert isinstance(error, DataError)
    assert str(error) == "damaged on rank 1"
    assert printed_elsewhere(error) == (here.rank != 1)

    error = _error(lambda: here.everywhere(lambda: 1 / (here.rank - 2)))
    assert isinstance(error, ZeroDivisionError if here.rank == 2 else RankError)
    assert printed_elsewhere(error) == (here.rank != 2)

    own = here.each(lambda: Path if here.rank else here)
    assert own is (Path if here.rank else here), "the own result of a rank is not pickled"
    error = _error(lambda: here.each(_damaged if here.rank == 2 else lambda: None))
    assert str(error) == "damaged on rank 2"

    here.agree(None)
    assert str(_error(lambda: here.agree("no" if here.rank == 1 else None))) == "no"
    (folder / f"met_{here.rank}").touch()
    _one_reports(folder)

    here.failing = False  # as at the beginning
    if here.rank == 2:
        time.sleep(4 * TIMEOUT_S)
    error = _error(here.barrier)
    assert isinstance(error, RankError) or is_lost(error), error
    print(f"lost: {lost(here)}", file=sys.stderr, flush=True)
    time.sleep(2.0)  # the launcher ends the others as soon as one is gone
    sys.exit(1)


def _one_reports(folder: Path) -> None:
    """All fail with the same error, and one of them prints it."""
    here = world()
    try:
        leave_together(DataError("a panel that all read is damaged"), "a panel that all read is damaged")
    except SystemExit:
        return
    (folder / f"printed_{here.rank}").touch()
    release_others()


def _damaged() -> None:
    raise DataError(f"damaged on rank {world().rank}")


def _error(function) -> Exception:
    try:
        function()
    except Exception as error:
        return error
    raise AssertionError("no error")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
