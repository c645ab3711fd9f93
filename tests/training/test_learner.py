"""The GRPO step: its loss by hand, what influences it, and that it can be resumed."""

import tempfile
from dataclasses import replace

import pytest
import torch
from learning_tools import TEMPERATURE, completion_logprobs, same, weights
from rounding import GRADIENT, LOGP, relative_difference

from sg_pipeline.config.loader import section
from sg_pipeline.errors import ConfigurationError, DataError
from sg_pipeline.policies.checkpoint import load_policy, save_policy
from sg_pipeline.randomness import stream
from sg_pipeline.training.experience import ExperienceRow
from sg_pipeline.training.learner import train_step
from sg_pipeline.training.trl_trainer import summed_gaps


def step(policy, rows, config=None, number=0, **kwargs):
    return trained(policy, rows, config, number, **kwargs).metrics


def trained(policy, rows, config=None, number=0, **kwargs):
    return train_step(policy, rows, config or section("train"), seed=5, step=number, temperature=TEMPERATURE, **kwargs)


def loss_by_hand(policy, rows, config):
    """Return the clipped surrogate of the whole experience as the papers write it."""
    per_row, per_token = [], []
    for row in rows:
        with torch.no_grad():
            logprobs = completion_logprobs(policy, row.prompt_ids, row.completion_ids)
        ratio = (logprobs - torch.tensor(row.logprobs)).exp()
        clipped = ratio.clamp(1 - config.epsilon, 1 + config.epsilon_high)
        terms = -torch.minimum(ratio * row.advantage, clipped * row.advantage)
        terms = terms[torch.tensor(row.loss_mask).bool()]
        per_row.append(terms)
        per_token.extend(terms.tolist())
    if config.loss_type == "grpo":
        return float(torch.stack([terms.mean() for terms in per_row]).mean())
    if config.loss_type == "dr_grpo":
        return sum(per_token) / (len(rows) * config.max_completion_length)
    return sum(per_token) / len(per_token)


@pytest.mark.parametrize("loss_type", ["grpo", "dapo", "dr_grpo", "bnpo"])
def test_loss_is_the_formula(make_policy, make_experience, loss_type):
    policy = make_policy()
    rows = make_experience(policy, drift=0.4)
    config = section("train", loss_type=loss_type, max_completion_length=50)
    expected = loss_by_hand(policy, rows, config)
    assert abs(expected) > 1e-3
    metrics = step(policy, rows, config)
    assert metrics["optimizer_steps"] == 1
    assert metrics["loss"] == pytest.approx(expected, rel=1e-4)
    assert 0 < metrics["clip_share_low"] < 1
    assert 0 < metrics["clip_share_high"] < 1


@pytest.mark.parametrize("loss_type", ["grpo", "dapo", "dr_grpo", "bnpo", "cispo"])
def test_cut_into_micro_batches_does_not_show(make_policy, make_experience, loss_type):
    whole, cut = make_policy(), make_policy()
    rows = make_experience(whole, drift=0.4)
    caps = {"epsilon_high": 1.2} if loss_type == "cispo" else {}  # its default of 5 caps none of these ratios
    first = step(whole, rows, section("train", loss_type=loss_type, **caps))
    second = step(cut, rows, section("train", loss_type=loss_type, micro_batch_tokens=40, **caps))
    assert second["loss"] == pytest.approx(first["loss"], rel=1e-4)
    assert second["grad_norm_max"] == pytest.approx(first["grad_norm_max"], rel=1e-4)
    assert second["entropy"] == pytest.approx(first["entropy"], rel=1e-4)
    assert second["clip_share_low" if loss_type != "cispo" else "clip_share_cispo"] > 0
    # AdamW's first step is close to a sign: where a gradient is rounding noise, so is its direction.
    assert relative_difference(whole_gradient(cut), whole_gradient(whole)) < GRADIENT


def whole_gradient(policy):
    """Return the first moments, which after one step are a tenth of the clipped gradient."""
    return [value for key, value in sorted(policy.optimizer_state.items()) if key.startswith("exp_avg/")]


def test_environment_tokens_have_no_influence(make_policy, make_experience):
    plain, changed = make_policy(), make_policy()
    rows = make_experience(plain)
    other = []
    for row in rows:
        # Nothing follows the last observation: its tokens could only act as targets.
        tail = len(row.loss_mask) - len("".join(map(str, row.loss_mask)).rstrip("0"))
        ids = row.completion_ids[:-tail] + [11] * tail
        logprobs = [p if m else -7.0 for p, m in zip(row.logprobs, row.loss_mask, strict=True)]
        advantage = [row.advantage if m else 100.0 for m in row.loss_mask]
        other.append(ExperienceRow(row.prompt_ids, ids, logprobs, row.loss_mask, advantage))
    assert step(plain, rows)["loss"] == step(changed, other)["loss"]
    assert same(weights(plain), weights(changed))


def test_policy_tokens_do_have_influence(make_policy, make_experience):
    plain, changed = make_policy(), make_policy()
    rows = make_experience(plain)
    row = rows[0]
    rows_changed = [ExperienceRow(row.prompt_ids, row.completion_ids, row.logprobs, row.loss_mask, row.advantage + 1)]
    step(plain, rows)
    step(changed, rows_changed + rows[1:])
    assert not same(weights(plain), weights(changed))


@pytest.mark.parametrize("loss_type", ["grpo", "dapo"])
def test_advantage_per_token_generalises_advantage_per_row(make_policy, make_experience, loss_type):
    one, other = make_policy(), make_policy()
    rows = make_experience(one, drift=0.4)
    per_token = [
        ExperienceRow(r.prompt_ids, r.completion_ids, r.logprobs, r.loss_mask, [r.advantage] * len(r.loss_mask))
        for r in rows
    ]
    config = section("train", loss_type=loss_type, minibatch=3)
    assert step(one, rows, config)["loss"] == step(other, per_token, config)["loss"]
    assert same(weights(one), weights(other))


def test_order_of_rows_matters_only_through_minibatches(make_policy, make_experience):
    one, other = make_policy(), make_policy()
    rows = make_experience(one)
    first, second = step(one, rows), step(other, rows[::-1])
    assert first["optimizer_steps"] == 1
    assert second["loss"] == pytest.approx(first["loss"], rel=1e-4)
    assert relative_difference(whole_gradient(other), whole_gradient(one)) < GRADIENT


def test_rows_without_advantage_count_but_are_not_computed(make_policy, make_experience):
    skipped, computed = make_policy(), make_policy()
    rows = make_experience(skipped, count=8)

    nearly = [replace(row, advantage=1e-30 if i < 5 else row.advantage) for i, row in enumerate(rows)]
    config = section("train", minibatch=8, learning_rate=1e-3, loss_type="grpo")
    first, second = step(skipped, flat(rows, keep={5, 6, 7}), config), step(computed, nearly, config)
    assert (first["rows_idle"], second["rows_idle"]) == (5, 0)
    assert first["rows"] == second["rows"] == 8
    assert first["optimizer_steps"] == second["optimizer_steps"] == 1
    assert first["loss"] == pytest.approx(second["loss"], rel=1e-4)
    assert relative_difference(whole_gradient(skipped), whole_gradient(computed)) < GRADIENT


def flat(rows, keep=()):
    """Return `rows` without advantage, but for those whose indices are in `keep`."""
    return [replace(row, advantage=row.advantage if i in keep else 0.0) for i, row in enumerate(rows)]


@pytest.mark.parametrize("cause", ["no advantage", "all clipped", "all masked"])
def test_step_without_gradient_changes_neither_weights_nor_adams_memory(make_policy, make_experience, cause):
    policy = make_policy()
    config = section("train", minibatch=4, learning_rate=1e-2, weight_decay=0.1, num_iterations=2)
    step(policy, make_experience(policy), config)
    # Recorded 3 nats too low: every ratio is 20, and clipped where the advantage is above 0.
    low = [
        replace(row, advantage=1.0, logprobs=[p - 3 * m for p, m in zip(row.logprobs, row.loss_mask, strict=True)])
        for row in make_experience(policy)
    ]
    rows = flat(low) if cause == "no advantage" else low
    if cause == "all masked":
        config = config.model_copy(update={"sampler_correction": "sequence_mask"})
    before, memory = weights(policy), {key: value.clone() for key, value in policy.optimizer_state.items()}
    metrics = step(policy, rows, config, 1)
    assert metrics["optimizer_steps"] == 0
    assert metrics["rows"] == 7
    assert same(before, weights(policy))
    assert all(torch.equal(value, policy.optimizer_state[key]) for key, value in memory.items())
    assert policy.step == 2
    fresh = make_policy()
    step(fresh, rows, config)
    assert fresh.optimizer_state is None


def test_minibatch_without_advantage_is_skipped_while_others_learn(make_policy, make_experience):
    policy = make_policy()
    metrics = step(policy, flat(make_experience(policy, count=4), keep={2}), section("train", minibatch=1))
    assert (metrics["optimizer_steps"], metrics["rows_idle"]) == (1, 3)
    # AdamW has counted the one step that had a gradient.
    assert {float(v) for key, v in policy.optimizer_state.items() if key.startswith("step/")} == {1.0}
    assert not same(weights(make_policy()), weights(policy))


def test_kl_term_learns_without_any_advantage(make_policy, make_experience, tmp_path):
    policy = make_policy()
    save_policy(policy, tmp_path / "base")
    rows = make_experience(policy)
    step(policy, rows, section("train", learning_rate=1e-2))
    away = step(policy, flat(rows), section("train", learning_rate=1e-3, beta=1.0), 1, reference=tmp_path / "base")
    assert away["optimizer_steps"] == 1
    assert away["grad_norm_max"] > 0


def test_resumed_equals_uninterrupted_bit_for_bit(make_policy, make_experience, tmp_path):
    straight, interrupted = make_policy(), make_policy()
    config = section("train", minibatch=3, num_iterations=2, learning_rate=1e-3, schedule="linear", total_steps=4)
    experiences = [make_experience(straight, drift=0.1, seed=number) for number in range(3)]
    for number, rows in enumerate(experiences):
        step(straight, rows, config, number)
    for number, rows in enumerate(experiences):
        step(interrupted, rows, config, number)
        save_policy(interrupted, tmp_path / "policy")
        interrupted = load_policy(tmp_path / "policy")
    assert interrupted.step == straight.step == 3
    assert same(weights(straight), weights(interrupted))
    assert sorted(straight.optimizer_state) == sorted(interrupted.optimizer_state)
    for key, value in straight.optimizer_state.items():
        assert torch.equal(value, interrupted.optimizer_state[key])


def test_shuffling_depends_on_seed_and_step(make_policy, make_experience):
    results = []
    for seed, number in ((1, 0), (1, 0), (2, 0), (1, 1)):
        policy = make_policy()
        train_step(policy, make_experience(policy), section("train", minibatch=2), seed=seed, step=number)
        results.append(weights(policy))
    assert same(results[0], results[1])
    assert not same(results[0], results[2])
    assert not same(results[0], results[3])


def test_learns_a_bandit(make_policy):
    policy = make_policy()
    arms, prompt = [20, 30, 40, 50], [12, 13, 14]

    def probabilities():
        with torch.no_grad():
            logits = policy.model(input_ids=torch.tensor([prompt])).logits[0, -1] / TEMPERATURE
        return logits.log_softmax(-1)[arms]

    before = probabilities()
    for number in range(8):
        now = probabilities()
        rows = [
            ExperienceRow(prompt, [arm], [float(now[i])], [1], 1.5 if arm == 30 else -0.5) for i, arm in enumerate(arms)
        ]
        step(policy, rows, section("train", learning_rate=3e-3), number)
    gain = probabilities() - before
    assert gain[1] > 0.5
    assert all(gain[i] < 0 for i in (0, 2, 3))


def test_gap_between_sampler_and_trainer_is_measured(make_policy, make_experience):
    policy = make_policy()
    rows = make_experience(policy)
    assert step(policy, rows)["logp_gap_max"] < LOGP
    policy = make_policy()
    row = rows[0]
    first = row.loss_mask.index(1)
    logprobs = [p - 0.25 * (i == first) for i, p in enumerate(row.logprobs)]
    shifted = [ExperienceRow(row.prompt_ids, row.completion_ids, logprobs, row.loss_mask, row.advantage), *rows[1:]]
    metrics = step(policy, shifted)
    assert metrics["logp_gap_max"] == pytest.approx(0.25, abs=LOGP)
    assert metrics["logp_gap_mean"] == pytest.approx(0.25 / metrics["tokens_trained"], rel=1e-2)


@pytest.mark.parametrize(
    ("mode", "weight", "cut"),
    [
        ("token_truncate", 1.5, 1), ("token_mask", 0.0, 1), ("turn_truncate", 1.5, 1), ("sequence_truncate", 1.5, 1),
        ("none", None, None),
    ],
)  # fmt: skip
def test_sampler_correction_weighs_the_loss(make_policy, make_experience, mode, weight, cut):
    policy = make_policy()
    # The sampler was far less sure than the trainer: every ratio is e, above the cap of 1.5.
    rows = [
        ExperienceRow(r.prompt_ids, r.completion_ids, [p - m for p, m in zip(r.logprobs, r.loss_mask, strict=True)],
                      r.loss_mask, -1.0)
        for r in make_experience(policy)
    ]  # fmt: skip
    metrics = step(policy, rows, section("train", sampler_correction=mode, sampler_cap=1.5))
    if weight is None:
        # The ratio enters the surrogate itself, where a negative advantage is not clipped from above.
        assert metrics["loss"] == pytest.approx(2.71828, rel=1e-3)
    else:
        assert metrics["loss"] == pytest.approx(weight, rel=1e-3, abs=1e-6)
        assert metrics["sampler_weight_mean"] == pytest.approx(weight)
    assert metrics.get("sampler_cut_share") == cut
    assert metrics["logp_gap_mean"] == pytest.approx(1.0, abs=LOGP)


@pytest.mark.parametrize(
    ("mode", "cut"), [("token_mask", 0.0), ("turn_mask", 0.0), ("sequence_mask", 1.0), ("sequence_truncate", 1.0)]
)
def test_sampler_correction_of_long_trajectory_is_cut_where_rounding_adds_up(make_policy, caplog, mode, cut):
    """Forty turns of six tokens, each 0.006 nats off: e^0.036 a turn, e^1.44 the trajectory."""
    policy = make_policy()
    ids = [int(token) for token in stream(0, "long").integers(10, 1000, 40 * 8)]
    mask = ([0] * 2 + [1] * 6) * 40
    with torch.no_grad():
        logprobs = completion_logprobs(policy, [11], ids).tolist()
    row = ExperienceRow([11], ids, [(p - 0.006) * m for p, m in zip(logprobs, mask, strict=True)], mask, 1.0)
    metrics = step(policy, [row], section("train", sampler_correction=mode))
    assert metrics["sampler_cut_share"] == cut
    left = {0.0: 1.0, 1.0: 0.0 if mode.endswith("mask") else 3.0}[cut]
    assert metrics["sampler_weight_mean"] == pytest.approx(left, rel=0.1)
    assert ("train.sampler_correction" in caplog.text) == bool(cut)


def test_gaps_are_summed_by_turn():
    gaps = torch.tensor([[0.0, 1, 2, 0, 0, 4, 0], [8, 0, 16, 32, 64, 0, 0]])
    mask = torch.tensor([[0, 1, 1, 0, 0, 1, 0], [1, 0, 1, 1, 1, 0, 0]])
    found = summed_gaps(gaps, mask, "turn") * mask
    assert found.tolist() == [[0, 3, 3, 0, 0, 4, 0], [8, 0, 112, 112, 112, 0, 0]]


def test_kl_is_taken_from_the_reference(make_policy, make_experience, tmp_path):
    policy = make_policy()
    save_policy(policy, tmp_path / "base")
    rows = make_experience(policy)
    config = section("train", beta=0.1, learning_rate=3e-3)
    first = step(policy, rows, config, reference=tmp_path / "base")
    second = step(policy, rows, config, 1, reference=tmp_path / "base")
    assert first["kl"] == pytest.approx(0.0, abs=1e-6)
    assert second["kl"] > 1e-4
    free = make_policy()
    for number in range(8):
        step(free, rows, section("train", learning_rate=3e-3), number)
    held = make_policy()
    for number in range(8):
        last = step(held, rows, section("train", learning_rate=3e-3, beta=10.0), number, reference=tmp_path / "base")
    assert last["kl"] < second["kl"]
    base, row = make_policy(), rows[0]
    with torch.no_grad():
        start, *ends = (completion_logprobs(p, row.prompt_ids, row.completion_ids) for p in (base, held, free))
    assert float((ends[0] - start).abs().mean()) < float((ends[1] - start).abs().mean())


@pytest.mark.parametrize("corrected", [True, False])
def test_gradient_of_the_kl_term_is_that_of_its_formula(make_policy, make_experience, tmp_path, corrected):
    """On policy it is E[log(pi / ref) grad log pi] with the correction, and E[(1 - ref / pi) grad log pi] without."""
    policy = make_policy()
    save_policy(policy, tmp_path / "base")
    step(policy, make_experience(policy), section("train", learning_rate=1e-3))
    policy.optimizer_state = None
    base, rows, losses = make_policy(), make_experience(policy), []
    for row in rows:
        wanted = torch.tensor(row.loss_mask).bool()
        own = completion_logprobs(policy, row.prompt_ids, row.completion_ids)[wanted]
        with torch.no_grad():
            log_ratio = own - completion_logprobs(base, row.prompt_ids, row.completion_ids)[wanted]
            slope = log_ratio if corrected else 1 - (-log_ratio).exp()
        losses.append(slope * own)
    torch.cat(losses).mean().backward()
    by_hand = {name: parameter.grad for name, parameter in policy.model.named_parameters()}
    policy.model.zero_grad()
    config = section("train", beta=1.0, max_grad_norm=1e6, use_bias_correction_kl=corrected, loss_type="dapo")
    step(policy, flat(rows), config, 1, reference=tmp_path / "base")
    for name, gradient in by_hand.items():
        # AdamW's first moment is a tenth of its first gradient.
        found = 10 * policy.optimizer_state[f"exp_avg/{name}"]
        assert relative_difference([found], [gradient]) < 1e-3


def test_leaves_nothing_behind(make_policy, make_experience, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    policy = make_policy()
    rows = make_experience(policy)
    capfd.readouterr()
    step(policy, rows)
    assert capfd.readouterr().out == ""
    assert not list(tmp_path.iterdir())
    assert "forward" not in vars(policy.model)
    assert not policy.model.training
    assert all(parameter.grad is None for parameter in policy.model.parameters())


def test_a_process_that_sees_several_gpus_trains_on_one(make_policy, make_experience, monkeypatch):
    """Transformers would copy the model to each of them; here it is made to believe that there are four."""
    from trl import GRPOConfig

    one, other = make_policy(), make_policy()
    rows = make_experience(one, drift=0.4)
    step(one, rows)
    settle = GRPOConfig.__post_init__

    def with_four_gpus(arguments):
        settle(arguments)
        arguments._n_gpu = 4

    monkeypatch.setattr(GRPOConfig, "__post_init__", with_four_gpus)
    monkeypatch.setattr(torch.nn.DataParallel, "__init__", lambda *_, **__: pytest.fail("the model is copied"))
    step(other, rows)
    assert same(weights(one), weights(other))


def test_rate_is_a_function_of_the_step():
    config = section("train", learning_rate=1.0, schedule="linear", total_steps=10, warmup_steps=2)
    assert [config.rate(s) for s in (0, 1, 5, 10, 12)] == pytest.approx([0.5, 0.9, 0.5, 0.0, 0.0])
    with pytest.raises(ValueError, match="total_steps"):
        section("train", schedule="linear")


@pytest.mark.parametrize(
    ("given", "clips"),
    [
        ({"loss_type": "grpo"}, (0.2, 0.2)),
        ({"loss_type": "dapo", "epsilon_high": None}, (0.2, 0.28)),
        ({"loss_type": "cispo", "epsilon": None, "epsilon_high": None}, (0.2, 5.0)),
        ({"loss_type": "grpo", "importance_sampling_level": "sequence"}, (3e-4, 4e-4)),
        ({"loss_type": "bnpo", "epsilon": 0.1, "epsilon_high": 0.3}, (0.1, 0.3)),
    ],
)
def test_clips_are_those_of_the_loss_where_none_are_given(given, clips):
    config = section("train", **given)
    assert (config.epsilon, config.epsilon_high) == clips


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"loss_type": "cispo", "epsilon_high": 0.28}, "caps the ratio itself"),
        ({"loss_type": "cispo", "epsilon_high": 1.0}, "set it above 1"),
        ({"loss_type": "dapo", "importance_sampling_level": "sequence"}, "set loss_type to grpo"),
        ({"loss_type": "cispo", "importance_sampling_level": "sequence", "epsilon_high": 5.0}, "set loss_type to grpo"),
        (
            {"loss_type": "grpo", "importance_sampling_level": "sequence", "beta": 0.1},
            "set use_bias_correction_kl to false",
        ),
        ({"loss_type": "sapo"}, "'grpo', 'dapo', 'dr_grpo', 'bnpo' or 'cispo'"),
    ],
)
def test_parameters_that_mean_something_else_in_a_loss_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        section("train", **given)


def test_cispo_learns_on_policy(make_policy, make_experience):
    """A cap at or below 1 would make every ratio the same constant."""
    capped, plain = make_policy(), make_policy()
    rows = make_experience(capped)
    first = step(capped, rows, section("train", loss_type="cispo"))
    second = step(plain, rows, section("train", loss_type="dapo"))
    # On policy both have the gradient of advantage x log pi.
    assert first["grad_norm_max"] == pytest.approx(second["grad_norm_max"], rel=1e-4)
    assert first["clip_share_cispo"] == 0


def test_refuses_what_it_cannot_train_on(make_policy, make_experience):
    policy = make_policy()
    with pytest.raises(DataError, match="nothing to train on"):
        step(policy, [])
    with pytest.raises(ConfigurationError, match="reference"):
        step(policy, make_experience(policy), section("train", beta=0.1))
    row = make_experience(policy)[0]
    exploding = ExperienceRow(
        row.prompt_ids, row.completion_ids, [-200.0 * m for m in row.loss_mask], row.loss_mask, -1
    )
    before = weights(policy)
    with pytest.raises(ConfigurationError, match="diverged"):
        step(policy, [exploding])
    assert same(before, weights(policy))
    assert policy.step == 0


def test_step_whose_last_update_breaks_the_weights_ends_the_run(make_policy, make_experience):
    policy = make_policy()
    rows = make_experience(policy)
    message = (
        r"training of the policy '.*' at step 0 diverged: after the last update the weights '.*' hold .* \(now 1e\+39\)"
    )
    with pytest.raises(ConfigurationError, match=message):
        step(policy, rows, section("train", learning_rate=1e39, minibatch=len(rows)))
