"""accelerate keeps its settings in singletons of the process; a test that asks for others must clear them."""

import sys


def forget_accelerate() -> None:
    """Let the next `Accelerator` or HF Trainer begin anew. Does nothing where accelerate was not imported."""
    if "accelerate" in sys.modules:
        from accelerate.state import AcceleratorState, GradientState

        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()
