"""Parquet, JSON, text and binary files that are written atomically.

Kedro decides by `exists()` what a resumed run may skip; a file that exists must therefore be whole. What
cannot be read is reported in one sentence with the way on.
"""

import json
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any

import polars as pl
from kedro.io import AbstractDataset

from sg_pipeline.errors import DataError
from sg_pipeline.files import atomic_write


class AtomicDataset(AbstractDataset[Any, Any]):
    """A file that is either complete or missing; subclasses define the encoding."""

    def __init__(self, *, filepath: str, holds: Sequence[str] = (), metadata: dict[str, Any] | None = None):
        """Prepare a dataset.

        Args:
            filepath: where the file is.
            holds: keys or columns that the file must have.
            metadata: for Kedro's plugins.
        """
        self._filepath = PurePosixPath(filepath)
        self._holds = tuple(holds)
        self.metadata = metadata

    @property
    def path(self) -> Path:
        """Path of the file."""
        return Path(self._filepath)

    def write(self, path: Path, data: Any) -> None:
        """Write `data` to `path`."""
        raise TypeError(f"{type(self).__name__} cannot be saved")

    def read(self, path: Path) -> Any:
        """Read what `write` wrote."""
        raise TypeError(f"{type(self).__name__} cannot be loaded")

    def load(self) -> Any:
        """Read the file, or report why it cannot be read."""
        if not self.path.exists():
            raise DataError(f"{self.path} does not exist; run the pipeline that writes it first")
        try:
            content = self.read(self.path)
            found = content.columns if isinstance(content, pl.DataFrame) else content
            for name in self._holds:
                if not isinstance(found, (list, dict)) or name not in found:
                    raise ValueError(f"it does not hold '{name}'")
            return content
        except Exception as error:
            kind = type(self).__name__.removesuffix("Dataset")
            raise DataError(
                f"{self.path} is not a readable {kind} file ({_first_line(error)}); "
                f"delete it and run again with --only-missing-outputs to have it made again"
            ) from error

    def save(self, data: Any) -> None:
        """Write a temporary file, then rename it."""
        with atomic_write(self.path) as temporary:
            self.write(temporary, data)

    def delete(self) -> None:
        """Delete the file, if it exists."""
        self.path.unlink(missing_ok=True)

    def _exists(self) -> bool:
        return self.path.exists()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}


class ParquetDataset(AtomicDataset):
    """A polars data frame."""

    def write(self, path: Path, data: pl.DataFrame) -> None:
        """Write the frame, compressed with zstd."""
        content = BytesIO()  # polars does not say that a disk is full
        data.write_parquet(content, compression="zstd")
        path.write_bytes(content.getvalue())

    def read(self, path: Path) -> pl.DataFrame:
        """Read the whole frame."""
        return pl.read_parquet(path, memory_map=False)


class JSONDataset(AtomicDataset):
    """JSON of plain values, readable by people: sorted as given, indented."""

    def write(self, path: Path, data: Any) -> None:
        """Write strict JSON: a number that is not finite raises."""
        path.write_text(json.dumps(data, indent=1, allow_nan=False) + "\n", encoding="utf-8")

    def read(self, path: Path) -> Any:
        """Read the value."""
        return json.loads(path.read_text(encoding="utf-8"))


class TextDataset(AtomicDataset):
    """A text file, such as a Markdown report."""

    def write(self, path: Path, data: str) -> None:
        """Write UTF-8."""
        path.write_text(data, encoding="utf-8")

    def read(self, path: Path) -> str:
        """Read UTF-8."""
        return path.read_text(encoding="utf-8")


class BytesDataset(AtomicDataset):
    """A binary file, such as a figure."""

    def write(self, path: Path, data: bytes) -> None:
        """Write the bytes."""
        path.write_bytes(data)

    def read(self, path: Path) -> bytes:
        """Read the bytes."""
        return path.read_bytes()


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
