"""Nodes of the validation pipeline."""

import logging
from pathlib import Path
from typing import Any

from sg_pipeline.config.environment import EnvironmentConfig
from sg_pipeline.config.evaluation import WITH_GUIDANCE, WITHOUT_GUIDANCE, EvaluationConfig, ValidationConfig
from sg_pipeline.config.rollout import RolloutConfig
from sg_pipeline.config.run import RunConfig
from sg_pipeline.config.sampling import SamplingConfig
from sg_pipeline.distributed.world import world
from sg_pipeline.environments.registry import load_benchmark
from sg_pipeline.evaluation.metrics import score_episodes
from sg_pipeline.evaluation.play import check_apart, evaluate, evaluated_splits
from sg_pipeline.pipelines.player import player_of
from sg_pipeline.reporting.progress import evaluation_lines
from sg_pipeline.rollouts.play import TRAIN

logger = logging.getLogger(__name__)


def prepare_validation_panel(
    config: ValidationConfig,
    evaluation: EvaluationConfig,
    environment: EnvironmentConfig,
    tasks: Any,
    panel: dict[str, Any],
    games: Path,
    compiled_games: Path,
    project: Path,
) -> dict[str, Any]:
    """Check that the validation tasks can be played, and that the run plays none of them otherwise.

    Args:
        config: which panel.
        evaluation: the splits that judge the policy; a split of the panel that is neither trained on nor evaluated may
            hold the validation tasks.
        environment: names the benchmark.
        tasks: its section `tasks`.
        panel: the run's own, prepared.
        games, compiled_games: folders.
        project: base of relative paths in the configuration.

    Returns:
        The prepared panel.
    """
    benchmark = load_benchmark(environment.name)
    wanted = config.tasks(tasks)
    prepared: dict[str, Any] = world().on_first(lambda: benchmark.prepare(wanted, games, compiled_games, project))
    played = {split: panel["splits"][split] for split in (TRAIN, *evaluated_splits(panel, evaluation))}
    check_apart(prepared, config.split, played, config.panel)
    return prepared


def validate_policy(
    written: Any,
    panel: dict[str, Any],
    games: Path,
    compiled: Path,
    environment: EnvironmentConfig,
    rollout: RolloutConfig,
    sampling: SamplingConfig,
    config: ValidationConfig,
    evaluation: EvaluationConfig,
    run: RunConfig,
    folder: Path | None = None,
    guide: Any = None,
) -> dict[str, Any]:
    """Play the validation games.

    Args:
        written: the policy, which is saved by now.
        panel, games, compiled: what to play.
        environment, rollout, sampling, config, run: parameters; of `evaluation` only how many episodes are played
            at once.
        folder: the checkpoint to load: `written` may be the live policy, which is being trained; None for the
            final policy, which does not change any more.
        guide: writes the guidance in the policy's place.

    Returns:
        `after` (steps of training), `mode`, `panel_sha256`, and its `metrics.score_episodes`.
    """
    from sg_pipeline.policies.checkpoint import load_policy

    mode = WITH_GUIDANCE if rollout.guidance else WITHOUT_GUIDANCE
    policy = written if folder is None else load_policy(folder, str(written.model.device))
    own = config.evaluation(rollout.guidance, evaluation.batch_rows)
    with player_of(policy, panel, games, compiled, environment, rollout, sampling, run, guide) as player:
        episodes = evaluate(player, panel, mode, own)
    score = score_episodes(episodes, run.seed)
    for line in evaluation_lines({mode: {"validation": score}}, policy.step):
        logger.info("%s", line)
    return {"after": policy.step, "mode": mode, "panel_sha256": panel["sha256"], **score}
