"""Which format a dataset is in, told by its files."""

from __future__ import annotations

from pathlib import Path

from grounded_sam2.errors import DatasetError, printable
from grounded_sam2.importers.formats.coco_layout import annotation_files
from grounded_sam2.importers.formats.hugging_face import find_shards
from grounded_sam2.importers.formats.yolo_layout import find_yaml

__all__ = ["detect_format"]


def detect_format(path: Path) -> str:
    """The name of the format of a dataset.

    Args:
        path: its folder, or the file that describes it.

    Raises:
        DatasetError: it does not exist, or is in no format that can be imported.
    """
    if not path.exists():
        raise DatasetError(f"'{printable(path)}' does not exist")
    if find_yaml(path) is not None:
        return "yolo"
    if find_shards(path):
        return "hf"
    if path.is_dir() or path.suffix.lower() == ".json":
        annotation_files(path)
        return "coco"
    raise DatasetError(
        f"'{printable(path)}' is no dataset that can be imported; give a COCO file or folder, a "
        "YOLO folder or its data.yaml, or a folder of Parquet files"
    )
