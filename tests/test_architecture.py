"""What no single package can check: that we import our own packages, and one TensorFlow."""

import importlib
import importlib.metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("package", ["models", "pipeline", "preprocessing", "serving"])
def test_packages_are_those_of_this_repository(package):
    # The names are generic, and projects on the index have them too: one of those must not shadow ours.
    file = importlib.import_module(package).__file__
    assert file is not None
    assert Path(file).resolve() == ROOT / package / "__init__.py"


def test_one_distribution_of_tensorflow():
    installed = {distribution.name for distribution in importlib.metadata.distributions()}
    assert "tensorflow" in installed
    assert "tensorflow-cpu" not in installed, "both write the same folder; uninstall both, then install tensorflow"
