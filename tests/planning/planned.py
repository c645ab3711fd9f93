"""Cases for the tests of planning: a small model, and the paper's on a GPU."""

from sg_pipeline.config.evaluation import EvaluationConfig
from sg_pipeline.config.loader import section
from sg_pipeline.planning.case import Case
from sg_pipeline.planning.config import DevicesConfig, EfficiencyConfig, LengthsConfig, Settings
from sg_pipeline.planning.lengths import assumed
from sg_pipeline.planning.published import PUBLISHED
from sg_pipeline.planning.shape import ModelShape, shape_of

LENGTHS = LengthsConfig(prompt=700, completion=40, observation=45, turns=40, spread=1.25)
EFFICIENCY = EfficiencyConfig(training=0.4, prefill=0.4, decode=0.2, bandwidth=0.6, layer_ms=0.8, disk_gb_s=1)


def published(name: str) -> ModelShape:
    from transformers import AutoConfig

    values = dict(PUBLISHED[name])
    return shape_of(AutoConfig.for_model(values.pop("model_type"), **values), name, "test")


def small_config(kind: str = "qwen3", **values):
    """Return the configuration of a model that a CPU trains in milliseconds."""
    from transformers import AutoConfig

    given = {
        "vocab_size": 500, "hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": 3,
        "num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 16 if kind == "qwen3" else None,
        "max_position_embeddings": 1024, "tie_word_embeddings": False, "dtype": "float32",
    }  # fmt: skip
    return AutoConfig.for_model(kind, **{**{k: v for k, v in given.items() if v is not None}, **values})


def paper_case(shape: ModelShape, **devices) -> Case:
    """Return conf/paper's setting, with short episodes."""
    return Case(
        shape=shape,
        lengths=assumed(LENGTHS),
        plan=Settings(
            devices=DevicesConfig(**{"kind": "h200", **devices}),
            lengths=LENGTHS,
            efficiency=EFFICIENCY,
            evaluated_games=274,
        ),
        base_model=section("base_model", source="pretrained", path="Qwen/Qwen3-1.7B", dtype="float32", device="cuda"),
        rollout=section("rollout", tasks_per_step=16, group_size=8, max_turns=50, max_new_tokens=512, max_length=16384),
        train=section("train", loss_type="grpo", beta=0.01, minibatch=128, micro_batch_tokens=16384),
        coevolve=section("coevolve", steps=80, checkpoint_every=10),
        evaluate=EvaluationConfig(episodes_per_game=3),
        workers=16,
    )  # fmt: skip


def cpu_case(shape: ModelShape, tokens: int, policy_tokens: int, *, rows: int, micro_batch_tokens: int) -> Case:
    """Return a case of `rows` one-turn episodes of `tokens` tokens on a CPU, `policy_tokens` of them the policy's."""
    lengths = LengthsConfig(
        prompt=tokens - policy_tokens, completion=policy_tokens, observation=1, turns=1, spread=1, longest_completion=1
    )
    return Case(
        shape=shape,
        lengths=assumed(lengths),
        plan=Settings(devices=DevicesConfig(), lengths=lengths, efficiency=EFFICIENCY),
        base_model=section("base_model"),
        rollout=section(
            "rollout", tasks_per_step=1, group_size=rows, max_turns=1, max_new_tokens=policy_tokens, max_length=4096
        ),
        train=section("train", minibatch=rows, micro_batch_tokens=micro_batch_tokens),
        coevolve=section("coevolve", steps=1),
        evaluate=EvaluationConfig(),
        workers=1,
    )
