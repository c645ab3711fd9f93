"""The study's figures: PNGs, each drawn from study.json alone, the same bytes for the same figures."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sg_pipeline.reporting.drawing import PALETTE, banded_line, interval_bar, name_rows, render
from sg_pipeline.reporting.figures import BLACK, BLUE, GREEN, GREY, MARKERS, ORANGE
from sg_pipeline.study.found import SCHEDULE_VARIANTS, Found, is_graded, title
from sg_pipeline.study.guidance_figures import cross_figure, dials_figure, reliability_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FAMILIES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("GRPO", ("grpo", "grpo_sg", "grpo_sg_gr")),
    ("DAPO", ("dapo", "dapo_sg", "dapo_sg_gr")),
    ("schedules", ("grpo_sg", "immediate", "entry_15", "entry_25", "grpo_sg_gr", "no_annealing")),
    ("guidance of one's own and distilled", ("grpo_sg", "grpo_sg_gr", "offline_sg", "offline_sg_gr")),
)
"""Methods that are drawn together; what belongs to none has a panel of its own."""


def comparison_figure(found: Found) -> bytes:
    """Success of every method with its interval, a panel a split; the base's interval is a band.

    Where episodes are graded, the mean score stands below it.
    """
    splits, methods = list(found["setting"]["splits"]), list(found["methods"])
    graded = is_graded(found)

    def draw(figure: "Figure") -> None:
        axes = figure.subplots(1, len(splits), sharey=True, sharex=True, squeeze=False)[0]
        for ax, split in zip(axes, splits, strict=True):
            for mode, colour, dash in (("with_guidance", GREY, "-"), ("without_guidance", GREY, ":")):
                base = found["scores"]["base"].get(mode, {}).get(split)
                if base:
                    low, high = base["base"]["mean"]["ci95"]
                    if dash == "-":
                        ax.axvspan(100 * low, 100 * high, color="#EEEEEE", linewidth=0, zorder=0)
                    ax.axvline(100 * base["base"]["mean"]["value"], color=colour, linestyle=dash, linewidth=1.2,
                               label=f"base, {mode.replace('_', ' ')}")  # fmt: skip
                    if dash == "-" and "score" in base["base"]:
                        ax.axvline(100 * base["base"]["score"]["value"], color=GREEN, linestyle="--", linewidth=1.2,
                                   label="base, mean score")  # fmt: skip
            for place, method in enumerate(methods):
                mode = found["methods"][method]["mode"]
                entry = found["scores"][method].get(mode, {}).get(split, {}).get("final")
                if not entry:
                    continue
                first = place == 0
                for name, shift, colour, marker, label in (
                    ("mean", -0.14, BLUE, "o", "mean"), ("iqm", 0.14, ORANGE, "s", "interquartile mean"),
                ):  # fmt: skip
                    interval_bar(ax, entry[name], place + shift, colour, marker, label if first else None)
                if "score" in entry:
                    interval_bar(ax, entry["score"], place + 0.36, GREEN, "D", "mean score" if first else None)
                seeds = [100 * value for value in entry["per_seed"].values()]
                ax.plot(seeds, [place - 0.14] * len(seeds), "|", color=BLACK, markersize=7, zorder=6,
                        label="seeds" if first else None)  # fmt: skip
            ax.set_title(split, fontsize=10)
            ax.set_xlabel(f"success{' and mean score' if graded else ''} (%), 95 % interval")
            ax.grid(axis="x", color="#DDDDDD", linewidth=0.6)
        name_rows(axes[0], _with_seeds(found, methods))
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=5)

    return render((11, 2.0 + 0.42 * len(methods)), "Final policies, each in the mode that it trains", draw)


def curves_figure(found: Found) -> bytes:
    """Training success of the methods, a row a family, against steps and against tokens."""
    families = _families(found["curves"])

    def draw(figure: "Figure") -> None:
        axes = figure.subplots(len(families), 2, squeeze=False, sharey=True)
        for row, (name, methods) in zip(axes, families, strict=True):
            for ax, x, label in (
                (row[0], "step", "co-evolution step"),
                (row[1], "tokens", "tokens sampled (thousands)"),
            ):
                for method in methods:
                    curve = found["curves"][method]
                    at = np.asarray(curve[x], dtype=float) / (1000 if x == "tokens" else 1)
                    banded_line(ax, at, curve.get("success_rate"), 100, _colour(methods, method), title(found, method))
                ax.set_xlabel(label)
                ax.grid(axis="y", color="#DDDDDD", linewidth=0.6)
            row[0].set_ylabel(f"{name}\ntraining success (%)")
            row[0].legend(loc="lower right")

    heading = "Training success: mean over seeds, moving average, band from lowest to highest"
    return render((11, 1.0 + 2.9 * len(families)), heading, draw)


def schedule_figure(found: Found) -> bytes:
    """The schedules' lambda, and the full schedule's lead over each other one."""
    others = [m for m in ("grpo_sg", *SCHEDULE_VARIANTS) if m in found["methods"]]
    drawn = [m for m in ("grpo_sg_gr", *others) if m in found["curves"]]
    splits = list(found["setting"]["splits"])

    def draw(figure: "Figure") -> None:
        left, right = figure.subplots(1, 2, width_ratios=(1, 1.3))
        for index, method in enumerate(drawn):
            curve = found["curves"][method]
            left.plot(curve["step"], curve["trust"], color=_colour(drawn, method), linewidth=1.8,
                      linestyle=("-", "--", "-.", ":")[index % 4], label=title(found, method))  # fmt: skip
        left.set_xlabel("co-evolution step")
        left.set_ylabel("trust λ")
        right.axvline(0, color=GREY, linewidth=0.8)
        for row in found["pairs"]["rows"]:
            if row["left"] == "grpo_sg_gr" and row["right"] in others:
                which = splits.index(row["split"])
                first = row["right"] == others[0]
                interval_bar(right, row, others.index(row["right"]) + 0.24 * (which - (len(splits) - 1) / 2),
                     PALETTE[which], MARKERS[which % len(MARKERS)], row["split"] if first else None)  # fmt: skip
        name_rows(right, [f"full − {title(found, method)}" for method in others])  # noqa: RUF001
        right.set_xlabel("points, paired by seed and game, 95 % interval")
        right.grid(axis="x", color="#DDDDDD", linewidth=0.6)
        handles, labels = ([*one, *two] for one, two in zip(*(ax.get_legend_handles_labels() for ax in (left, right)),
                                                            strict=True))  # fmt: skip
        if handles:
            figure.legend(handles, labels, loc="outside lower center", ncols=4)

    return render((11, 4.2), "Does the schedule matter? Right of 0 the full schedule is better", draw)


FIGURES: dict[str, tuple[Callable[[Any], bytes], str]] = {
    "dials": (dials_figure, "Dials of the guidance over the steps, moving averages, mean over seeds."),
    "reliability": (reliability_figure, "How often turns with each label belong to won episodes, base and final."),
    "comparison": (comparison_figure, "Success of the final policies on the evaluation panels."),
    "curves": (curves_figure, "Success on the training games of each step, against steps and tokens."),
    "schedules": (schedule_figure, "Trust schedules, and the full one's lead over each of the others."),
    "cross_checkpoint": (cross_figure, "Success of a policy guided by other checkpoints."),
}
"""name -> (draws it from study.json, caption)."""


def draw_figures(found: Found) -> dict[str, bytes]:
    """Draw all figures: name -> PNG; the cross-checkpoint matrix only where it was evaluated."""
    return {
        name: draw(found)
        for name, (draw, _) in FIGURES.items()
        if name != "cross_checkpoint" or found["cross_checkpoint"]["cells"]
    }


def _with_seeds(found: Found, methods: Sequence[str]) -> list[str]:
    """Titles, with the number of seeds where methods differ in it: fewer seeds look surer than they are."""
    seeds = {method: len(found["methods"][method]["seeds"]) for method in methods}
    if len(set(seeds.values())) == 1:
        return [title(found, method) for method in methods]
    return [f"{title(found, method)}\n({seeds[method]} seed{'s' * (seeds[method] != 1)})" for method in methods]


def _families(present: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """Return the families of which more than what is shown elsewhere is there."""
    families: list[tuple[str, list[str]]] = []
    shown: set[str] = set()
    for name, members in FAMILIES:
        there = [method for method in members if method in present]
        if set(there) - shown:
            families.append((name, there))
            shown |= set(there)
    rest = [method for method in present if method not in shown]
    return [*families, ("others", rest)] if rest else families


def _colour(methods: Sequence[str], method: str) -> str:
    return PALETTE[methods.index(method) % len(PALETTE)]
