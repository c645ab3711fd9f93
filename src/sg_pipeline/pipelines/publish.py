"""Upload of a policy to the Hugging Face Hub: off unless `publish.push_to_hub` is true."""

import logging
from pathlib import Path
from typing import Any

from kedro.pipeline import Node, Pipeline

from sg_pipeline.config.run import PublishConfig, RunConfig
from sg_pipeline.errors import CheckpointError, ConfigurationError

logger = logging.getLogger(__name__)


def create_pipeline() -> Pipeline:
    """Return the pipeline that publishes a policy of a finished run."""
    inputs = ["policies", "params:publish", "params:run"]
    return Pipeline([Node(publish_policy, inputs, "publication", name="publish_policy")])


def publish_policy(policies: Path, config: PublishConfig, run: RunConfig) -> dict[str, Any]:
    """Upload weights, tokenizer and model card of a policy to the Hugging Face Hub.

    The manifest is not uploaded, since it lists local files. The uploaded policy is read by `from_pretrained`, or with
    base_model.source=pretrained.

    Returns:
        JSON-ready: `repo_id`, `url`, `commit`, `policy` (folder relative to `policies`), `files` (names).

    Raises:
        ConfigurationError: publishing is off, no repository is named, or there is no token.
        CheckpointError: the policy or its card is missing, or the Hub rejects the upload.
    """
    from huggingface_hub import HfApi, get_token

    from sg_pipeline.policies.checkpoint import MANIFEST
    from sg_pipeline.policies.optimizer_files import PATTERN

    if not config.push_to_hub:
        raise ConfigurationError(
            "publish.push_to_hub is false, so nothing is uploaded: set it to true (--params "
            "publish.push_to_hub=true,publish.repo_id=OWNER/NAME) to publish the run's policy"
        )
    if config.repo_id is None:
        raise ConfigurationError("publish.repo_id is null: name the repository, such as 'owner/name'")
    if get_token() is None:
        raise ConfigurationError(
            f"there is no Hugging Face token: run `hf auth login` or set HF_TOKEN to one that may write to "
            f"'{config.repo_id}'"
        )
    folder = _policy_folder(policies, config)
    ignored = [MANIFEST, ".*", *([] if config.optimizer else [PATTERN])]
    api = HfApi()
    try:
        url = api.create_repo(config.repo_id, private=config.private, repo_type="model", exist_ok=True)
        commit = api.upload_folder(
            repo_id=config.repo_id,
            folder_path=folder,
            repo_type="model",
            ignore_patterns=ignored,
            commit_message=f"{config.policy} policy of run {run.name}",
        )
    except (OSError, ValueError) as error:  # what huggingface_hub raises for a failed request
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"'{folder}' could not be uploaded to '{config.repo_id}': {reason}") from error
    logger.info("%s policy of run '%s' published: %s", config.policy, run.name, url)
    return {
        "repo_id": config.repo_id,
        "url": str(url),
        "commit": str(commit.oid),
        "policy": folder.relative_to(policies).as_posix(),
        "files": [path.name for path in sorted(folder.iterdir()) if not any(map(path.match, ignored))],
    }


def _policy_folder(policies: Path, config: PublishConfig) -> Path:
    """Return the folder of the policy to publish, which is whole and has its card."""
    from sg_pipeline.policies.checkpoint import CARD, is_whole
    from sg_pipeline.policies.retention import read_best

    folder = policies / "final"
    if config.policy == "best":
        best = read_best(policies)
        if best is None:
            raise ConfigurationError(
                f"publish.policy is 'best', but {policies} has no best.json: run with checkpoints.best=train_success, "
                f"or publish the final policy"
            )
        folder = policies / best["folder"]
    if not is_whole(folder):
        raise CheckpointError(f"there is no complete policy in {folder}; run the pipeline coevolve first")
    if not (folder / CARD).is_file():
        raise CheckpointError(f"{folder / CARD} does not exist; run the pipeline report, which writes the model card")
    return folder
