"""What is raised where an image of kernels cannot be made or used: Numba then does the work."""


class UnfitError(Exception):
    """Code that an image cannot hold, or that cannot be run here; the message is the reason."""
