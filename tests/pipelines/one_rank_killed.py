"""`kedro` of which one rank is killed with SIGKILL: torchrun … one_rank_killed.py RANK MOMENT STEP run …"""

import os
import sys

import self_killing_run

if __name__ == "__main__":
    from kedro.framework.cli import main

    rank, moment, step = sys.argv[1:4]
    del sys.argv[1:4]
    if os.environ["RANK"] == rank:
        getattr(self_killing_run, moment)(int(step))
    main()
