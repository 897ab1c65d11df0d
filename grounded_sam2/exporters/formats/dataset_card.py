"""The card of a Hugging Face dataset: what its page shows, and where its splits are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import yaml

from grounded_sam2.exporters.options import ExportSummary

__all__ = ["dataset_card"]

_FIELDS = """\
| field | what it is |
|---|---|
| `image` | the image |
| `image_id`, `file_name`, `width`, `height` | its number, name and size in pixels |
| `objects.category` | class |
| `objects.bbox` | left, top, width and height in pixels |
| `objects.area` | pixels of the mask; of the box where there is no mask |
| `objects.segmentation` | mask as COCO's compressed RLE, null where there is none |
| `objects.confidence` | the detector's, null where there is none |
| `objects.mask_quality` | IoU that the segmenter predicts for its mask |
| `objects.caption` | the words that found the object |
"""
_FIELDS_OF_FRAMES = """\
| `video`, `frame`, `time` | which frame of which video, and its seconds from the first |
| `objects.track_id` | the same for one thing in all frames of its video |
| `objects.track_origin` | `detected` in this frame, or carried to it `forwards` or `backwards` |
"""


def dataset_card(
    summary: ExportSummary, split_names: Mapping[str, str], *, of_frames: bool = False
) -> str:
    """``README.md`` with its front matter.

    Args:
        summary: what the dataset holds.
        split_names: what each split of the export is called in the dataset.
        of_frames: whether it has columns for frames of videos.
    """
    present = {split_names[split]: count for split, count in summary.images.items() if count}
    front = {
        "task_categories": ["object-detection", "image-segmentation"],
        "configs": [
            {
                "config_name": "default",
                "data_files": [
                    {"split": name, "path": f"data/{name}-*.parquet"} for name in present
                ],
            }
        ],
    }
    return "".join(
        [
            "---\n",
            yaml.safe_dump(front, sort_keys=False),
            "---\n\n# Objects with boxes and masks\n\n",
            "Labeled with grounded-sam2: captions find objects, SAM 2 outlines them.\n\n",
            *_table("split", "pictures", present),
            *_table("class", "objects", summary.objects),
            _FIELDS,
            _FIELDS_OF_FRAMES if of_frames else "",
        ]
    )


def _table(left: str, right: str, rows: Mapping[str, int]) -> Iterator[str]:
    yield f"| {left} | {right} |\n|---|---|\n"
    for name, count in rows.items():
        shown = " ".join(name.replace("|", "\\|").split())
        yield f"| {shown} | {count} |\n"
    yield "\n"
