"""The list of packages; everything else is in pyproject.toml.

`configs/` and `ontologies/` are folders at the top of the repository that are installed inside the
package. pyproject.toml cannot express that together with an automatic search for packages.
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
