"""The study's figures, each drawn from study.json alone."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sg_pipeline.evaluation.calibration import LABELS
from sg_pipeline.reporting.drawing import PALETTE, frame, interval_bar, label, legend_below, name_rows, render
from sg_pipeline.reporting.figures import BLACK, BLUE, GREEN, GREY, MARKERS, ORANGE
from sg_pipeline.study.comparison import SCHEDULE_VARIANTS
from sg_pipeline.study.questions import Found, own_scores, title
from sg_pipeline.study.tables import is_graded

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FAMILIES: Mapping[str, Sequence[str]] = {
    "GRPO": ("grpo", "grpo_sg", "grpo_sg_gr"),
    "DAPO": ("dapo", "dapo_sg", "dapo_sg_gr"),
    "schedules": ("grpo_sg", "immediate", "entry_15", "entry_25", "grpo_sg_gr", "no_annealing"),
    "own and distilled guidance": ("grpo_sg", "grpo_sg_gr", "offline_sg", "offline_sg_gr"),
}
"""Methods that are drawn together; a method that belongs to none has a separate panel."""

_DIALS = {
    "positive_share": ("positive labels (%)", 100),
    "negative_share": ("negative labels (%)", 100),
    "r_sg_gap": ("$R_{sg}$ of wins $-$ losses", 1),
    "corr_r_sg_turns": ("corr($R_{sg}$, T)", 1),
    "guidance_only_groups": ("groups with gradient\nfrom guidance alone (%)", 100),
    "invalid_action_share": ("invalid actions (%)", 100),
}


def dials_figure(figure: "Figure", found: Found) -> None:
    """Draw the dials of the methods with guidance over the steps."""
    frame(figure, 12, 6.6, "Guidance through training: where reward hacking would show first")
    methods = [m for m, about in found["methods"].items() if about["mode"] == "with_guidance" and m in found["curves"]]
    axes = figure.subplots(2, 3, sharex=True)
    for ax, (name, (text, scale)) in zip(axes.flat, _DIALS.items(), strict=True):
        for index, method in enumerate(methods):
            curve = found["curves"][method]
            style = {"linestyle": ("-", "--", ":")[index // len(PALETTE) % 3], "label": title(found, method)}
            if name in curve:
                _line(ax, curve["step"], curve[name], scale, _colour(methods, method), band=len(methods) <= 3, **style)
        label(ax, "", text)
        ax.axhline(0, color=GREY, linewidth=0.6)
    for ax in axes[-1]:
        ax.set_xlabel("co-evolution step")
    legend_below(figure, axes[0, 0])


def reliability_figure(figure: "Figure", found: Found) -> None:
    """Draw P(win | label) before and after training, a panel a split; of these methods, or else of all."""
    frame(figure, 10, 4.2, "Does the guidance predict the outcome? 95 % intervals over seeds and games")
    shown = ("base", "grpo_sg", "grpo_sg_gr", "offline_sg_gr")
    rows = [row for row in found["calibration"] if row["method"] in shown]
    if all(row["method"] == "base" for row in rows):
        rows = list(found["calibration"])
    methods = list(dict.fromkeys(row["method"] for row in rows))
    axes = _panels(figure, found)
    for split, ax in axes.items():
        ax.plot([0, 2], [0, 100], color=GREY, linewidth=0.8, linestyle=":", label="nominal forecast (0, 1/2, 1)")
        for row in (row for row in rows if row["split"] == split):
            index = methods.index(row["method"])
            known = [(x + 0.06 * (index - (len(methods) - 1) / 2), row[f"win_rate.{name}"])
                     for x, name in enumerate(LABELS) if row[f"win_rate.{name}"]["value"] is not None]  # fmt: skip
            values = np.array([value["value"] for _, value in known])
            low, high = np.array([value["ci95"] for _, value in known]).T
            ax.errorbar(
                [x for x, _ in known], 100 * values, yerr=100 * np.array([values - low, high - values]),
                label=title(found, row["method"]), marker=MARKERS[index % len(MARKERS)], linewidth=1.4, capsize=3,
                color=BLACK if row["method"] == "base" else PALETTE[(index - 1) % len(PALETTE)],
            )  # fmt: skip
        ax.set_xticks(range(3), LABELS)
        label(ax, "the guidance says")
    first = next(iter(axes.values()))
    first.set_ylabel("share of such turns in won episodes (%)")
    first.legend()


def comparison_figure(figure: "Figure", found: Found) -> None:
    """Draw success of every method with its interval, a panel a split; the base's interval is a band.

    Where episodes are graded, the mean score is drawn below it.
    """
    methods = list(found["methods"])
    frame(figure, 11, 2.0 + 0.42 * len(methods), "Final policies, each in the mode that it trains")
    what = f"success{' and mean score' if is_graded(found) else ''} (%), 95 % interval"
    axes = _panels(figure, found, sharex=True)
    for split, ax in axes.items():
        for mode, dash in (("with_guidance", "-"), ("without_guidance", ":")):
            base = found["scores"]["base"].get(mode, {}).get(split, {}).get("base")
            if base is None:
                continue
            name = f"base, {mode.replace('_', ' ')}"
            ax.axvline(100 * base["mean"]["value"], color=GREY, linestyle=dash, linewidth=1.2, label=name)
            if mode == "with_guidance":
                low, high = base["mean"]["ci95"]
                ax.axvspan(100 * low, 100 * high, color="#EEEEEE", linewidth=0, zorder=0)
                if "score" in base:
                    ax.axvline(100 * base["score"]["value"], color=GREEN, linestyle="--", label="base, mean score")
        for place, method in enumerate(methods):
            entry = own_scores(found, method).get(split, {}).get("final")
            if entry is None:
                continue
            for name, shift, colour, marker, text in (
                ("mean", -0.14, BLUE, "o", "mean"),
                ("iqm", 0.14, ORANGE, "s", "interquartile mean"),
                ("score", 0.36, GREEN, "D", "mean score"),
            ):
                if name in entry:
                    interval_bar(ax, entry[name], place + shift, colour, marker, text if place == 0 else None)
            seeds = [100 * value for value in entry["per_seed"].values()]
            ax.plot(seeds, [place - 0.14] * len(seeds), "|", color=BLACK, markersize=7, zorder=6,
                    label="seeds" if place == 0 else None)  # fmt: skip
        label(ax, what, grid="x")
    # Fewer seeds look more certain than they are.
    counts = {method: len(about["seeds"]) for method, about in found["methods"].items()}
    differ = len(set(counts.values())) > 1
    first = next(iter(axes.values()))
    name_rows(first, [f"{title(found, m)}{f' (seeds: {counts[m]})' if differ else ''}" for m in methods])
    legend_below(figure, first, columns=5)


def curves_figure(figure: "Figure", found: Found) -> None:
    """Draw training success of the methods, a row a family, against steps and against tokens."""
    families = _families(found["curves"])
    heading = "Training success: mean over seeds, moving average, band from lowest to highest"
    frame(figure, 11, 1.0 + 2.9 * len(families), heading)
    axes = figure.subplots(len(families), 2, squeeze=False, sharey=True)
    for row, (family, methods) in zip(axes, families.items(), strict=True):
        for ax, x, scale, text in ((row[0], "step", 1, "co-evolution step"),
                                   (row[1], "tokens", 1000, "tokens sampled (thousands)")):  # fmt: skip
            for method in methods:
                curve = found["curves"][method]
                if "success_rate" in curve:
                    at = np.asarray(curve[x]) / scale
                    _line(ax, at, curve["success_rate"], 100, _colour(methods, method), label=title(found, method))
            label(ax, text)
        row[0].set_ylabel(f"{family}\ntraining success (%)")
        row[0].legend(loc="lower right")


def schedules_figure(figure: "Figure", found: Found) -> None:
    """Draw the schedules' lambda, and the full schedule's lead over each other one."""
    frame(figure, 11, 4.2, "Does the schedule matter? Right of 0 the full schedule is better")
    others = [m for m in ("grpo_sg", *SCHEDULE_VARIANTS) if m in found["methods"]]
    drawn = [m for m in ("grpo_sg_gr", *others) if m in found["curves"]]
    splits = list(found["setting"]["splits"])
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.3))
    for index, method in enumerate(drawn):
        curve, dash = found["curves"][method], ("-", "--", "-.", ":")[index % 4]
        left.plot(curve["step"], curve["trust"], color=_colour(drawn, method), linewidth=1.8, linestyle=dash,
                  label=title(found, method))  # fmt: skip
    label(left, "co-evolution step", "trust λ")
    right.axvline(0, color=GREY, linewidth=0.8)
    for row in found["pairs"]["rows"]:
        if row["left"] == "grpo_sg_gr" and row["right"] in others:
            which = splits.index(row["split"])
            y = others.index(row["right"]) + 0.24 * (which - (len(splits) - 1) / 2)
            name = row["split"] if row["right"] == others[0] else None
            interval_bar(right, row, y, PALETTE[which], MARKERS[which % len(MARKERS)], name)
    name_rows(right, [f"full - {title(found, method)}" for method in others])
    label(right, "points, paired by seed and game, 95 % interval", grid="x")
    legend_below(figure, left, right)


def cross_figure(figure: "Figure", found: Found) -> None:
    """Draw success of a policy (row) under the guidance of another checkpoint (column)."""
    cells = found["cross_checkpoint"]["cells"]
    panels = list(dict.fromkeys((cell["method"], cell["split"]) for cell in cells))
    policies, guides = (sorted({cell[name] for cell in cells}) for name in ("policy_step", "guide_step"))
    least, most = (100 * extreme(cell["value"] for cell in cells) for extreme in (min, max))
    size = 2.0 + max(3.0, 1.1 * len(guides)) * len(panels), 1.8 + 0.75 * len(policies)
    frame(figure, *size, "Success (%) with guidance of earlier and later checkpoints")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for ax, (method, split) in zip(axes, panels, strict=True):
        matrix = np.full((len(policies), len(guides)), np.nan)
        for cell in (cell for cell in cells if (cell["method"], cell["split"]) == (method, split)):
            y, x = policies.index(cell["policy_step"]), guides.index(cell["guide_step"])
            value, low, high = (100 * bound for bound in (cell["value"], *cell["ci95"]))
            matrix[y, x] = value
            colour = "white" if value < least + 0.6 * (most - least) else "black"
            text = f"{value:.1f}\n[{low:.0f}, {high:.0f}]"
            ax.text(x, y, text, ha="center", va="center", fontsize=8, color=colour)
        ax.imshow(matrix, cmap="cividis", vmin=least, vmax=most, aspect="auto")
        ax.set_xticks(range(len(guides)), [str(step) for step in guides])
        ax.set_yticks(range(len(policies)), [str(step) for step in policies])
        ax.set_title(f"{title(found, method)}, {split}", fontsize=10)
        ax.set_xlabel("guidance written by the checkpoint of step")
        ax.spines[:].set_visible(False)
    axes[0].set_ylabel("policy of step")


FIGURES: Mapping[str, tuple[Callable[["Figure", Found], None], str]] = {
    "dials": (dials_figure, "Dials of the guidance over the steps, moving averages, mean over seeds."),
    "reliability": (reliability_figure, "How often turns with each label belong to won episodes, base and final."),
    "comparison": (comparison_figure, "Success of the final policies on the evaluation panels."),
    "curves": (curves_figure, "Success on the training games of each step, against steps and tokens."),
    "schedules": (schedules_figure, "Trust schedules, and the full one's lead over each of the others."),
    "cross_checkpoint": (cross_figure, "Success of a policy guided by other checkpoints."),
}
"""name -> (draws it from study.json, caption)."""


def draw_figures(found: Found) -> dict[str, bytes]:
    """Draw all figures: name -> PNG; the cross-checkpoint matrix only where it was evaluated."""
    return {
        name: render(lambda figure, draw=draw: draw(figure, found))  # type: ignore[misc]
        for name, (draw, _) in FIGURES.items()
        if name != "cross_checkpoint" or found["cross_checkpoint"]["cells"]
    }


def _panels(figure: "Figure", found: Found, **shared: Any) -> dict[str, "Axes"]:
    """Return a panel for each split, side by side under its name."""
    splits = list(found["setting"]["splits"])
    axes = figure.subplots(1, len(splits), sharey=True, squeeze=False, **shared)[0]
    for ax, split in zip(axes, splits, strict=True):
        ax.set_title(split, fontsize=10)
    return dict(zip(splits, axes, strict=True))


def _line(
    ax: "Axes", x: Any, curve: Mapping[str, Any], scale: float, colour: str, *, band: bool = True, **style: Any
) -> None:
    """Draw a curve of `results.learning_curves`, with its band from the lowest to the highest seed."""
    middle, low, high = (scale * np.array(curve[name], dtype=float) for name in ("mean", "least", "most"))
    ax.plot(x, middle, color=colour, linewidth=1.6, **style)
    if band:
        ax.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)


def _families(present: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the families of which more is present than other families show."""
    families: dict[str, list[str]] = {}
    shown: set[str] = set()
    for name, members in FAMILIES.items():
        own = [method for method in members if method in present]
        if set(own) - shown:
            families[name] = own
            shown |= set(own)
    rest = [method for method in present if method not in shown]
    return families | ({"others": rest} if rest else {})


def _colour(methods: Sequence[str], method: str) -> str:
    return PALETTE[methods.index(method) % len(PALETTE)]
