"""Load an optional library when it is used, and say what to install or which hardware to use when that fails."""

import importlib
import warnings
from types import ModuleType

import torch

from forebay.formats.errors import SpecError


def load_extra(module: str, *, extra: str, used_for: str) -> ModuleType:
    """Import `module`, a library that `forebay[extra]` installs.

    Raises:
        SpecError: it is not installed; says what it is used for and how to install it.
    """
    top = module.partition(".")[0]
    try:
        with warnings.catch_warnings():
            # torchao warns at import of C++ parts that it was not built with and of renamed torch names.
            warnings.simplefilter("ignore")
            return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != top:
            raise
        raise SpecError(f"{used_for} needs {top}, which is not installed; pip install 'forebay[{extra}]'") from error


def need_cuda(feature: str, *, min_sm: int = 0) -> None:
    """Refuse a feature that this machine's device cannot run.

    Args:
        feature: what was asked for, as the user wrote it.
        min_sm: compute capability as one number: 80 is Ampere, 89 Ada, 90 Hopper.

    Raises:
        SpecError: there is no CUDA device, or it is older than that.
    """
    what = f"a CUDA device of compute capability {min_sm // 10}.{min_sm % 10} or newer" if min_sm else "a CUDA device"
    if not torch.cuda.is_available():
        raise SpecError(f"{feature} needs {what}; torch {torch.__version__} sees no CUDA device on this machine")
    major, minor = torch.cuda.get_device_capability()
    if 10 * major + minor < min_sm:
        name = torch.cuda.get_device_name()
        raise SpecError(f"{feature} needs {what}; this machine has {name} of {major}.{minor}")
