"""Upload of a policy's folder to the Hugging Face Hub. Off unless a user turns it on."""

import logging
from pathlib import Path
from typing import Any

from sg_pipeline.config.publish import PublishConfig
from sg_pipeline.errors import CheckpointError, ConfigurationError
from sg_pipeline.policies.checkpoint import CARD, MANIFEST, is_whole
from sg_pipeline.policies.optimizer_files import PATTERN
from sg_pipeline.policies.retention import read_best

logger = logging.getLogger(__name__)


def publish(models: Path, config: PublishConfig, run: str) -> dict[str, Any]:
    """Upload weights, tokenizer and model card of a policy.

    The manifest stays here: it lists what is not uploaded. Who downloads the policy reads it with
    `from_pretrained`, or with base_model.source=pretrained.

    Args:
        models: folder of the run's policies.
        config: what, and where to.
        run: the run's name, for the commit's message.

    Returns:
        JSON-ready: `repo_id`, `url`, `commit`, `policy` (its folder, relative to `models`), `files` (names).

    Raises:
        ConfigurationError: publishing is off, no repository is named, or there is no token.
        CheckpointError: the policy or its card is missing, or the Hub refuses.
    """
    from huggingface_hub import HfApi, get_token

    if not config.push_to_hub:
        raise ConfigurationError(
            "publish.push_to_hub is false, so nothing is uploaded: set it to true (--params "
            "publish.push_to_hub=true,publish.repo_id=OWNER/NAME) to publish the run's policy"
        )
    if config.repo_id is None:
        raise ConfigurationError("publish.repo_id is null: name the repository, such as 'owner/name'")
    if get_token() is None:
        raise ConfigurationError(
            "there is no Hugging Face token: run `hf auth login` or set HF_TOKEN to one that may write to "
            f"'{config.repo_id}'"
        )
    folder = _folder(models, config)
    ignored = [MANIFEST, ".*", *([] if config.optimizer else [PATTERN])]
    api = HfApi()
    try:
        url = api.create_repo(config.repo_id, private=config.private, repo_type="model", exist_ok=True)
        commit = api.upload_folder(
            repo_id=config.repo_id,
            folder_path=folder,
            repo_type="model",
            ignore_patterns=ignored,
            commit_message=f"{config.policy} policy of run {run}",
        )
    except (OSError, ValueError) as error:  # what huggingface_hub raises for a refused or failed request
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"'{folder}' could not be uploaded to '{config.repo_id}': {reason}") from error
    names = [path.name for path in sorted(folder.iterdir()) if not any(path.match(pattern) for pattern in ignored)]
    logger.info("%s policy of run '%s' published: %s", config.policy, run, url)
    return {
        "repo_id": config.repo_id,
        "url": str(url),
        "commit": str(commit.oid),
        "policy": folder.relative_to(models).as_posix(),
        "files": names,
    }


def _folder(models: Path, config: PublishConfig) -> Path:
    """Return the folder of the policy that is published; it is whole and has its card."""
    folder = models / "final"
    if config.policy == "best":
        best = read_best(models)
        if best is None:
            raise ConfigurationError(
                f"publish.policy is 'best', but {models} holds no best.json: run with checkpoints.best=train_success, "
                f"or publish the final policy"
            )
        folder = models / best["folder"]
    if not is_whole(folder):
        raise CheckpointError(
            f"there is no policy in {folder} that could be published; run the pipeline coevolve first"
        )
    if not (folder / CARD).is_file():
        raise CheckpointError(f"{folder / CARD} does not exist; run the pipeline report, which writes the model card")
    return folder
