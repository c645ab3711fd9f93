"""`kedro` on a CPU whose vLLM believes that it can give memory back: python sleeping_run.py FILE run …

What vLLM's worker is asked for, and when the policy is trained, is written to FILE, a word a line.
"""

import sys
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    from kedro.framework.cli import main
    from vllm.platforms import current_platform
    from vllm.v1.worker.cpu_worker import CPUWorker

    from sg_pipeline.training import learner

    diary, done = Path(sys.argv.pop(1)), []

    def note(owner: Any, name: str) -> None:
        """Write the name of `owner`'s function whenever it is called."""
        original = getattr(owner, name)

        def noted(*arguments: Any, **named: Any) -> Any:
            done.append(name)
            diary.write_text("\n".join(done), encoding="utf-8")
            return original(*arguments, **named)

        setattr(owner, name, noted)

    current_platform.is_sleep_mode_available = lambda: True
    for method in ("sleep", "wake_up", "reload_weights"):
        note(CPUWorker, method)
    note(learner, "train_step")
    main()
