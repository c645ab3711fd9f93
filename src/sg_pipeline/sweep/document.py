"""The sweep to read: a page of Markdown, figures in the folder beside it."""

from collections.abc import Mapping
from typing import Any

from sg_pipeline.reporting.text import NONE, bare_percent, duration, interval, number, percent, points, table
from sg_pipeline.sweep.figures import FIGURES
from sg_pipeline.sweep.method_file import command

Found = Mapping[str, Any]

_SCHEDULE = "aggregate.schedule."


def sweep_markdown(found: Found, figures: Mapping[str, str]) -> str:
    """Write the sweep.

    Args:
        found: of `results.sweep_results`.
        figures: name -> path relative to the document; others are left out.
    """
    parts = [f"# Sweep {found['sweep']['name']}", found["verdict"], *_winner(found), *_confirmation(found)]
    parts += ["## Trials", _accounts(found), _saved(found), _trials(found)]
    shown = [f"![{caption}]({figures[name]})" for name, (_, caption) in FIGURES.items() if name in figures]
    return "\n\n".join([*parts, *(["## Figures", *shown] if shown else [])]) + "\n"


def accounts(found: Found) -> dict[str, int]:
    """Count the trials by state; every one that was begun is in one of them."""
    states = [trial["state"] for trial in found["search"]["trials"]]
    return {state: states.count(state) for state in ("complete", "pruned", "failed", "running") if state in states}


def _winner(found: Found) -> list[str]:
    winner = found["winner"]
    if winner is None:
        return []
    name = found["sweep"]["name"]
    return [
        "## The winner",
        f"{winner['label']}: {describe(winner['parameters'])}. As a method it stands in `best.yml` (copy it to "
        f"`conf/methods/{name}.yml`, then `run.method={name}`); on the command line:",
        f"```bash\n{command(winner['parameters'], f'{name}-best')}\n```",
    ]


def describe(parameters: Mapping[str, Any]) -> str:
    """Return a trial's parameters in short: "trapezoid 0.5 / 0.625 / 0.875, peak 1, linear; learning_rate 0.0003"."""
    own = {name.removeprefix(_SCHEDULE): value for name, value in parameters.items() if name.startswith(_SCHEDULE)}
    kind = own.get("kind", NONE)
    if kind == "trapezoid":
        borders = " / ".join(f"{own[name]:g}" for name in ("activation", "full", "annealing"))
        told = f"trapezoid {borders}, peak {own['peak']:g}, {own['shape']}"
    else:
        told = f"constant {own['value']:g}" if kind == "constant" else str(kind)
    others = [
        f"{name.rpartition('.')[2]} {value:g}" for name, value in parameters.items() if not name.startswith(_SCHEDULE)
    ]
    return "; ".join([told, *others])


def _confirmation(found: Found) -> list[str]:
    confirmation = found["confirmation"]
    if confirmation is None:
        return []
    splits = confirmation["splits"]
    rows = []
    for label, entry in confirmation["contenders"].items():
        cells = []
        for split in splits:
            final = entry["evaluation"][split]["final"]["mean"]
            cells.append(f"{bare_percent(final['value'])} {interval(final['ci95'], bare_percent)}")
        rows.append([label, bare_percent(entry["validation"]["mean"]), *cells])
    against = [
        [f"{row['left']} − {row['right']}", row["split"], f"{points(row['value'])} {interval(row['ci95'], points)}",  # noqa: RUF001
         number(row["p_holm"], 3), row["verdict"] if row["survives"] else "noise"]
        for row in confirmation["rows"]
    ]  # fmt: skip
    seeds = ", ".join(map(str, confirmation["seeds"]))
    texts = [
        "## Run again with other seeds",
        f"Seeds {seeds}, {confirmation['steps']} steps each. The winner is named by the validation games; the "
        f"evaluation games were not played before. Success in %, 95 % intervals over seeds and games.",
        table(["schedule", "validation", *splits], rows),
    ]
    if against:
        texts.append(table(["paired by seed and game", "split", "points", "p (Holm)", "in words"], against))
    return texts


def _accounts(found: Found) -> str:
    told = ", ".join(f"{count} {state}" for state, count in accounts(found).items())
    return f"{len(found['search']['trials'])} trials: {told}."


def _saved(found: Found) -> str:
    saved = found["search"]["saved"]
    if not saved["shared"]:
        return "No steps were shared between trials."
    share = saved["shared"] / saved["steps"]
    spent = saved["seconds"] + saved["seconds_saved"]
    return (
        f"Shared steps: {saved['shared']} of {saved['steps']} ({percent(share)}) were taken over from a trial whose "
        f"schedule agreed until then ({saved['retrained']} of them trained again on its trajectories), which saved "
        f"{duration(saved['seconds_saved'])} of {duration(spent)}."
    )


def _trials(found: Found) -> str:
    objectives = found["search"]["objectives"]
    rows = []
    for trial in found["search"]["trials"]:
        last = trial["validations"][-1] if trial["validations"] else [0, None]
        second = [] if len(objectives) == 1 else [number(trial["values"][1] if trial["values"] else None)]
        rows.append(
            [f"{trial['number']} {trial['preset'] or ''}".rstrip(), describe(trial["parameters"]),
             trial["state"], str(last[0]), bare_percent(last[1]), *second, str(trial["work"]["shared"])]
        )  # fmt: skip
    head = [
        "trial",
        "schedule",
        "state",
        "validated after",
        "success %",
        *(o.replace("_", " ") for o in objectives[1:]),
    ]
    return table([*head, "steps shared"], rows)
