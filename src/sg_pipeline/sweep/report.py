"""What a sweep leaves to read and to use: sweep.md, its figures, and the winner as a method (best.yml)."""

import io
import math
import textwrap
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna

from sg_pipeline.reporting.drawing import PALETTE, frame, interval_bar, label, name_rows, render
from sg_pipeline.reporting.figures import BLACK, BLUE, GREEN, GREY
from sg_pipeline.reporting.text import bare_percent, duration, number, percent, points, table
from sg_pipeline.runs.child import as_text
from sg_pipeline.runs.shared_steps import SCHEDULE, recorded_schedule
from sg_pipeline.study.tables import with_interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Found = Mapping[str, Any]
"""Of `results.sweep_results`."""

CAPTIONS = {
    "confirmation": "The contenders on the evaluation games, which the search never played.",
    "schedules": "Trust over the steps: the best trials and the presets.",
    "history": "Validation success of each complete trial.",
    "curves": "Validation success over the steps of each trial; where a line ends early the trial was pruned.",
    "slice": "Validation success against each searched dimension.",
    "importance": "Share of each dimension in reaching a high success (PED-ANOVA).",
    "front": "Both objectives; the Pareto front.",
}

_SHOWN_SCHEDULES = 5
_PRESET_DASHES = {"paper": "--", "constant": ":", "off": "-."}


def sweep_markdown(found: Found, figures: Mapping[str, str]) -> str:
    """Write the sweep; `figures` are paths relative to the document."""
    trials, name = found["search"]["trials"], found["sweep"]["name"]
    states = [trial["state"] for trial in trials]
    counts = ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states)))
    saved, winner = found["search"]["saved"], found["winner"]
    parts = [f"# Sweep {name}", found["verdict"]]
    if winner is not None:
        parts += [
            "## The winner",
            f"{winner['label']}: {describe(winner['parameters'])}. As a method: `best.yml` (copy it to "
            f"`conf/methods/{name}.yml`, then `run.method={name}`); on the command line:",
            f"```bash\n{command(winner['parameters'], f'{name}-best')}\n```",
        ]
    if found["confirmation"] is not None:
        parts += _confirmation(found["confirmation"])
    parts += [
        "## Trials",
        f"{len(trials)} trials: {counts}. Steps taken over from a trial whose schedule agreed until then: "
        f"{saved['shared']} of {saved['steps']} ({saved['retrained']} of them trained again on its trajectories), "
        f"which saved {duration(saved['seconds_saved'])} of {duration(saved['seconds'] + saved['seconds_saved'])}.",
        _trials(found),
    ]
    if figures:
        parts += ["## Figures", *(f"![{CAPTIONS[name]}]({figures[name]})" for name in CAPTIONS if name in figures)]
    return "\n\n".join(parts) + "\n"


def describe(parameters: Mapping[str, Any]) -> str:
    """Return a trial's parameters in short: "trapezoid 0.5 / 0.625 / 0.875, peak 1, linear; learning_rate 0.0003"."""
    own = {name.removeprefix(SCHEDULE): value for name, value in parameters.items() if name.startswith(SCHEDULE)}
    others = [f"{n.rpartition('.')[2]} {value:g}" for n, value in parameters.items() if not n.startswith(SCHEDULE)]
    schedule = str(own.get("kind", "not drawn yet"))
    if schedule == "trapezoid":
        borders = " / ".join(f"{own[name]:g}" for name in ("activation", "full", "annealing"))
        schedule += f" {borders}, peak {own['peak']:g}, {own['shape']}"
    if schedule == "earned":
        schedule += f", full from {own['full_at']:g}, peak {own['peak']:g}, annealing from {own['annealing']:g}"
    if schedule == "constant":
        schedule += f" {own['value']:g}"
    return "; ".join([schedule, *others])


def command(parameters: Mapping[str, Any], run: str) -> str:
    """Return the command that makes the run `run` with these parameters."""
    return f"kedro run --pipeline=coevolve --params {as_text({**parameters, 'run.name': run})}"


def method_file(found: Found) -> str:
    """Return a file of conf/methods with the winner's parameters; a comment where there is no winner."""
    import yaml

    winner, name = found["winner"], found["sweep"]["name"]
    if winner is None:
        return f"# The sweep {name} has no complete trial, so there is no best schedule yet.\n"
    tree: dict[str, Any] = {"title": f"{name}: {winner['label']}"}
    for parameter, value in winner["parameters"].items():
        node, (*sections, leaf) = tree, parameter.split(".")
        for section in sections:
            node = node.setdefault(section, {})
        node[leaf] = value
    steps = (found["confirmation"] or found["sweep"])["steps"]
    head = [
        f"The winner of the sweep {name}: {winner['label']}, found with runs of {steps} steps.",
        *textwrap.wrap(found["verdict"], 116),
        f"Copied to conf/methods/{name}.yml: kedro run --pipeline=coevolve --params run.method={name},run.seed=0",
        f"The same without a file: {command(winner['parameters'], f'{name}-best')}",
    ]
    body = yaml.safe_dump(tree, sort_keys=False, default_flow_style=None)
    return "".join(f"# {line}\n" for line in head) + body


def draw_figures(found: Found, study: optuna.Study) -> dict[str, bytes]:
    """Draw the figures for which there is something to show: name -> PNG. Of the search itself they are Optuna's."""
    search = found["search"]
    figures = {}
    if found["confirmation"] is not None:
        figures["confirmation"] = render(lambda figure: _draw_confirmation(figure, found))
    if search["ranking"]:
        figures["schedules"] = render(lambda figure: _draw_schedules(figure, found))
        figures |= _optuna_figures(study, search)
    return figures


def _optuna_figures(study: optuna.Study, search: Mapping[str, Any]) -> dict[str, bytes]:
    import matplotlib as mpl
    import matplotlib.pyplot as plt
    from optuna.visualization import matplotlib as plots

    single = len(search["objectives"]) == 1  # only then Optuna knows what is best, and takes intermediate values
    name = {"target_name": "success on the validation games"}
    success: dict[str, Any] = {"target": lambda trial: trial.values[0], **name}
    searched = sorted({name for trial in search["trials"] if trial["values"] for name in trial["point"]})
    figures = {}
    with mpl.rc_context({"figure.figsize": (9, 4)}), warnings.catch_warnings():  # Optuna sets a style for the process
        warnings.simplefilter("ignore")  # these plots are marked as experimental
        axes: dict[str, Any] = {"history": plots.plot_optimization_history(study, **(name if single else success))}
        if single:
            axes["curves"] = plots.plot_intermediate_values(study)
            axes["curves"].set(xlabel="co-evolution step", ylabel=name["target_name"])
            if legend := axes["curves"].get_legend():
                legend.remove()  # an entry for each trial
        if searched:
            axes["slice"] = plots.plot_slice(study, searched, **success)
        if search["importance"]:
            high = {**success, "target": lambda trial: -trial.values[0]}  # see `results._importance`
            axes["importance"] = plots.plot_param_importances(study, params=list(search["importance"]), **high)
        if search["front"]:
            axes["front"] = plots.plot_pareto_front(study, target_names=search["objectives"])
        for figure_name, ax in axes.items():
            buffer, figure = io.BytesIO(), np.ravel(ax)[0].figure
            figure.savefig(buffer, format="png", dpi=120, bbox_inches="tight", metadata={"Software": None})
            plt.close(figure)
            figures[figure_name] = buffer.getvalue()
    return figures


def _confirmation(confirmation: Mapping[str, Any]) -> list[str]:
    splits = confirmation["splits"]
    rows = []
    for name, entry in confirmation["contenders"].items():
        means = (entry["evaluation"][split]["final"]["mean"] for split in splits)
        rows.append([name, bare_percent(entry["validation"]["mean"]), *map(with_interval, means)])
    against = [
        [f"{row['left']} - {row['right']}", row["split"], with_interval(row, points),
         number(row["p_holm"], 3), row["verdict"] if row["survives"] else "noise"]
        for row in confirmation["rows"]
    ]  # fmt: skip
    seeds = ", ".join(map(str, confirmation["seeds"]))
    return [
        "## Run again with other seeds",
        f"Seeds {seeds}, {confirmation['steps']} steps each. Success in %, 95 % intervals over seeds and games.",
        table(["schedule", "validation", *splits], rows),
        *([table(["paired by seed and game", "split", "points", "p (Holm)", "verdict"], against)] if against else []),
    ]


def _trials(found: Found) -> str:
    others = found["search"]["objectives"][1:]
    rows = []
    for trial in found["search"]["trials"]:
        after, success = trial["validations"][-1] if trial["validations"] else (0, None)
        second = [number(trial["values"][1] if trial["values"] else None) for _ in others]
        rows.append(
            [f"{trial['number']} {trial['preset'] or ''}".rstrip(), describe(trial["parameters"]),
             trial["state"], str(after), bare_percent(success), *second, str(trial["work"]["shared"])]
        )  # fmt: skip
    head = ["trial", "schedule", "state", "validated after", "success %", *(name.replace("_", " ") for name in others)]
    return table([*head, "steps shared"], rows)


def _draw_schedules(figure: "Figure", found: Found) -> None:
    """Draw trust over the steps: the best trials and the presets."""
    frame(figure, 9, 4, "The best schedules and the presets")
    search, steps = found["search"], found["sweep"]["steps"]
    trials = {trial["number"]: trial for trial in search["trials"]}
    best = [trials[n] for n in search["ranking"] if not trials[n]["preset"]][:_SHOWN_SCHEDULES]
    shown = [(trial, trial["preset"], BLACK, 1.4) for trial in trials.values() if trial["preset"]]
    shown += [(trial, None, PALETTE[index], 2.2 - 0.3 * index) for index, trial in enumerate(best)]
    ax = figure.subplots()
    for trial, preset, colour, width in shown:
        schedule = recorded_schedule(trial["parameters"])
        planned = [schedule.trust(step, steps) for step in range(steps + 1)]
        trust = [math.nan if value is None else value for value in planned]  # what is earned is not known beforehand
        name = preset or f"trial {trial['number']}"
        success = f": {percent(trial['validations'][-1][1])}" if trial["validations"] else ""
        ax.plot(range(steps + 1), trust, color=colour, linewidth=width, linestyle=_PRESET_DASHES.get(preset, "-"),
                label=f"{name}{success}")  # fmt: skip
    label(ax, "co-evolution step", "trust λ")
    ax.legend()


def _draw_confirmation(figure: "Figure", found: Found) -> None:
    """Draw success of the contenders on the evaluation games with their intervals, a panel a split."""
    confirmation = found["confirmation"]
    labels, splits = list(confirmation["contenders"]), confirmation["splits"]
    frame(figure, 10, 1.6 + 0.4 * len(labels), "Run again with other seeds: the evaluation games; the winner in green")
    axes = figure.subplots(1, len(splits), sharey=True, squeeze=False)[0]
    for ax, split in zip(axes, splits, strict=True):
        for row, name in enumerate(labels):
            final = confirmation["contenders"][name]["evaluation"][split]["final"]
            colour = GREEN if name == found["winner"]["label"] else BLUE
            interval_bar(ax, final["mean"], row, colour, "o", None)
            seeds = [100 * value for value in final["per_seed"].values()]
            ax.plot(seeds, [row] * len(seeds), "|", color=BLACK, markersize=8)
        ax.axvline(100 * confirmation["base"][split]["base"]["mean"]["value"], color=GREY, linestyle=":")
        ax.set_title(split, fontsize=10)
        label(ax, "success (%), 95 % interval; strokes: seeds; dotted: base", grid="x")
    name_rows(axes[0], labels)
