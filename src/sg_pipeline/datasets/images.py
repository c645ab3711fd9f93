"""Several figures in one folder."""

from pathlib import Path, PurePosixPath
from typing import Any

from kedro.io import AbstractDataset

from sg_pipeline.files import atomic_write, remove

_DONE = ".complete"


class ImagesDataset(AbstractDataset[dict[str, bytes], dict[str, bytes]]):
    """PNG files NAME.png of a folder as name -> bytes; figures that are not saved again are deleted."""

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None):
        self._filepath = PurePosixPath(filepath)
        self.metadata = metadata

    def load(self) -> dict[str, bytes]:
        """Read all figures, sorted by name."""
        return {path.stem: path.read_bytes() for path in sorted(Path(self._filepath).glob("*.png"))}

    def save(self, data: dict[str, bytes]) -> None:
        """Write each figure atomically; the dataset exists when all are written."""
        folder = Path(self._filepath)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _DONE).unlink(missing_ok=True)
        for path in folder.glob("*.png"):
            if path.stem not in data:
                path.unlink()
        for name, image in data.items():
            with atomic_write(folder / f"{name}.png") as temporary:
                temporary.write_bytes(image)
        (folder / _DONE).touch()

    def delete(self) -> None:
        """Delete the folder, if it exists."""
        remove(Path(self._filepath))

    def _exists(self) -> bool:
        return (Path(self._filepath) / _DONE).exists()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}
