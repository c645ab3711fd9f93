"""Kedro hooks: run identity, ranks, engines, clock, progress."""

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kedro.framework.hooks import hook_impl

from sg_pipeline.config import session
from sg_pipeline.distributed.failures import end_with_the_others
from sg_pipeline.distributed.start import check_world
from sg_pipeline.distributed.strategy import settle_strategy, strategy
from sg_pipeline.distributed.world import world
from sg_pipeline.errors import ConfigurationError
from sg_pipeline.files import ABOUT
from sg_pipeline.runs import clock
from sg_pipeline.runs.lineage import parameters_read
from sg_pipeline.runs.lock import RunLock
from sg_pipeline.runs.outputs import CLOCK, LOCK, OF_TRAINING, data_folder, delete_outputs
from sg_pipeline.runs.stale import DECIDED, OF_RUNS, earlier_outputs, forget_stale_reports, starts_runs
from sg_pipeline.runs.steps import BASE_POLICY, FINAL_POLICY
from sg_pipeline.sampling.base import close_engines

logger = logging.getLogger(__name__)

STUDY, CROSS_CHECKPOINT, PLAN = "study_results", "cross_checkpoint.table", "plan"
"""Datasets by which a pipeline is known, however it was asked for."""


class RanksHook:
    """Processes that share a run start and end together, and skip the same nodes."""

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, pipeline: Any) -> None:
        """Check the world size and connect the processes."""
        config = session.parameters().distributed
        ranks = None if PLAN in pipeline.all_outputs() else config.ranks  # one process plans a run of several
        check_world(ranks, _starts(pipeline))
        settle_strategy(config.strategy)
        world().open(config.timeout_s)
        end_with_the_others(world())

    @hook_impl(tryfirst=True)
    def after_pipeline_run(self) -> None:
        """Wait for the others before rank 0 releases the lock."""
        world().barrier()


class RunIdentityHook:
    """A run's name belongs to one fingerprint and to one process at a time."""

    def __init__(self) -> None:
        self._lock = RunLock()

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Any, catalog: Any) -> None:
        """Compare the run's fingerprint with the recorded one, then set what depends on the machine otherwise."""
        try:
            world().on_first(lambda: self._take_run(run_params, pipeline, catalog))
            if not _starts(pipeline) or PLAN in pipeline.all_outputs():
                _settle_libraries(session.parameters().run.threads)
            if run_params["only_missing_outputs"]:
                catalog.agree_on_existence(pipeline.datasets())
        except BaseException:
            self._lock.release()
            raise

    def _take_run(self, run_params: dict[str, Any], pipeline: Any, catalog: Any) -> None:
        """Take the lock and claim the run's name."""
        from sg_pipeline.runs.identity import claim_run
        from sg_pipeline.runs.shared_steps import take_over

        parameters = session.parameters()
        identity = catalog.get("run_identity")
        if identity is None:
            raise ConfigurationError("the catalog has no run_identity: restore conf/base/catalog.yml")
        path = Path(identity.path)
        if STUDY in pipeline.all_outputs():
            reports = data_folder(path, parameters.run.name) / "08_reporting"
            self._lock.take(reports / parameters.study.name / LOCK, parameters.study.name)
        if _starts(pipeline):  # its runs have their own names and locks, and workers share a sweep
            return
        self._lock.take(path.with_name(LOCK), parameters.run.name)
        claim_run(
            path,
            parameters,
            catalog.get("project_folder").load(),
            parameters_read(pipeline.nodes, _graph()),
            from_scratch=_trains(pipeline) and BASE_POLICY in pipeline.all_outputs(),
        )
        if CROSS_CHECKPOINT in pipeline.all_outputs():
            _forget_other_checkpoints(catalog.get(CROSS_CHECKPOINT), parameters)
        if parameters.run.share and run_params["only_missing_outputs"] and _trains(pipeline):
            take_over(data_folder(path, parameters.run.name), parameters)
        if run_params["only_missing_outputs"]:
            forget_stale_reports(pipeline, catalog)

    @hook_impl
    def after_pipeline_run(self) -> None:
        """Release the run lock."""
        self._lock.release()

    @hook_impl
    def on_pipeline_error(self) -> None:
        """Release the run lock."""
        self._lock.release()


class RemakingHook:
    """Delete what a start makes again before it writes its first output, see `runs.stale`."""

    def __init__(self) -> None:
        self._waiting: Callable[[], None] | None = None

    @hook_impl(trylast=True)  # the run is ours when `RunIdentityHook` has locked it
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Any, catalog: Any) -> None:
        """Find what that is. Workers of a sweep have no lock, and replace its results as a whole."""
        self._waiting = None
        if run_params["only_missing_outputs"] or not world().first:
            return
        if _starts(pipeline) and STUDY not in pipeline.all_outputs():
            return
        earlier = earlier_outputs(pipeline, _graph(), catalog)
        if not earlier:
            return
        given = session.parameters()
        path = Path(catalog.get("run_identity").path)

        def delete() -> None:
            if FINAL_POLICY in earlier:
                delete_outputs(data_folder(path, given.run.name), given.run.name, OF_TRAINING)
            for name in earlier:
                catalog.get(name).delete()

        if not _starts(pipeline):  # a study is compared again in any case
            logger.warning(
                "run '%s' is made again: its %d earlier outputs are deleted when the first new one is written; "
                "--only-missing-outputs would keep them",
                given.run.name,
                len(earlier),
            )
        self._waiting = delete

    @hook_impl
    def before_dataset_saved(self, dataset_name: str, node: Any) -> None:
        """Delete it once, before the first new output."""
        if self._waiting is not None and dataset_name not in DECIDED and not starts_runs(node):
            delete, self._waiting = self._waiting, None
            delete()


class EngineHook:
    """End the sampling engine with the run."""

    @hook_impl
    def after_pipeline_run(self) -> None:
        """Close it."""
        close_engines()

    @hook_impl
    def on_pipeline_error(self) -> None:
        """Close it."""
        close_engines()


class FileHook:
    """Adds the file to an error, where Kedro knows only the dataset's name."""

    @hook_impl
    def on_pipeline_error(self, error: Exception, catalog: Any) -> None:
        """Add the file of a table that does not satisfy its schema."""
        name = getattr(error, "dataset_name", None)
        if name is not None and hasattr(catalog.get(name), "path"):
            error.add_note(f"{ABOUT}{catalog.get(name).path}")


class ClockHook:
    """The run's clock continues from an earlier, killed process of the run."""

    def __init__(self) -> None:
        self._path: Path | None = None

    @hook_impl(trylast=True)  # the run is ours when `RunIdentityHook` has locked it
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Any, catalog: Any) -> None:
        """Add the time spent before, unless the run starts again."""
        self._path = None
        if _starts(pipeline) or not world().first:
            return
        self._path = Path(catalog.get("run_identity").path).with_name(CLOCK)
        if run_params["only_missing_outputs"] or BASE_POLICY not in pipeline.all_outputs():
            clock.go_on_from(self._path)

    @hook_impl
    def after_node_run(self) -> None:
        """Save it: a process that is killed cannot."""
        if self._path is not None:
            clock.note(self._path)


class ProgressHook:
    """Logs what runs, one line for each co-evolution step, and when there is nothing to do."""

    def __init__(self) -> None:
        self._nodes = 0

    @hook_impl(trylast=True)  # a run that is refused has not started
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Any) -> None:
        """Log which run this is."""
        self._nodes = 0
        if _starts(pipeline):
            return
        run = session.parameters().run
        names = ", ".join(run_params["pipeline_names"] or ["coevolve"])
        shared = "" if world().alone else f", shared by {world().size} processes ({strategy()})"
        logger.info("run '%s': %s, seed %d%s; outputs are in data/*/%s", run.name, names, run.seed, shared, run.name)

    @hook_impl
    def after_pipeline_run(self, run_params: dict[str, Any]) -> None:
        """Log that every output existed already."""
        if not self._nodes and run_params["only_missing_outputs"]:
            logger.info("nothing to do: every output of run '%s' exists", session.parameters().run.name)

    @hook_impl
    def after_node_run(self, node: Any, outputs: dict[str, Any]) -> None:
        """Print the line when a step's `train` node has run."""
        from sg_pipeline.reporting.progress import progress_line

        self._nodes += 1
        if node.name.rpartition(".")[2] == "train":
            metrics = next(value for name, value in outputs.items() if name.endswith("metrics"))
            logger.info("%s", progress_line(metrics, session.parameters().coevolve.steps))


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
