"""Parquet, JSON, text and binary files that are written atomically.

Kedro decides by `exists()` what a resumed run may skip; a file that exists must therefore be whole. What
cannot be read is reported in one sentence with the way on.
"""

import json
from abc import abstractmethod
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any

import polars as pl
from kedro.io import AbstractDataset

from sg_pipeline.errors import DataError
from sg_pipeline.files import atomic_write


class AtomicDataset(AbstractDataset[Any, Any]):
    """A file that is either complete or missing; subclasses define its encoding by `_write` and `_read`."""

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

    @abstractmethod
    def _write(self, path: Path, data: Any) -> None: ...

    @abstractmethod
    def _read(self, path: Path) -> Any: ...

    def load(self) -> Any:
        """Read the file, or report why it cannot be read."""
        if not self.path.exists():
            raise DataError(f"{self.path} does not exist; run the pipeline that writes it first")
        try:
            content = self._read(self.path)
            found = content.columns if isinstance(content, pl.DataFrame) else content
            for name in self._holds:
                if not isinstance(found, (list, dict)) or name not in found:
                    raise ValueError(f"it does not hold '{name}'")
            return content
        except Exception as error:
            kind = type(self).__name__.removesuffix("Dataset")
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise DataError(
                f"{self.path} is not a readable {kind} file ({reason}); "
                f"delete it and run again with --only-missing-outputs to have it made again"
            ) from error

    def save(self, data: Any) -> None:
        """Write a temporary file, then rename it."""
        with atomic_write(self.path) as temporary:
            self._write(temporary, data)

    def delete(self) -> None:
        """Delete the file, if it exists."""
        self.path.unlink(missing_ok=True)

    def _exists(self) -> bool:
        return self.path.exists()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}


class ParquetDataset(AtomicDataset):
    """A polars data frame, compressed with zstd."""

    def _write(self, path: Path, data: pl.DataFrame) -> None:
        content = BytesIO()  # polars does not say that a disk is full
        data.write_parquet(content, compression="zstd")
        path.write_bytes(content.getvalue())

    def _read(self, path: Path) -> pl.DataFrame:
        return pl.read_parquet(path, memory_map=False)


class JSONDataset(AtomicDataset):
    """Strict JSON of plain values, indented for people: a number that is not finite raises."""

    def _write(self, path: Path, data: Any) -> None:
        path.write_text(json.dumps(data, indent=1, allow_nan=False) + "\n", encoding="utf-8")

    def _read(self, path: Path) -> Any:
        return json.loads(path.read_text(encoding="utf-8"))


class TextDataset(AtomicDataset):
    """A text file in UTF-8, such as a Markdown report."""

    def _write(self, path: Path, data: str) -> None:
        path.write_text(data, encoding="utf-8")

    def _read(self, path: Path) -> str:
        return path.read_text(encoding="utf-8")


class BytesDataset(AtomicDataset):
    """A binary file, such as a figure."""

    def _write(self, path: Path, data: bytes) -> None:
        path.write_bytes(data)

    def _read(self, path: Path) -> bytes:
        return path.read_bytes()
