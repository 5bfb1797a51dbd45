"""A picture of the results: a panel a workload, a bar a system, the physical limit as a line."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from forebay.bench.rows import Row
from forebay.formats.errors import SpecError

OURS, OTHERS = "#0b6e4f", "#9aa5b1"


def pyplot() -> Any:
    """matplotlib's, without a display, giving the same file for the same figures.

    Raises:
        SpecError: matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise SpecError("plotting needs matplotlib: pip install 'forebay[bench]'") from error
    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "forebay"
    from matplotlib import pyplot as found

    return found


def plot(rows: Sequence[Row], directory: Path) -> list[Path]:
    """`plot.svg` and `plot.png` in the directory.

    Raises:
        SpecError: matplotlib is not installed.
    """
    draw = pyplot()
    workloads = list(dict.fromkeys(row.workload for row in rows if row.rate))
    if not workloads:
        return []
    heights = [sum(one.workload == workload and one.rate > 0 for one in rows) for workload in workloads]
    figure, axes = draw.subplots(
        len(workloads),
        1,
        figsize=(8, 0.28 * sum(heights) + 0.9 * len(workloads)),
        gridspec_kw={"height_ratios": heights},
        layout="constrained",
        squeeze=False,
    )
    for axis, workload in zip(axes[:, 0], workloads, strict=True):
        here = [one for one in rows if one.workload == workload and one.rate and not one.limit][::-1]
        colours = [OURS if one.candidate.startswith("forebay") else OTHERS for one in here]
        axis.barh([one.candidate for one in here], [one.rate for one in here], color=colours)
        axis.bar_label(axis.containers[0], [f" {one.rate:,.0f}" for one in here], fontsize=7)
        for one in rows:
            if one.workload == workload and one.limit and one.rate:
                axis.axvline(one.rate, color="#c1121f", linestyle="--", linewidth=1, label=one.candidate)
                axis.legend(fontsize=7, loc="lower right", frameon=False)
        axis.set_title(f"{workload}: samples a second", fontsize=9, loc="left")
        axis.tick_params(labelsize=7)
        axis.spines[["top", "right"]].set_visible(False)
        axis.margins(x=0.12)
    made = [directory / "plot.svg", directory / "plot.png"]
    for path in made:
        figure.savefig(path, dpi=120)
    draw.close(figure)
    return made
