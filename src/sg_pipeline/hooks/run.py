"""The Kedro hook: what happens around a run, in the order in which it has to happen."""

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kedro.framework.hooks import hook_impl

from sg_pipeline.config import session
from sg_pipeline.distributed.cores import can_start, start_ranks, usable_cores
from sg_pipeline.distributed.failures import end_with_the_others
from sg_pipeline.distributed.start import check_world
from sg_pipeline.distributed.strategy import settle_strategy, strategy
from sg_pipeline.distributed.world import world
from sg_pipeline.errors import ConfigurationError
from sg_pipeline.files import ABOUT
from sg_pipeline.hooks.checkpoints import CROSS_CHECKPOINT, Checkpoints
from sg_pipeline.runs import clock
from sg_pipeline.runs.lineage import parameters_read
from sg_pipeline.runs.lock import RunLock
from sg_pipeline.runs.outputs import CLOCK, LIVE, LOCK, OF_TRAINING, data_folder, delete_outputs
from sg_pipeline.runs.stale import DECIDED, OF_RUNS, earlier_outputs, forget_stale_reports, starts_runs
from sg_pipeline.runs.steps import BASE_POLICY, FINAL_POLICY
from sg_pipeline.sampling.base import close_engines

logger = logging.getLogger(__name__)

STUDY, PLAN = "study_results", "plan"
"""Datasets by which a pipeline is known, however it was asked for."""


class RunHook:
    """A run from its start to its end."""

    def __init__(self) -> None:
        self._lock = RunLock()
        self._checkpoints = Checkpoints()
        self._delete_earlier: Callable[[], None] | None = None
        self._clock: Path | None = None
        self._nodes = 0

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Any, catalog: Any) -> None:
        """Connect the processes, take the run's name, and refuse what cannot run, before anything is counted or logged.

        A run's name belongs to one fingerprint and to one process at a time.
        """
        given, makes = session.parameters(), pipeline.all_outputs()
        self._delete_earlier = self._clock = None
        if makes == set(LIVE):  # reads finished steps only, also while another process runs the others
            self._nodes = 1
            return
        starts, only_missing = _starts(pipeline), run_params["only_missing_outputs"]
        if not starts and can_start():
            settled = only_missing and catalog.exists(BASE_POLICY)
            if (processes := _processes(given, pipeline, settled)) > 1:
                start_ranks(processes)
        # One process plans a run of several.
        check_world(None if PLAN in makes else given.distributed.ranks, given.run.processes, starts)
        settle_strategy(given.distributed.strategy)
        world().open(given.distributed.timeout_s)
        end_with_the_others(world())
        try:
            world().on_first(lambda: self._take_run(only_missing, pipeline, catalog))
            if not starts or PLAN in makes:
                _settle_libraries(given.run.threads)
            if only_missing:
                catalog.agree_on_existence(pipeline.datasets())
            self._delete_earlier = None if only_missing else _deletion(pipeline, catalog)
            self._checkpoints.begin(only_missing, makes, catalog)
        except BaseException:
            self._lock.release()
            raise
        self._nodes = 0
        if starts:
            return
        if world().first:
            self._clock = Path(catalog.get("run_identity").path).with_name(CLOCK)
            if only_missing or BASE_POLICY not in makes:  # an earlier, killed process of the run has spent time
                clock.go_on_from(self._clock)
        names = ", ".join(run_params["pipeline_names"] or ["coevolve"])
        shared = "" if world().alone else f", shared by {world().size} processes ({strategy()})"
        run = given.run
        logger.info("run '%s': %s, seed %d%s; outputs are in data/*/%s", run.name, names, run.seed, shared, run.name)

    def _take_run(self, only_missing: bool, pipeline: Any, catalog: Any) -> None:
        """Take the lock and claim the run's name."""
        from sg_pipeline.runs.identity import claim_run
        from sg_pipeline.runs.shared_steps import take_over

        parameters, makes = session.parameters(), pipeline.all_outputs()
        identity = catalog.get("run_identity")
        if identity is None:
            raise ConfigurationError("the catalog has no run_identity: restore conf/base/catalog.yml")
        path = Path(identity.path)
        data = data_folder(path, parameters.run.name)
        if STUDY in makes:
            self._lock.take(data / "08_reporting" / parameters.study.name / LOCK, parameters.study.name)
        if _starts(pipeline):  # its runs have their own names and locks, and workers share a sweep
            return
        self._lock.take(path.with_name(LOCK), parameters.run.name)
        claim_run(
            path,
            parameters,
            catalog.get("project_folder").load(),
            parameters_read(pipeline.nodes, _graph()),
            from_scratch=_trains(pipeline) and BASE_POLICY in makes,
        )
        if CROSS_CHECKPOINT in makes:
            _forget_other_checkpoints(catalog.get(CROSS_CHECKPOINT), parameters)
        if only_missing:
            if parameters.run.share and _trains(pipeline):
                take_over(data, parameters)
            forget_stale_reports(pipeline, catalog)

    @hook_impl
    def before_dataset_saved(self, dataset_name: str, node: Any) -> None:
        """Delete what this start makes again, once, before the first new output."""
        if self._delete_earlier is not None and dataset_name not in DECIDED and not starts_runs(node):
            delete, self._delete_earlier = self._delete_earlier, None
            delete()

    @hook_impl
    def after_dataset_saved(self, dataset_name: str) -> None:
        """Delete checkpoints that need not be kept."""
        self._checkpoints.saved(dataset_name)

    @hook_impl
    def after_node_run(self, node: Any, outputs: dict[str, Any]) -> None:
        """Save the time spent: a process that is killed cannot. Log a line for each step of the co-evolution."""
        from sg_pipeline.reporting.progress import progress_line

        self._nodes += 1
        if self._clock is not None:
            clock.note(self._clock)
        if node.name.rpartition(".")[2] == "train":
            metrics = next(value for name, value in outputs.items() if name.endswith("metrics"))
            logger.info("%s", progress_line(metrics, session.parameters().coevolve.steps))

    @hook_impl
    def after_pipeline_run(self, run_params: dict[str, Any]) -> None:
        """Wait for the other processes, then release the lock."""
        world().barrier()
        if not self._nodes and run_params["only_missing_outputs"]:
            logger.info("nothing to do: every output of run '%s' exists", session.parameters().run.name)
        close_engines()
        self._lock.release()

    @hook_impl
    def on_pipeline_error(self, error: Exception, catalog: Any) -> None:
        """Release the lock; name the file of a table that does not satisfy its schema: Kedro names only the dataset."""
        name = getattr(error, "dataset_name", None)
        if name is not None and hasattr(catalog.get(name), "path"):
            error.add_note(f"{ABOUT}{catalog.get(name).path}")
        close_engines()
        self._lock.release()


def _deletion(pipeline: Any, catalog: Any) -> Callable[[], None] | None:
    """Return what deletes the outputs that a start makes again (see `runs.stale`); None if there are none."""
    # Workers of a sweep have no lock, and replace its results as a whole.
    if not world().first or (_starts(pipeline) and STUDY not in pipeline.all_outputs()):
        return None
    earlier = earlier_outputs(pipeline, _graph(), catalog)
    if not earlier:
        return None
    name, path = session.parameters().run.name, Path(catalog.get("run_identity").path)

    def delete() -> None:
        if FINAL_POLICY in earlier:
            delete_outputs(data_folder(path, name), name, OF_TRAINING)
        for output in earlier:
            catalog.get(output).delete()

    if not _starts(pipeline):  # a study is compared again in any case
        logger.warning(
            "run '%s' is made again: its %d earlier outputs are deleted when the first new one is written; "
            "--only-missing-outputs would keep them",
            name,
            len(earlier),
        )
    return delete


def _graph() -> set[Any]:
    """Return the nodes of all pipelines."""
    from kedro.framework.project import pipelines

    return {node for pipeline in pipelines.values() for node in pipeline.nodes}


def _starts(pipeline: Any) -> bool:
    """Whether a pipeline is not a run itself but starts runs: it takes no name, lock or time of the run in force."""
    return any(OF_RUNS in node.tags for node in pipeline.nodes)


def _trains(pipeline: Any) -> bool:
    """Whether a pipeline has steps of the co-evolution, which have names of phases."""
    return any(node.name.endswith(".train") and node.name.startswith("phase_") for node in pipeline.nodes)


def _processes(given: Any, pipeline: Any, settled: bool) -> int:
    """Return how many processes share the work of a pipeline; `settled`: its base policy need not be made."""
    if given.run.processes is not None:
        return int(given.run.processes)
    names = {node.name.rpartition(".")[2] for node in pipeline.nodes}
    alone = {"distill_guide"} if settled else {"distill_guide", "imitate"}
    long = _trains(pipeline) or any(name.startswith(("play_", "validation_")) for name in names)
    if not long or names & alone or given.base_model.device != "cpu" or given.sampling.engine != "transformers":
        return 1
    return max(1, min(usable_cores() // given.run.threads, given.rollout.tasks_per_step))


def _forget_other_checkpoints(table: Any, parameters: Any) -> None:
    """Delete the table of a cross-checkpoint evaluation of other checkpoints: Kedro would take it for done."""
    if not table.exists():
        return
    policy, guides = parameters.cross_checkpoint.steps(parameters.coevolve)
    if {(row["policy_step"], row["guide_step"]) for row in table.load()} != {(policy, guide) for guide in guides}:
        table.path.unlink()


def _settle_libraries(threads: int) -> None:
    """Set the thread count (results depend on it in their last bits), and silence telemetry and progress bars.

    By environment variables where torch has not been imported yet, which takes two seconds: not every node needs it.
    """
    for name, value in {
        "OMP_WAIT_POLICY": "PASSIVE",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "TRL_EXPERIMENTAL_SILENCE": "1",
    }.items():
        os.environ.setdefault(name, value)
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(threads)
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(threads)
    if "transformers" in sys.modules:
        import transformers

        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()
