"""The cross-checkpoint table: which checkpoints, and how guides are compared."""

import json

import pytest
from played_episodes import N, P, episode

from sg_pipeline.config.loader import section
from sg_pipeline.config.run import written_steps
from sg_pipeline.evaluation.metrics import cross_table
from sg_pipeline.trajectories.frame import to_frame


@pytest.mark.parametrize(
    ("steps", "every", "policy", "guides"),
    [
        (80, 10, 40, (0, 10, 40, 80)),  # the paper's, and the base policy
        (8, 3, 3, (0, 3, 8)),  # 4 and 1 were not saved: the nearest, the earlier of two
        (4, 2, 2, (0, 2, 4)),
        (1, 10, 0, (0, 1)),
    ],
)
def test_steps_are_the_nearest_saved_checkpoints(steps, every, policy, guides):
    assert section("cross_checkpoint").steps(section("coevolve", steps=steps, checkpoint_every=every)) == (
        policy,
        guides,
    )


def test_steps_include_the_policy_among_the_guides():
    config = section("cross_checkpoint", policy=0.25, guides=(1.0,))
    assert config.steps(section("coevolve", steps=80, checkpoint_every=10)) == (20, (20, 80))
    with pytest.raises(ValueError, match=r"between 0 and 1, not 1\.5"):
        section("cross_checkpoint", guides=(1.5,))


def test_written_steps():
    assert written_steps(section("coevolve", steps=8, checkpoint_every=3)) == [0, 3, 6, 8]
    assert written_steps(section("coevolve", steps=8, checkpoint_every=4)) == [0, 4, 8]


def played(wins, split="valid_seen"):
    return [episode(group, verdicts=(P, N), won=won, split=split, step=40) for group, won in enumerate(wins)]


def test_cross_table_compares_guides_by_game():
    episodes = {
        10: to_frame(played([False] * 8) + played([True] * 4, "valid_unseen")),
        40: to_frame(played([True, False] * 4) + played([True] * 4, "valid_unseen")),
        80: to_frame(played([True] * 8) + played([False] * 4, "valid_unseen")),
    }
    table = cross_table(episodes, 40, panel_sha256="abc", config=section("evaluate", temperature=0.7), seed=0)
    assert [(row["split"], row["guide_step"]) for row in table] == [
        (split, guide) for split in ("valid_seen", "valid_unseen") for guide in (10, 40, 80)
    ]
    seen = {row["guide_step"]: row for row in table if row["split"] == "valid_seen"}
    assert [seen[guide]["success_rate"] for guide in (10, 40, 80)] == [0.0, 0.5, 1.0]
    assert [seen[guide]["difference"]["difference"] for guide in (10, 40, 80)] == [-0.5, 0.0, 0.5]
    assert (seen[80]["difference"]["better"], seen[80]["difference"]["worse"]) == (4, 0)
    assert all(row["policy_step"] == 40 and row["temperature"] == 0.7 for row in table)
    assert seen[40]["score"]["per_game"]["valid_seen-0"] == [1, 1]
    assert json.loads(json.dumps(table, allow_nan=False)) == table
