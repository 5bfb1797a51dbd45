"""What `from forebay import frameworks` offers, and that looking loads no framework."""

import subprocess
import sys

import pytest

from forebay import frameworks


def test_names_are_listed_and_others_refused() -> None:
    assert sorted(frameworks.__all__) == dir(frameworks)
    for name in frameworks.__all__:
        assert callable(getattr(frameworks, name))
    with pytest.raises(
        AttributeError, match=r"no attribute 'Trainer'; it has HFLoaders, accelerate_loader, resume_fabric"
    ):
        frameworks.Trainer  # noqa: B018  # the look-up is the test


def test_no_framework_is_imported_by_a_look() -> None:
    look = "from forebay import frameworks; [getattr(frameworks, name) for name in dir(frameworks)]"
    check = "import sys; print({'lightning', 'accelerate', 'transformers'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", f"{look}; {check}"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
