"""The sweep's figures: PNGs, each drawn from sweep.json alone, the same bytes for the same figures."""

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from sg_pipeline.config.rewards import parse_schedule
from sg_pipeline.reporting.drawing import PALETTE, interval_bar, name_rows, render
from sg_pipeline.reporting.figures import BLACK, BLUE, GREEN, GREY, ORANGE, RED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Found = Mapping[str, Any]

_SHOWN_SCHEDULES = 5
_PRESET_DASHES = {"paper": "--", "constant": ":", "off": "-."}
_SCHEDULE = "aggregate.schedule."


def history_figure(found: Found) -> bytes:
    """Success of each trial in the order of their numbers, and the best so far."""
    trials = found["search"]["trials"]

    def draw(figure: "Figure") -> None:
        ax = figure.subplots()
        for name, colour, marker, chosen in (
            ("complete", BLUE, "o", [t for t in trials if t["state"] == "complete" and not t["preset"]]),
            ("preset", ORANGE, "D", [t for t in trials if t["preset"] and t["validations"]]),
            ("pruned, at its last validation", GREY, "x",
             [t for t in trials if t["state"] == "pruned" and not t["preset"]]),
        ):  # fmt: skip
            if chosen:
                ax.plot([t["number"] for t in chosen], [_last(t) for t in chosen], marker, color=colour, label=name)
        for trial in trials:
            if trial["preset"] and trial["validations"]:
                ax.annotate(
                    trial["preset"], (trial["number"], _last(trial)), (3, 5), textcoords="offset points", fontsize=8
                )
        complete = [t for t in trials if t["state"] == "complete"]
        if complete:
            best = np.maximum.accumulate([_last(t) for t in complete])
            ax.step([t["number"] for t in complete], best, where="post", color=GREEN, label="best so far")
        _finish(ax, "trial", "success on the validation games (%)")

    return render((9, 4), "History of the search", draw)


def curves_figure(found: Found) -> bytes:
    """Validation success of each trial over its steps; where a line ends early the trial was pruned."""

    def draw(figure: "Figure") -> None:
        ax = figure.subplots()
        for trial in found["search"]["trials"]:
            if not trial["validations"]:
                continue
            after, success = np.array(trial["validations"], dtype=float).T
            preset = trial["preset"]
            colour = ORANGE if preset else BLUE if trial["state"] == "complete" else GREY
            ax.plot(after, 100 * success, color=colour, alpha=1 if preset else 0.5, linewidth=2 if preset else 1,
                    linestyle=_PRESET_DASHES.get(preset, "-"), marker="x" if colour == GREY else ".",
                    label=preset)  # fmt: skip
        _finish(ax, "co-evolution step", "success on the validation games (%)", scaled=True)

    return render((9, 4), "Trials: presets in orange, pruned ones in grey", draw)


def slice_figure(found: Found) -> bytes:
    """Success against each searched dimension."""
    trials = [t for t in found["search"]["trials"] if t["state"] == "complete" and t["point"]]
    names = list(dict.fromkeys(name for trial in trials for name in trial["point"]))

    def draw(figure: "Figure") -> None:
        axes = figure.subplots(1, max(1, len(names)), sharey=True, squeeze=False)[0]
        for ax, name in zip(axes, names, strict=False):
            ax.scatter([t["point"][name] for t in trials], [100 * t["values"][0] for t in trials],
                       c=[ORANGE if t["preset"] else BLUE for t in trials], s=18)  # fmt: skip
            ax.set_xlabel(name)
            ax.grid(axis="y", color="#DDDDDD", linewidth=0.6)
        axes[0].set_ylabel("success (%)")

    return render((2.4 * max(2, len(names)), 3.4), "Success by dimension, presets in orange", draw)


def importance_figure(found: Found) -> bytes:
    """Share of each dimension in reaching a high success."""
    shares = found["search"]["importance"]
    names = sorted(shares, key=lambda name: -shares[name])

    def draw(figure: "Figure") -> None:
        ax = figure.subplots()
        ax.barh(range(len(names)), [100 * shares[name] for name in names], color=BLUE)
        name_rows(ax, names)
        ax.set_xlabel("share of the importance (PED-ANOVA, %)")

    return render((7, 1.2 + 0.4 * len(names)), "Which dimensions matter", draw)


def schedules_figure(found: Found) -> bytes:
    """Trust over the steps: the best trials and the presets."""
    search, steps = found["search"], found["sweep"]["steps"]
    trials = {trial["number"]: trial for trial in search["trials"]}
    best = [trials[n] for n in search["ranking"] if not trials[n]["preset"]][:_SHOWN_SCHEDULES]
    presets = [trial for trial in trials.values() if trial["preset"]]

    def draw(figure: "Figure") -> None:
        ax = figure.subplots()
        for trial in presets:
            ax.plot(range(steps + 1), _trust(trial["parameters"], steps), color=BLACK, linewidth=1.4,
                    linestyle=_PRESET_DASHES[trial["preset"]], label=_label(trial["preset"], trial))  # fmt: skip
        for index, trial in enumerate(best):
            ax.plot(range(steps + 1), _trust(trial["parameters"], steps), color=PALETTE[index % len(PALETTE)],
                    linewidth=2.2 - 0.3 * index, label=_label(f"trial {trial['number']}", trial))  # fmt: skip
        _finish(ax, "co-evolution step", "trust λ", scaled=True)

    return render((9, 4), "The best schedules beside the presets", draw)


def front_figure(found: Found) -> bytes:
    """Both objectives of each complete trial; the Pareto front is what no other trial beats in both."""
    search = found["search"]
    trials = [trial for trial in search["trials"] if trial["state"] == "complete"]

    def draw(figure: "Figure") -> None:
        ax = figure.subplots()
        for trial in trials:
            colour = RED if trial["number"] in search["front"] else GREY
            ax.plot([100 * trial["values"][0]], [trial["values"][1]], "D" if trial["preset"] else "o", color=colour)
            if trial["preset"] or colour == RED:
                ax.annotate(trial["preset"] or str(trial["number"]), (100 * trial["values"][0], trial["values"][1]),
                            (3, 4), textcoords="offset points", fontsize=8)  # fmt: skip
        _finish(ax, "success on the validation games (%)", search["objectives"][1].replace("_", " "), scaled=True)

    return render((6, 4), "Pareto front, in red", draw)


def confirmation_figure(found: Found) -> bytes:
    """Success of the contenders on the evaluation games with their intervals, a panel a split."""
    confirmation = found["confirmation"]
    labels, splits = list(confirmation["contenders"]), confirmation["splits"]

    def draw(figure: "Figure") -> None:
        axes = figure.subplots(1, len(splits), sharey=True, squeeze=False)[0]
        for ax, split in zip(axes, splits, strict=True):
            for row, label in enumerate(labels):
                final = confirmation["contenders"][label]["evaluation"][split]["final"]
                colour = GREEN if label == found["winner"]["label"] else BLUE
                interval_bar(ax, final["mean"], row, colour, "o", None)
                ax.plot([100 * value for value in final["per_seed"].values()], [row] * len(final["per_seed"]), "|",
                        color=BLACK, markersize=8)  # fmt: skip
            ax.axvline(100 * confirmation["base"][split]["base"]["mean"]["value"], color=GREY, linestyle=":")
            ax.set_title(split, fontsize=10)
            ax.set_xlabel("success (%), 95 % interval; strokes: seeds; dotted: base")
            ax.grid(axis="x", color="#DDDDDD", linewidth=0.6)
        name_rows(axes[0], labels)

    return render(
        (10, 1.6 + 0.4 * len(labels)), "Run again with other seeds: the evaluation games; the winner in green", draw
    )


FIGURES: dict[str, tuple[Callable[[Any], bytes], str]] = {
    "confirmation": (confirmation_figure, "The contenders on the evaluation games, which the search never played."),
    "schedules": (schedules_figure, "Trust over the steps: the best trials and the presets."),
    "history": (history_figure, "Validation success of each trial."),
    "curves": (curves_figure, "Validation success over the steps of each trial."),
    "slice": (slice_figure, "Validation success against each searched dimension."),
    "importance": (importance_figure, "Share of each dimension in reaching a high success."),
    "front": (front_figure, "Both objectives; the Pareto front."),
}
"""name -> (draws it from sweep.json, caption)."""


def draw_figures(found: Found) -> dict[str, bytes]:
    """Draw the figures for which there is something to show: name -> PNG."""
    search = found["search"]
    there = {
        "confirmation": found["confirmation"] is not None,
        "importance": bool(search["importance"]),
        "front": bool(search["front"]),
        "slice": any(trial["point"] and trial["values"] for trial in search["trials"]),
    }
    return {name: draw(found) for name, (draw, _) in FIGURES.items() if there.get(name, bool(search["ranking"]))}


def _last(trial: Mapping[str, Any]) -> float:
    """Return the success in the trial's last validation, in per cent; NaN before its first."""
    return 100 * trial["validations"][-1][1] if trial["validations"] else math.nan


def _label(name: str, trial: Mapping[str, Any]) -> str:
    return f"{name}: {_last(trial):.1f} %" if trial["validations"] else name


def _trust(parameters: Mapping[str, Any], steps: int) -> list[float]:
    values = {n.removeprefix(_SCHEDULE): v for n, v in parameters.items() if n.startswith(_SCHEDULE)}
    schedule = parse_schedule(values)
    return [schedule.trust(step, steps) for step in range(steps + 1)]


def _finish(ax: "Axes", x: str, y: str, *, scaled: bool = False) -> None:
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    ax.grid(axis="y", color="#DDDDDD", linewidth=0.6)
    if not scaled:
        from matplotlib.ticker import MaxNLocator

        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    if ax.get_legend_handles_labels()[0]:
        ax.legend()
