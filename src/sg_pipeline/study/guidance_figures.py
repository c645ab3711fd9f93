"""Figures of the guidance: dials over the steps, reliability, guides of other checkpoints."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from sg_pipeline.reporting.drawing import PALETTE, banded_line, render
from sg_pipeline.reporting.figures import BLACK, GREY, MARKERS
from sg_pipeline.study.calibration import LABELS
from sg_pipeline.study.found import Found, title

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DIALS = (
    ("positive_share", "positive labels (%)", 100),
    ("negative_share", "negative labels (%)", 100),
    ("r_sg_gap", "$R_{sg}$ of wins $-$ losses", 1),
    ("corr_r_sg_turns", "corr($R_{sg}$, T)", 1),
    ("guidance_only_groups", "groups with gradient\nfrom guidance alone (%)", 100),
    ("invalid_action_share", "invalid actions (%)", 100),
)


def dials_figure(found: Found) -> bytes:
    """The dials of the methods with guidance, over the steps."""
    methods = [m for m, about in found["methods"].items() if about["mode"] == "with_guidance" and m in found["curves"]]

    def draw(figure: "Figure") -> None:
        axes = figure.subplots(2, 3, sharex=True)
        for ax, (name, label, scale) in zip(axes.flat, _DIALS, strict=True):
            for index, method in enumerate(methods):
                curve = found["curves"][method]
                dash = ("-", "--", ":")[index // len(PALETTE) % 3]
                at = np.asarray(curve["step"], dtype=float)
                colour = PALETTE[index % len(PALETTE)]
                banded_line(
                    ax, at, curve.get(name), scale, colour, title(found, method), band=len(methods) <= 3, dash=dash
                )
            ax.set_ylabel(label)
            ax.axhline(0, color=GREY, linewidth=0.6)
            ax.grid(axis="y", color="#DDDDDD", linewidth=0.6)
        for ax in axes[-1]:
            ax.set_xlabel("co-evolution step")
        handles, labels = axes[0, 0].get_legend_handles_labels()
        if handles:
            figure.legend(handles, labels, loc="outside lower center", ncols=4)

    return render((12, 6.6), "Guidance through training: where reward hacking would show first", draw)


def reliability_figure(
    found: Found, shown: Sequence[str] = ("base", "grpo_sg", "grpo_sg_gr", "offline_sg_gr")
) -> bytes:
    """P(win | label) before and after training, a panel a split."""
    rows = [row for row in found["calibration"] if row["method"] in shown]
    if not any(row["method"] != "base" for row in rows):
        rows = list(found["calibration"])
    methods = list(dict.fromkeys(row["method"] for row in rows))
    splits = list(found["setting"]["splits"])

    def draw(figure: "Figure") -> None:
        axes = figure.subplots(1, len(splits), sharey=True, squeeze=False)[0]
        for ax, split in zip(axes, splits, strict=True):
            ax.plot(
                [0, 2], [0, 100], color=GREY, linewidth=0.8, linestyle=":", label="what the words promise (0, ½, 1)"
            )
            for row in (row for row in rows if row["split"] == split):
                index = methods.index(row["method"])
                figures = [row[f"win_rate.{label}"] for label in LABELS]
                known = [(x + 0.06 * (index - (len(methods) - 1) / 2), f) for x, f in enumerate(figures)
                         if f["value"] is not None]  # fmt: skip
                values = np.array([f["value"] for _, f in known])
                low, high = np.array([f["ci95"] for _, f in known]).T
                colour = BLACK if row["method"] == "base" else PALETTE[(index - 1) % len(PALETTE)]
                name = "base policy" if row["method"] == "base" else title(found, row["method"])
                ax.errorbar(
                    [x for x, _ in known], 100 * values, yerr=100 * np.array([values - low, high - values]), label=name,
                    color=colour, marker=MARKERS[index % len(MARKERS)], linewidth=1.4, capsize=3,
                )  # fmt: skip
            ax.set_title(split, fontsize=10)
            ax.set_xticks(range(3), LABELS)
            ax.set_xlabel("the guidance says")
            ax.grid(axis="y", color="#DDDDDD", linewidth=0.6)
        axes[0].set_ylabel("share of such turns in won episodes (%)")
        axes[0].legend()

    return render((10, 4.2), "Does the guidance foretell the outcome? 95 % intervals over seeds and games", draw)


def cross_figure(found: Found) -> bytes:
    """Success of a policy (row) under the guidance of another checkpoint (column)."""
    cells = found["cross_checkpoint"]["cells"]
    panels = list(dict.fromkeys((cell["method"], cell["split"]) for cell in cells)) or [("", "not run")]
    policies, guides = (sorted({cell[name] for cell in cells}) for name in ("policy_step", "guide_step"))
    known = [100 * cell["value"] for cell in cells]

    def draw(figure: "Figure") -> None:
        axes = figure.subplots(1, len(panels), squeeze=False)[0]
        for ax, (method, split) in zip(axes, panels, strict=True):
            matrix = np.full((len(policies), len(guides)), np.nan)
            for cell in (cell for cell in cells if (cell["method"], cell["split"]) == (method, split)):
                place = policies.index(cell["policy_step"]), guides.index(cell["guide_step"])
                matrix[place] = 100 * cell["value"]
                low, high = cell["ci95"]
                dark = matrix[place] < min(known) + 0.6 * (max(known) - min(known))
                ax.text(place[1], place[0], f"{matrix[place]:.1f}\n[{100 * low:.0f}, {100 * high:.0f}]", ha="center",
                        va="center", fontsize=8, color="white" if dark else "black")  # fmt: skip
            if matrix.size:
                ax.imshow(matrix, cmap="cividis", vmin=min(known), vmax=max(known), aspect="auto")
            ax.set_xticks(range(len(guides)), [str(step) for step in guides])
            ax.set_yticks(range(len(policies)), [str(step) for step in policies])
            ax.set_title(f"{title(found, method)}, {split}" if method else split, fontsize=10)
            ax.set_xlabel("guidance written by the checkpoint of step")
            ax.spines[:].set_visible(False)
        axes[0].set_ylabel("policy of step")

    size = (2.0 + max(3.0, 1.1 * len(guides)) * len(panels), 1.8 + 0.75 * max(1, len(policies)))
    return render(size, "Success (%) with guidance of earlier and later checkpoints", draw)
