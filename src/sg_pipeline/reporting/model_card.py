"""The model card of a policy: README.md next to its weights, with metadata that the Hugging Face Hub reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sg_pipeline.agents.prompts import FORMS
from sg_pipeline.reporting.text import interval, percent

_MODES = {"with_guidance": "with guidance", "without_guidance": "without guidance"}
_SHOWN = ("coevolve.", "rollout.", "aggregate.", "train.", "base_model.", "evaluate.", "run.seed")
"""Parameters on the card, by the beginnings of their names."""

_TEMPLATE = """\
---
{{ card_data }}
---

# {{ summary.run }}

A language agent for {{ summary.environment }} ({{ summary.panel }}), trained by Self-Guide co-evolution
([arXiv 2604.03098](https://arxiv.org/abs/2604.03098)): before each action it writes a short guidance, whose verdict is
an internal reward; a trust schedule weighs that reward while GRPO trains guidance and actions together.

- Base model: {{ base }}
- Training: {{ summary.steps }} steps of GRPO with TRL, run `{{ summary.fingerprint }}` of sg_pipeline {{ version }}
{%- if best %}
- This policy: the checkpoint after {{ best.after }} steps, the best by {{ best.by }}
{%- endif %}

## Scores
{% if best %}
{{ best_value }} on {{ best.measured_on }}. This score selected the checkpoint, so it is biased upwards; the checkpoint
was not evaluated on the evaluation panels.
{% else %}
| success | base policy | this policy | episodes |
| :--- | ---: | ---: | ---: |
{% for row in rows -%}
| {{ row | join(" | ") }} |
{% endfor %}
In brackets: 95 % confidence intervals.
{% endif %}
## Usage

```python
{% if adapter -%}
from peft import AutoPeftModelForCausalLM
{% endif -%}
from transformers import {{ "" if adapter else "AutoModelForCausalLM, " }}AutoTokenizer

model = {{ "AutoPeftModelForCausalLM" if adapter else "AutoModelForCausalLM" }}.from_pretrained("FOLDER_OR_REPO")
tokenizer = AutoTokenizer.from_pretrained("FOLDER_OR_REPO")
messages = [{"role": "system", "content": SYSTEM_PROMPT}, {"role": "user", "content": OBSERVATION}]
inputs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
output = model.generate(**inputs, do_sample=True, temperature=1.0, top_p=1.0, top_k=0, max_new_tokens=512)
```

Each observation is a user message. The policy was trained {{ mode }}, with this system prompt
{%- if forms in prompt %} (`{{ forms }}` stands for the commands of the game){% endif %}:

```text
{{ prompt }}
```

## Parameters

<details>

{% for name, value in parameters -%}
- `{{ name }}`: `{{ value }}`
{% endfor %}
</details>

## Licence

Not stated: the weights derive from the base model, whose licence applies. Add `license` to the head of this file before
publishing.
"""


def model_card(
    summary: Mapping[str, Any],
    identity: Mapping[str, Any],
    prompt: str,
    *,
    adapter: bool = False,
    best: Mapping[str, Any] | None = None,
) -> str:
    """Return the card of a run's final policy, or of its best checkpoint: Markdown with a YAML head.

    Args:
        summary, identity: the run's `summary.json` and `run.json`.
        prompt: the system prompt of the training.
        adapter: the folder holds a PEFT adapter, not a whole model.
        best: see `policies.retention.BEST`; the card is that of this checkpoint, which was not evaluated itself.
    """
    from huggingface_hub import EvalResult, ModelCard, ModelCardData

    parameters, mode = identity["parameters"], summary["mode"]
    hub_id = _hub_id(parameters)
    scores = [] if best else list(_scores(summary))
    digests = summary["panel_sha256"]
    data = ModelCardData(
        base_model=hub_id,
        library_name="peft" if adapter else "transformers",
        pipeline_tag="text-generation",
        tags=["reinforcement-learning", "grpo", "self-guide", "language-agent", str(summary["environment"])],
        model_name=str(summary["run"]).replace("/", "-"),
        eval_results=[
            EvalResult(
                task_type="text-generation",
                dataset_type=str(summary["environment"]),
                dataset_name=f"{summary['environment']}, {summary['panel']}",
                dataset_config=score_mode,
                dataset_split=split,
                dataset_revision=digests.get(split) if isinstance(digests, dict) else digests,
                metric_type="success_rate",
                metric_value=round(final["success_rate"], 4),
                metric_args={"ci95": final["ci95"], "temperature": parameters.get("evaluate.temperature")},
            )
            for score_mode, split, _, final in scores
            if final["success_rate"] is not None
        ]
        or None,
    )
    card = ModelCard.from_template(
        data,
        template_str=_TEMPLATE,
        summary=summary,
        base=f"[{hub_id}](https://huggingface.co/{hub_id})" if hub_id else parameters.get("base_model.path"),
        version=identity.get("version"),
        best=best,
        best_value=percent(best["value"]) if best else None,
        rows=[
            [f"{split}, {_MODES[score_mode]}", _success(base), _success(final), final["episodes"]]
            for score_mode, split, base, final in scores
        ],
        adapter=adapter,
        mode=_MODES[mode],
        prompt=prompt,
        forms=FORMS,
        parameters=sorted((name, value) for name, value in parameters.items() if name.startswith(_SHOWN)),
    )
    return f"{card}\n"


def _hub_id(parameters: Mapping[str, Any]) -> str | None:
    """Return the base model's id on the Hub; None where it came from a local folder."""
    path = str(parameters.get("base_model.path", ""))
    named = parameters.get("base_model.source") == "pretrained" and path.count("/") == 1
    return path if named and not path.startswith((".", "~", "/")) and not Path(path).exists() else None


def _scores(summary: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any] | None, Mapping[str, Any]]]:
    """Yield (mode, split, score of the base policy, score of the final policy), the mode of the training first."""
    own = summary["mode"]
    for mode in sorted(_MODES, key=lambda mode: mode != own):
        base, final = (
            summary[policy] if mode == own else summary[policy].get(mode, {}) for policy in ("base", "final")
        )
        yield from ((mode, split, base.get(split), final[split]) for split in final if split not in _MODES)


def _success(score: Mapping[str, Any] | None) -> str:
    return f"{percent(score['success_rate'])} {interval(score['ci95'], percent)}".strip() if score else percent(None)
