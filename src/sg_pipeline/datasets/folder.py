"""A folder as a dataset: the catalog says where it is, the domain code what is in it."""

from pathlib import Path, PurePosixPath
from typing import Any

from kedro.io import AbstractDataset


class FolderDataset(AbstractDataset[Any, Path]):
    """Loads as the folder's path; the folder is created at the first load."""

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None):
        self._filepath = PurePosixPath(filepath)
        self.metadata = metadata

    def load(self) -> Path:
        """Return the path of the folder, which exists."""
        folder = Path(self._filepath)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def save(self, data: Any) -> None:
        """Raise: domain code writes into the folder itself."""
        raise TypeError("a folder is written into, not saved")

    def _exists(self) -> bool:
        return Path(self._filepath).is_dir()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}
