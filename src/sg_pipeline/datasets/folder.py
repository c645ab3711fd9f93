"""A folder as a dataset: where it lies is the catalog's business, what is in it a domain room's."""

from pathlib import Path, PurePosixPath
from typing import Any

from kedro.io import AbstractDataset


class FolderDataset(AbstractDataset[Any, Path]):
    """Loads as the folder's path; the folder is made when it is first asked for."""

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None):
        self._filepath = PurePosixPath(filepath)
        self.metadata = metadata

    def load(self) -> Path:
        """Return the path of the folder, which exists."""
        folder = Path(self._filepath)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def save(self, data: Any) -> None:
        """Refuse: domain rooms write into the folder themselves."""
        raise TypeError("a folder is written into, not saved")

    def _exists(self) -> bool:
        return Path(self._filepath).is_dir()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}
