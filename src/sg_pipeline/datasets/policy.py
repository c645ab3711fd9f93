"""Policies in the catalog: durable on disk, live in memory."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.io import AbstractDataset

from sg_pipeline.config import session
from sg_pipeline.distributed.world import world
from sg_pipeline.errors import CheckpointError
from sg_pipeline.files import named, remove

if TYPE_CHECKING:
    from sg_pipeline.policies.policy import Policy


class PolicyDataset(AbstractDataset[Any, Any]):
    """A checkpoint folder (weights, tokenizer, optimizer state, manifest), written atomically.

    One that was pruned (`policies.retention`) counts as existing, so that no resumed run makes it again.

    With `live` it is the link between two co-evolution steps: what was saved in this process is handed on as it is, and
    the next step trains that very object. Otherwise every load reads a fresh policy from disk.
    """

    def __init__(self, *, filepath: str, live: bool = False, metadata: dict[str, Any] | None = None):
        self._folder = Path(filepath)
        self._live = live
        self._held: Policy | None = None
        self.metadata = metadata

    def load(self) -> "Policy":
        """Return the live policy, or read the checkpoint to `base_model.device`."""
        if self._held is not None:
            return self._held
        from sg_pipeline.policies.checkpoint import load_policy

        if not self._exists():
            raise CheckpointError(
                f"no policy exists in {self._folder}{self._others()}; run the pipeline that writes it first"
            )
        try:
            device = session.parameters().base_model.device
            return load_policy(self._folder, device=world().device(device))
        except CheckpointError as error:
            raise CheckpointError(
                f"{str(error).rstrip('.')}; once it is deleted, a run with --only-missing-outputs makes it again"
            ) from error

    def save(self, data: "Policy") -> None:
        """Write the checkpoint; keep the object where the link is live."""
        from sg_pipeline.policies.checkpoint import save_policy

        size = session.parameters().checkpoints.max_shard_size
        with named(self._folder):
            save_policy(data, self._folder, max_shard_size=size)
        self.hold(data)

    def delete(self) -> None:
        """Delete the checkpoint, if it exists."""
        if self._exists():
            remove(self._folder)

    def whole(self, data: "Policy", *, keep: bool) -> "Policy":
        """Gather a policy that is trained on shards for writing; every rank takes part, one keeps the result."""
        from sg_pipeline.training.sharding import whole_state

        return replace(data, optimizer_state=whole_state(data.optimizer_state, keep=keep))

    def hold(self, data: "Policy") -> None:
        """Keep this object where the link is live, once it is written."""
        if self._live:
            self._held = data

    def _others(self) -> str:
        """List the policies next to the one that is missing."""
        from sg_pipeline.policies.checkpoint import is_whole

        beside = self._folder.parent
        there = sorted(path.name for path in beside.glob("[!.]*") if path.is_dir() and is_whole(path))
        return f" ({beside} has {', '.join(there)})" if there else ""

    def _exists(self) -> bool:
        from sg_pipeline.policies.checkpoint import checkpoint_exists

        return checkpoint_exists(self._folder)

    def _release(self) -> None:
        self._held = None

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._folder), "live": self._live}
