"""The model card: README.md beside the weights, with metadata as the Hugging Face Hub reads it.

Source of the format: huggingface_hub's `ModelCardData` and `EvalResult`, which write the `model-index`.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sg_pipeline.agents.commands import FORMS
from sg_pipeline.reporting.text import NONE, interval, percent, table

TAGS = ("reinforcement-learning", "grpo", "self-guide", "language-agent")

_MODES = {"with_guidance": "with guidance", "without_guidance": "without guidance"}
_SHOWN = ("coevolve.", "rollout.", "aggregate.", "train.", "base_model.", "evaluate.", "run.seed")
"""Parameters that the card tells, by how their names begin."""


def model_card(
    summary: Mapping[str, Any],
    identity: Mapping[str, Any],
    system_prompt: str,
    *,
    adapter: bool = False,
    best: Mapping[str, Any] | None = None,
) -> str:
    """Return the card of a run's final policy, or of its best checkpoint.

    Args:
        summary: see `reporting.summary`.
        identity: the run's `run.json`.
        system_prompt: with which the policy was trained.
        adapter: the folder holds an adapter (PEFT), not a whole model.
        best: see `policies.retention.BEST`; then the card is that checkpoint's, which was not evaluated itself.

    Returns:
        Markdown with a YAML head.
    """
    from huggingface_hub import ModelCard, ModelCardData

    parameters = identity["parameters"]
    base = _base_of(parameters)
    data = ModelCardData(
        base_model=base,
        library_name="peft" if adapter else "transformers",
        pipeline_tag="text-generation",
        tags=[*TAGS, str(summary["environment"])],
        model_name=str(summary["run"]).replace("/", "-"),
        eval_results=None if best else list(_eval_results(summary, parameters)) or None,
        metrics=None if best else ["success_rate"],
    )
    mode = summary["mode"]
    what = f"the checkpoint after {best['after']} of {summary['steps']} steps" if best else "the final policy"
    sections = [
        f"# {summary['run']}",
        f"A language agent for {summary['environment']} ({summary['panel']}): {what} of a run of Self-Guide "
        "co-evolution (arXiv 2604.03098). Before each action it writes a short guidance, whose verdict is an internal "
        "reward; a trust schedule weighs it while GRPO trains guidance and actions together.",
        f"Base model: {f'[{base}](https://huggingface.co/{base})' if base else parameters.get('base_model.path')}.",
        "## Figures",
        _best_figures(best) if best else _figures(summary),
        "## How to load and prompt it",
        _usage(adapter, base),
        f"It was trained and evaluated {_MODES[mode]}, with this system prompt; each observation is a user message:",
        f"```text\n{system_prompt}\n```",
        *([f"`{FORMS}` stands for the forms of the commands of the game that is played."] * (FORMS in system_prompt)),
        f"Sampling temperature in training: {parameters.get('rollout.temperature')}; in evaluation: "
        f"{parameters.get('evaluate.temperature')}.",
        "## Training",
        f"GRPO (loss `{parameters.get('train.loss_type')}`) by TRL, {summary['steps']} steps of "
        f"{parameters.get('rollout.tasks_per_step')} tasks x {parameters.get('rollout.group_size')} episodes. Trust "
        f"schedule: {_schedule(parameters)}. Fingerprint of the run: `{summary['fingerprint']}` (sg_pipeline "
        f"{identity.get('version')}).",
        "<details><summary>Parameters</summary>\n\n"
        + table(
            ["parameter", "value"],
            [[f"`{name}`", f"`{value}`"] for name, value in sorted(parameters.items()) if name.startswith(_SHOWN)],
        )
        + "\n\n</details>",
        "## Licence",
        "Not stated. The weights derive from the base model, whose licence applies; who publishes them adds `license` "
        "to the head of this file.",
    ]
    return (
        f"{ModelCard(f'---{chr(10)}{data.to_yaml()}{chr(10)}---{chr(10)}{chr(10)}' + (chr(10) * 2).join(sections))}\n"
    )


def write_card(folder: Path, text: str) -> None:
    """Write a card beside weights that are no dataset of their own, such as those of the best checkpoint."""
    from sg_pipeline.files import atomic_write
    from sg_pipeline.policies.checkpoint import CARD

    with atomic_write(folder / CARD) as temporary:
        temporary.write_text(text, encoding="utf-8")


def is_adapter(folder: Path) -> bool:
    """Whether a policy's folder holds an adapter (PEFT) and no whole model."""
    return (folder / "adapter_config.json").is_file()


def _base_of(parameters: Mapping[str, Any]) -> str | None:
    """Return the base model's id on the Hub; None where it came from a folder of this machine."""
    path = str(parameters.get("base_model.path", ""))
    named = parameters.get("base_model.source") == "pretrained" and path.count("/") == 1
    return path if named and not path.startswith((".", "~", "/")) and not Path(path).exists() else None


def _scores(summary: Mapping[str, Any], policy: str) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Yield (mode, split, score) of a policy's evaluation."""
    own = summary["mode"]
    for mode in (own, *(mode for mode in _MODES if mode != own)):
        of_mode = summary[policy] if mode == own else summary[policy].get(mode, {})
        yield from ((mode, split, score) for split, score in of_mode.items() if split not in _MODES)


def _eval_results(summary: Mapping[str, Any], parameters: Mapping[str, Any]) -> Iterator[Any]:
    from huggingface_hub import EvalResult

    digest = summary["panel_sha256"]
    for mode, split, score in _scores(summary, "final"):
        if score["success_rate"] is None:
            continue
        yield EvalResult(
            task_type="text-generation",
            task_name="language agent in a text environment",
            dataset_type=str(summary["environment"]),
            dataset_name=f"{summary['environment']}, {summary['panel']}",
            dataset_config=mode,
            dataset_split=split,
            dataset_revision=digest.get(split) if isinstance(digest, dict) else digest,
            metric_type="success_rate",
            metric_name=f"success rate {_MODES[mode]}",
            metric_value=round(score["success_rate"], 4),
            metric_args={
                "ci95": score["ci95"],
                "interval": score["interval"],
                "episodes": score["episodes"],
                "temperature": parameters.get("evaluate.temperature"),
            },
        )


def _figures(summary: Mapping[str, Any]) -> str:
    """Return base and final policy side by side, with 95 % intervals and the paired difference."""
    base = {(mode, split): score for mode, split, score in _scores(summary, "base")}
    rows = []
    for mode, split, score in _scores(summary, "final"):
        of_mode = summary["difference"] if mode == summary["mode"] else summary["difference"].get(mode, {})
        paired = of_mode.get(split, {})
        before = base.get((mode, split), {})
        rows.append(
            [
                f"{split}, {_MODES[mode]}",
                f"{percent(before.get('success_rate'))} {interval(before.get('ci95'), percent)}".strip(),
                f"{percent(score['success_rate'])} {interval(score['ci95'], percent)}".strip(),
                f"{percent(paired.get('difference'))} {interval(paired.get('ci95'), percent)}".strip(),
                str(score.get("episodes", NONE)),
            ]
        )
    head = ["success", "base policy", "this policy", "paired difference", "episodes"]
    return table(head, rows) + "\n\nIn brackets: 95 % intervals, as the run's report has them."


def _best_figures(best: Mapping[str, Any]) -> str:
    return (
        f"Chosen as the best of the run's checkpoints by {best['by']}: {percent(best['value'])} on "
        f"{best['measured_on']}. That figure made the choice, so it is too high an estimate, and it was not measured "
        "on the evaluation panels: the checkpoint itself was not evaluated."
    )


def _usage(adapter: bool, base: str | None) -> str:
    if adapter:
        return (
            "```python\nfrom peft import AutoPeftModelForCausalLM\nfrom transformers import AutoTokenizer\n\n"
            'model = AutoPeftModelForCausalLM.from_pretrained("FOLDER_OR_REPO")\n'
            'tokenizer = AutoTokenizer.from_pretrained("FOLDER_OR_REPO")\n```'
            + ("" if base else "\n\nThe adapter names its base model by a folder: give `base_model_name_or_path`.")
        )
    return (
        "```python\nfrom transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
        'model = AutoModelForCausalLM.from_pretrained("FOLDER_OR_REPO")\n'
        'tokenizer = AutoTokenizer.from_pretrained("FOLDER_OR_REPO")\n'
        'messages = [{"role": "system", "content": SYSTEM_PROMPT}, {"role": "user", "content": OBSERVATION}]\n'
        "inputs = tokenizer.apply_chat_template(\n"
        '    messages, add_generation_prompt=True, return_tensors="pt", return_dict=True\n)\n'
        "output = model.generate(**inputs, do_sample=True, temperature=1.0, top_p=1.0, top_k=0, max_new_tokens=512)\n"
        "```"
    )


def _schedule(parameters: Mapping[str, Any]) -> str:
    prefix = "aggregate.schedule."
    values = {name.removeprefix(prefix): value for name, value in parameters.items() if name.startswith(prefix)}
    kind = values.pop("kind", NONE)
    return f"{kind} ({', '.join(f'{name} {value}' for name, value in values.items())})" if values else str(kind)
