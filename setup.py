"""Packages only; everything else is in pyproject.toml.

`configs/` and `ontologies/` stand at the top of the repository and are installed inside the
package, which pyproject.toml alone cannot say of packages that are found, not listed.
"""

from setuptools import find_packages, setup

setup(
    packages=[
        *find_packages(include=["grounded_sam2*"]),
        "grounded_sam2.configs",
        "grounded_sam2.ontologies",
    ],
    package_dir={
        "grounded_sam2.configs": "configs",
        "grounded_sam2.ontologies": "ontologies",
    },
)
