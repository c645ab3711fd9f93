"""Success of every policy that a run saves, on the validation panel."""

import logging
from pathlib import Path
from typing import Any

from kedro.pipeline import Node, Pipeline

from sg_pipeline.config.environment import EnvironmentConfig
from sg_pipeline.config.evaluation import WITH_GUIDANCE, WITHOUT_GUIDANCE, EvaluationConfig, ValidationConfig
from sg_pipeline.config.rewards import TrustSchedule
from sg_pipeline.config.run import CoevolveConfig, step_number, written_steps
from sg_pipeline.distributed.world import world
from sg_pipeline.environments.registry import load_benchmark
from sg_pipeline.evaluation.metrics import score_episodes
from sg_pipeline.evaluation.play import check_apart, evaluate, evaluated_splits
from sg_pipeline.pipelines.player import PLAYER, player_of
from sg_pipeline.pipelines.tasks import PREPARED
from sg_pipeline.reporting.progress import evaluation_lines
from sg_pipeline.rollouts.play import TRAIN
from sg_pipeline.runs.steps import FINAL_POLICY, GUIDE, VALIDATION, unroll, validation_output

logger = logging.getLogger(__name__)


def create_pipeline(config: CoevolveConfig, schedule: TrustSchedule, guided: bool = False) -> Pipeline:
    """Return the validation of all checkpoints and of the final policy; `guided`: a frozen guide writes the guidance.

    A checkpoint is played as it is on disk: its dataset may be the live policy, which is being trained.
    """
    nodes = [panel_node()]
    written = {place.index + 1: place for place in unroll(config, schedule)}
    for after in written_steps(config)[1:]:
        place = written[after]
        saved = f"{VALIDATION}.folder_{step_number(place.index, config.steps)}"
        folder = None if place.policy_out == FINAL_POLICY else saved
        nodes.append(validation_node(place.policy_out, folder, validation_output(after, config.steps), guided))
    return Pipeline(nodes)


def panel_node() -> Node:
    """Return the node that prepares the validation games."""
    prepared = ["params:validation", "params:evaluate", "params:environment", "params:tasks", "panel", *PREPARED]
    return Node(prepare_validation_panel, prepared, "validation_panel", name="prepare_validation_panel")


def validation_node(policy: str, folder: str | None, output: str, guided: bool) -> Node:
    """Return the node that lets one policy play the validation games.

    Args:
        policy: its dataset.
        folder: dataset of its folder, where the live policy is trained further; None: it is not.
        output: dataset of the result.
        guided: a frozen guide writes the guidance.
    """
    own = {"panel": "validation_panel", "policy": policy}
    inputs = ["params:validation", "params:evaluate", *(own.get(name, name) for name in PLAYER)]
    inputs += [GUIDE] if guided else []
    if folder is None:
        return Node(validate_policy, inputs, output, name=output.replace(".", "_"))
    return Node(validate_checkpoint, [folder, *inputs], output, name=output.replace(".", "_"))


def prepare_validation_panel(
    config: ValidationConfig,
    evaluation: EvaluationConfig,
    environment: EnvironmentConfig,
    tasks: Any,
    panel: dict[str, Any],
    *folders: Path,
) -> dict[str, Any]:
    """Check that the validation tasks can be played, and that the run plays none of them otherwise; return the panel.

    Args:
        config: which panel.
        evaluation: the splits that judge the policy; a split of the panel that is neither trained on nor evaluated may
            hold the validation tasks.
        environment: names the benchmark.
        tasks: its section `tasks`.
        panel: the run's own, prepared.
        folders: `PREPARED`.
    """
    benchmark = load_benchmark(environment.name)
    wanted = config.tasks(tasks)
    prepared: dict[str, Any] = world().on_first(lambda: benchmark.prepare(wanted, *folders))
    played = {split: panel["splits"][split] for split in (TRAIN, *evaluated_splits(panel, evaluation))}
    check_apart(prepared, config.split, played, config.panel)
    return prepared


def validate_policy(
    config: ValidationConfig, evaluation: EvaluationConfig, panel: dict[str, Any], *player: Any
) -> dict[str, Any]:
    """Play the validation games.

    Args:
        config: how to play them.
        evaluation: only how many episodes are played at once.
        panel, player: see `player_of`.

    Returns:
        `after` (steps of training), `mode`, `panel_sha256`, and its `metrics.score_episodes`.
    """
    with player_of(panel, *player) as playing:
        guidance, step, seed = playing.config.guidance, playing.policy.step, playing.seed
        mode = WITH_GUIDANCE if guidance else WITHOUT_GUIDANCE
        episodes = evaluate(playing, panel, mode, config.evaluation(guidance, evaluation.batch_rows))
    score = score_episodes(episodes, seed)
    for line in evaluation_lines({mode: {"validation": score}}, step):
        logger.info("%s", line)
    return {"after": step, "mode": mode, "panel_sha256": panel["sha256"], **score}


def validate_checkpoint(
    folder: Path,
    config: ValidationConfig,
    evaluation: EvaluationConfig,
    panel: dict[str, Any],
    written: Any,
    *rest: Any,
) -> dict[str, Any]:
    """Validate the policy that was written to `folder`, on the device of `written`."""
    from sg_pipeline.policies.checkpoint import load_policy

    return validate_policy(config, evaluation, panel, load_policy(folder, str(written.model.device)), *rest)
