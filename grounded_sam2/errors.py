"""The exception tree. Every message names the thing, the value and the repair.

Catch `GroundedSAM2Error` to catch everything this package raises on purpose.
"""

__all__ = [
    "CheckpointError",
    "ConfigError",
    "DatasetError",
    "ExportError",
    "GeometryError",
    "GroundedSAM2Error",
    "ImageError",
    "OntologyError",
    "OutOfMemoryError",
    "PromptError",
    "SourceError",
    "StoreError",
    "VideoError",
]


class GroundedSAM2Error(Exception):
    """Base class of all errors raised by this package."""


class OntologyError(GroundedSAM2Error, ValueError):
    """An ontology is empty, ambiguous or not made of text."""


class ConfigError(GroundedSAM2Error, ValueError):
    """A configuration has an unknown key, a wrong type or a value out of range."""


class ImageError(GroundedSAM2Error):
    """An image cannot be read: missing, empty, truncated, too large or not an image."""


class SourceError(GroundedSAM2Error):
    """A source of images does not exist, cannot be listed or holds none."""


class PromptError(GroundedSAM2Error, ValueError):
    """A caption, box, point or mask prompt has the wrong form for the image it is asked of."""


class CheckpointError(GroundedSAM2Error):
    """A model checkpoint cannot be found, fetched or used."""


class OutOfMemoryError(GroundedSAM2Error, MemoryError):
    """A model needs more memory than its device has."""


class GeometryError(GroundedSAM2Error, ValueError):
    """A box, a mask or an outline has the wrong form or does not fit the image."""


class StoreError(GroundedSAM2Error):
    """A label store cannot be opened, is in use, or does not fit what is asked of it."""


class ExportError(GroundedSAM2Error):
    """A dataset cannot be written as asked."""


class DatasetError(GroundedSAM2Error):
    """A dataset of existing labels cannot be read."""


class VideoError(GroundedSAM2Error):
    """A video cannot be written as asked."""
