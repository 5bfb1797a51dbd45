"""Kernels as a user writes them, at the top level of a module, so that other processes find them."""

from forebay.transforms.kernel import kernel


@kernel(columns=["x", "y"], outputs={"ratio": "float32", "x": "float64"}, version="1")
def ratio(x, y, out, doubled):
    for i in range(len(out)):
        out[i] = x[i] / (1.0 + y[i])
        doubled[i] = 2.0 * x[i]
