"""The learning curve: success, trust, and the dials that show reward hacking first, over one axis of steps.

The metrics of a step are drawn at x = step: they were measured on episodes of the policy trained for that number of
steps. The base policy's evaluation is therefore at 0, the final policy's at the number of steps.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from sg_pipeline.evaluation.metrics import is_graded
from sg_pipeline.reporting.drawing import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, RED, SKY, frame, label, render
from sg_pipeline.reporting.summary import step_curves

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LABELS = {"positive": SKY, "neutral": "#DDDDDD", "negative": RED}
SPLITS = (BLUE, RED, GREEN, PURPLE)
MARKERS = ("o", "s", "^", "D")
PHASE_SHADES = ("#FFFFFF", "#F1F1F1", "#E4E4E4", "#F1F1F1")

Curves = dict[str, np.ndarray]
Scores = Mapping[str, Mapping[str, Any]]


def learning_curve(
    metrics: Sequence[Mapping[str, Any]],
    base: Scores | None = None,
    final: Scores | None = None,
    *,
    title: str = "Self-Guide: co-evolution of policy and internal reward",
) -> bytes:
    """Draw a run's learning curve.

    Args:
        metrics: one mapping per step (see `summary.build_summary`); missing values leave gaps, a panel without any
            value is left out.
        base, final: split -> score of the policy before and after training; entries without `success_rate` are skipped.
            Where episodes are graded, mean scores have a separate panel.
        title: heading of the figure.

    Returns:
        A PNG; deterministic.
    """
    metrics = sorted(metrics, key=lambda step: step["step"])
    curves = {
        name: np.array([np.nan if v is None else v for v in values], dtype=np.float64)
        for name, values in step_curves(metrics).items()
        if name not in ("phase", "trust_reason")
    }
    steps = len(metrics)
    phases = _phases(metrics)
    panels: list[tuple[float, Callable[[Axes], None]]] = [(2.4, lambda ax: _success(ax, curves, steps, base, final))]
    if _graded(curves, base, final):
        panels.append((2.4, lambda ax: _success(ax, curves, steps, base, final, metric="score")))
    labels = tuple(f"{name}_share" for name in LABELS)
    guided = _any(curves, *labels)  # without guidance there is nothing to trust
    for height, draw, names in (
        (1.0, _trust, ("lambda",)),
        (1.4, _label_shares, labels),
        (1.4, _hacking, ("r_sg_gap", "corr_r_sg_turns")),
        (1.2, _training, ("training.entropy", "training.kl")),
    ):
        if _any(curves, *names) and (guided or draw is _training):
            panels.append((height, partial(draw, curves=curves)))

    def draw_panels(figure: "Figure") -> None:
        heights = [height for height, _ in panels]
        frame(figure, 9, 1.3 + 1.45 * sum(heights), title)
        axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
        for ax, (_, draw) in zip(axes, panels, strict=True):
            for index, (_, begin, end) in enumerate(phases):
                ax.axvspan(begin, end, color=PHASE_SHADES[index % len(PHASE_SHADES)], linewidth=0, zorder=0)
            for _, begin, _ in phases[1:]:
                ax.axvline(begin, color="#555555", linewidth=0.6, linestyle=(0, (2, 2)), zorder=4)
            draw(ax)
        _name_phases(axes[0], phases)
        margin = max(0.02 * steps, 0.1)
        axes[-1].set_xlim(-margin, max(steps, 1) + margin)
        axes[-1].xaxis.get_major_locator().set_params(integer=True)
        axes[-1].set_xlabel("co-evolution step (policy updates so far)")
        figure.align_ylabels(axes)

    return render(draw_panels)


def moving_average(values: np.ndarray, window: int) -> np.ndarray:
    """Centred mean over `window` (odd) values, fewer at the ends; NaN is ignored."""
    half = window // 2
    parts = (values[max(0, i - half) : i + half + 1] for i in range(len(values)))
    return np.array([np.nanmean(part) if np.isfinite(part).any() else np.nan for part in parts])


def _success(
    ax: "Axes", curves: Curves, steps: int, base: Scores | None, final: Scores | None, metric: str = "success_rate"
) -> None:
    """Draw success, or another mean over episodes, in training and at both ends."""
    bound = "ci95" if metric == "success_rate" else f"{metric}_ci95"
    if _any(curves, metric):
        success = 100 * curves[metric]
        _line(ax, curves, success, color=GREY, linewidth=0.8, label="training episodes")
        window = max(3, 2 * (steps // 20) + 1)
        if steps > 2 * window:
            smooth = moving_average(success, window)
            ax.plot(curves["step"], smooth, color=BLACK, linewidth=2, label=f"… mean of {window} steps")
    ends = [(0, base or {}), (steps, final or {})]
    splits = sorted({split for _, scores in ends for split, score in scores.items() if _rate(score) is not None})
    for index, split in enumerate(splits):
        points = [(x, scores[split]) for x, scores in ends if split in scores and _rate(scores[split]) is not None]
        rates = [100 * score[metric] for _, score in points]
        bounds = [score.get(bound) or score.get("ci95") or [score[metric]] * 2 for _, score in points]
        errors = [[r - 100 * low, 100 * high - r] for r, (low, high) in zip(rates, bounds, strict=True)]
        shift = (index - (len(splits) - 1) / 2) * max(steps, 1) * 0.012  # bars of two splits side by side
        ax.errorbar(
            [x + shift for x, _ in points], rates, yerr=np.clip(np.array(errors).T, 0, None),
            color=SPLITS[index % len(SPLITS)], marker=MARKERS[index % len(MARKERS)], markersize=6, capsize=3,
            linewidth=0.8, linestyle=":", elinewidth=1.5, zorder=5,
            label=f"{split}: {' → '.join(f'{rate:.1f}' for rate in rates)} % (95 % interval)",
        )  # fmt: skip
    label(ax, y=f"{metric.removesuffix('_rate')} (%)")
    top = 1.2 * ax.get_ylim()[1]  # with room for the legend
    ax.set_yticks([tick for tick in ax.get_yticks() if 0 <= tick <= 100])
    ax.set_ylim(0, top)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(loc="upper left", ncols=2)


def _graded(curves: Curves, *evaluations: Scores | None) -> bool:
    """Whether the score differs from success."""
    success = curves.get("success_rate", np.zeros(0))
    trained = _any(curves, "score") and not np.array_equal(curves["score"], success, equal_nan=True)
    return trained or is_graded(*(score for scores in evaluations for score in (scores or {}).values()))


def _trust(ax: "Axes", curves: Curves) -> None:
    _line(ax, curves, curves["lambda"], drawstyle="steps-mid", color=BLACK, linewidth=1.8, label="λ")
    if _any(curves, "guidance_only_groups"):
        name = "share of groups whose gradient is guidance alone"
        _line(ax, curves, curves["guidance_only_groups"], color=ORANGE, linewidth=1.2, label=name)
    lowest = 0.0
    if _any(curves, "verdict_concordance"):
        order = curves["verdict_concordance"]
        _line(ax, curves, order, color=BLUE, linewidth=1.2, label="verdicts in the right order (1: all, 0: chance)")
        lowest = min(0.0, float(np.nanmin(order)))
    ax.set_ylabel("trust λ")
    ax.set_ylim(lowest - 0.05, 1.35 * max(1.05, float(np.nanmax(curves["lambda"]))))  # with room for the legend
    ax.legend(loc="upper left", ncols=3)


def _label_shares(ax: "Axes", curves: Curves) -> None:
    shares = [100 * np.nan_to_num(curves.get(f"{label}_share", np.zeros(0))) for label in LABELS]
    ax.stackplot(
        curves["step"], *shares, colors=list(LABELS.values()), labels=list(LABELS), edgecolor="white", linewidth=0.4
    )
    ax.set_ylabel("guidance\nlabels (%)")
    ax.set_ylim(0, 100)
    ax.legend(loc="lower left", ncols=3)


def _hacking(ax: "Axes", curves: Curves) -> None:
    ax.axhline(0, color=GREY, linewidth=0.8)
    _twin(ax, curves, ("r_sg_gap", "$R_{sg}$ of won $-$ lost", BLUE), ("corr_r_sg_turns", "corr($R_{sg}$, T)", RED))
    reach = max(0.1, *(abs(limit) for limit in ax.get_ylim()))
    ax.set_ylim(-reach, reach)  # 0 in the middle, as on the correlation's axis


def _training(ax: "Axes", curves: Curves) -> None:
    _twin(ax, curves, ("training.entropy", "entropy (nats)", GREEN), ("training.kl", "KL", PURPLE))
    ax.set_ylim(bottom=0)


def _twin(ax: "Axes", curves: Curves, left: tuple[str, str, str], right: tuple[str, str, str]) -> None:
    """Draw two metrics with different units, each with an axis in its own colour."""
    for name, title, colour in (left, right):
        if name == right[0]:
            if not _any(curves, name):
                return
            ax = ax.twinx()  # type: ignore[assignment]
            ax.spines["right"].set_visible(True)
        if _any(curves, name):
            _line(ax, curves, curves[name], linestyle="-" if name == left[0] else "--", color=colour, linewidth=1.4)
        ax.set_ylabel(title, color=colour)
        ax.tick_params(axis="y", colors=colour)
    if right[0].startswith("corr"):
        ax.set_ylim(-1.05, 1.05)
    else:
        ax.set_ylim(bottom=min(0.0, float(np.nanmin(curves[right[0]]))))


def _name_phases(ax: "Axes", phases: Sequence[tuple[str, float, float]]) -> None:
    """Write the phases' names above the panel."""
    style: dict[str, Any] = {
        "textcoords": "offset points", "xytext": (0, 3), "va": "bottom", "fontsize": 8, "color": "#555555",
    }  # fmt: skip
    for name, begin, end in phases:
        ax.annotate(name, ((begin + end) / 2, 1), xycoords=("data", "axes fraction"), ha="center", **style)
    if phases:
        ax.annotate("phase", (0, 1), xycoords="axes fraction", ha="right", **style)


def _phases(metrics: Sequence[Mapping[str, Any]]) -> list[tuple[str, float, float]]:
    """(name, begin, end) of each phase, in steps; "phase_1_warmup" is called "1 warmup"."""
    names = [str(step.get("phase") or "").removeprefix("phase_").replace("_", " ") for step in metrics]
    runs = [[index for index, _ in run] for _, run in groupby(enumerate(names), key=lambda pair: pair[1])]
    return [(names[run[0]], float(run[0]), run[-1] + 1.0) for run in runs if names[run[0]]]


def _line(ax: "Axes", curves: Curves, values: np.ndarray, **style: Any) -> None:
    """Draw values over the steps, with a marker in a short run, because a line through one point is invisible."""
    ax.plot(curves["step"], values, marker="" if len(curves["step"]) > 12 else ".", **style)


def _rate(score: Any) -> float | None:
    return score.get("success_rate") if isinstance(score, Mapping) else None


def _any(curves: Curves, *names: str) -> bool:
    """Whether any of these metrics has a value."""
    return any(np.isfinite(curves[name]).any() for name in names if name in curves)
