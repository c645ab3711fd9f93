"""`kedro` on ranks of which one cannot import vLLM: torchrun … one_rank_without_vllm.py RANK run …"""

import os
import sys

if __name__ == "__main__":
    from kedro.framework.cli import main

    rank = sys.argv.pop(1)
    if os.environ["RANK"] == rank:
        sys.modules["vllm"] = None  # type: ignore[assignment]
    main()
