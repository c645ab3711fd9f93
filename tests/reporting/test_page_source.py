from collections import Counter
from dataclasses import replace

import polars as pl
import pytest
from page_sources import evaluation, study, training

from sg_pipeline.reporting.page.source import Selection, arrange, spread_steps, take


def select(sources, turns: int, seed: int = 0) -> Selection:
    return take(arrange(sources, seed), turns)


def keys(selection) -> set[tuple[int, str, int]]:
    return {(source, *group) for source, groups in selection.groups.items() for group in groups}


@pytest.mark.parametrize("turns", [0, 30, 60, 200, 10**9])
def test_select_budget_is_not_exceeded(turns):
    sources = study()
    selection = select(sources, turns)
    assert selection.turns <= turns
    assert selection.complete is (turns > 200)
    shown = sum(
        sources[index].table.join(
            pl.DataFrame(groups, schema={"split": pl.String, "group": pl.Int64}, orient="row"), on=["split", "group"],
            how="semi",
        ).height
        for index, groups in selection.groups.items()
    )  # fmt: skip
    assert shown == selection.turns


def test_select_shows_counterparts_of_an_episode_together():
    sources = study()
    selection = select(sources, 200, seed=0)
    games = {(split, group) for index, split, group in keys(selection) if not sources[index].trained}
    evaluations = [index for index, source in enumerate(sources) if not source.trained]
    assert games
    assert {(i, *game) for i in evaluations for game in games} <= keys(selection)
    both = Counter((sources[i].seed, sources[i].step, group) for i, _, group in keys(selection) if sources[i].trained)
    assert set(both.values()) == {2}  # both methods


def test_select_spreads_over_steps_and_task_types():
    sources = [training("m", 0, step, groups=40) for step in (0, 3)] + [evaluation("m", 0, "base", games=4)]
    selection = select(sources, 160, seed=0)
    shown = [sources[index] for index in selection.groups]
    assert {source.step for source in shown if source.trained} == {0, 3}
    assert any(not source.trained for source in shown)
    kinds = Counter(
        sources[index].table.filter(pl.col("group") == group)["task_type"][0]
        for index, _, group in keys(selection) if sources[index].trained
    )  # fmt: skip
    assert set(kinds) == {"look_at_obj", "pick_two"}
    assert max(kinds.values()) <= 2 * min(kinds.values())


def test_select_depends_on_the_seed_and_not_on_row_order():
    sources = study()
    chosen = [keys(select(sources, 120, seed=seed)) for seed in (0, 0, 1, 2)]
    assert chosen[0] == chosen[1]
    assert len({frozenset(one) for one in chosen}) > 1
    reordered = [replace(source, table=source.table.sample(fraction=1, shuffle=True, seed=7)) for source in sources]
    assert keys(select(reordered, 120, seed=0)) == chosen[0]


def test_spread_steps_includes_first_and_last():
    assert spread_steps(range(80), 5) == [0, 20, 40, 59, 79]
    assert spread_steps([3, 1, 2, 1], 9) == [1, 2, 3]
    assert spread_steps(range(80), 1) == [0]


def test_episodes_sums_by_hand():
    rows = training("grpo_sg_gr", 0, 3).episodes.rows(named=True)
    assert [row["turns"] for row in rows] == [4, 3] * 3
    assert [row["r_sg"] for row in rows[:2]] == pytest.approx([0.1, 0.0])
    assert [row["r_env"] for row in rows] == [0, 0, 0, 1, 0, 1]
    assert not any(row["held_back"] for row in rows)
    assert rows[3]["advantage"] == pytest.approx(-rows[2]["advantage"]) == pytest.approx(0.707, abs=1e-3)
    plain = evaluation("m", 0, "final", guided=False).episodes
    assert plain["r_sg"].null_count() == plain.height


def test_episodes_in_quarantine_are_held_back_without_advantage():
    source = training("m", 0, 0)
    kept = replace(source, rewards=source.rewards.filter(pl.col("group") != 1))
    rows = kept.episodes.filter(pl.col("group") == 1)
    assert rows["held_back"].all()
    assert rows["advantage"].null_count() == 2


def test_turns_log_probabilities_are_means_per_segment():
    source = training("m", 0, 3)
    broken = source.table.with_columns(
        logprobs=pl.when(pl.col("turn") == 0).then(pl.col("logprobs").list.head(1)).otherwise("logprobs")
    )
    turns = replace(source, table=broken).turns
    assert turns["turn"].to_list()[:7] == [0, 1, 2, 3, 0, 1, 2]
    assert turns["guidance_logprob"].to_list()[:4] == [None, -0.5, -0.5, -0.5]
    assert turns["action_logprob"].to_list()[:4] == [None, -0.25, -0.25, -0.25]
    assert turns["gap_max"].to_list()[:4] == [None, None, pytest.approx(4.7683716e-06), None]
    assert turns["gap_max"].drop_nulls().len() == 1


def test_turns_have_their_credit_where_tokens_get_more_than_the_advantage():
    source = training("m", 0, 3)
    assert source.turns["action_credit"].null_count() == source.turns.height
    lists = [[0.5 + turn for turn in range(length)] for length in source.episodes["turns"]]
    rewards = source.rewards.with_columns(
        action_credit=pl.Series(lists), verdict_credit=pl.Series([[0.0] * len(one) for one in lists])
    )
    # The last group is dropped: not trained on, so it has none.
    kept = [pl.when(pl.col("group") < 2).then(name).alias(name) for name in ("action_credit", "verdict_credit")]
    turns = replace(source, rewards=rewards.with_columns(kept)).turns
    assert turns["action_credit"].to_list()[:7] == [0.5, 1.5, 2.5, 3.5, 0.5, 1.5, 2.5]
    assert turns["verdict_credit"].to_list() == [0.0] * 14 + [None] * 7
