"""Folders as datasets: the catalog says where one is, the domain code or a list of figures what is in it."""

from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset

from sg_pipeline.files import atomic_write, remove

_DONE = ".complete"


class FolderDataset(AbstractDataset[Any, Any]):
    """Loads as the folder's path; the folder is created at the first load."""

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None):
        self._folder = Path(filepath)
        self.metadata = metadata

    def load(self) -> Any:
        """Return the path of the folder, which exists."""
        self._folder.mkdir(parents=True, exist_ok=True)
        return self._folder

    def save(self, data: Any) -> None:
        """Raise: domain code writes into the folder itself."""
        raise TypeError("a folder is written into, not saved")

    def _exists(self) -> bool:
        return self._folder.is_dir()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._folder)}


class ImagesDataset(FolderDataset):
    """PNG files NAME.png of a folder as name -> bytes; figures that are not saved again are deleted."""

    def load(self) -> dict[str, bytes]:
        """Read all figures, sorted by name."""
        return {path.stem: path.read_bytes() for path in sorted(self._folder.glob("*.png"))}

    def save(self, data: dict[str, bytes]) -> None:
        """Write each figure atomically; the dataset exists when all are written."""
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / _DONE).unlink(missing_ok=True)
        for path in self._folder.glob("*.png"):
            if path.stem not in data:
                path.unlink()
        for name, image in data.items():
            with atomic_write(self._folder / f"{name}.png") as temporary:
                temporary.write_bytes(image)
        (self._folder / _DONE).touch()

    def delete(self) -> None:
        """Delete the folder, if it exists."""
        remove(self._folder)

    def _exists(self) -> bool:
        return (self._folder / _DONE).exists()
