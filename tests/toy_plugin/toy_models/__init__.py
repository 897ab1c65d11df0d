"""Models that find pixels by the color that a caption names."""
