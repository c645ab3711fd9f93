import dataclasses

from played_episodes import N, P, Z, episode

from sg_pipeline.reporting.transcripts import outcome, pick_trajectories, transcript
from sg_pipeline.trajectories.frame import to_frame


def test_picks_a_typical_win_and_a_typical_loss():
    lengths = {0: 9, 1: 2, 2: 4, 3: 4, 4: 3}  # wins, in order of length 2 3 4 4 9: the median has 4, the first is 2
    table = to_frame(
        [episode(group, 0, (P,) * turns, won=True) for group, turns in lengths.items()]
        + [episode(2, 1, (N,) * 6), episode(1, 1, (N,) * 8), episode(0, 1, (N,) * 7), episode(4, 1, (N,) * 5)]
    )
    picked = pick_trajectories({"Step 0": table, "empty": table.head(0), "losses": table.filter(~table["won"])})
    assert [(title, t.group, t.item, t.won) for title, t in picked] == [
        ("Step 0", 2, 0, True), ("Step 0", 2, 1, False), ("losses", 2, 1, False)
    ]  # fmt: skip
    assert picked == pick_trajectories({"Step 0": table.reverse(), "losses": table.filter(~table["won"]).reverse()})


def test_splits_with_the_same_numbers_are_not_mixed():
    seen, unseen = (episode(0, 0, (Z, P), won=True, split=split) for split in ("valid_seen", "valid_unseen"))
    assert pick_trajectories({"x": to_frame([unseen, seen])}) == [("x", seen)]


def test_marks_of_what_went_wrong():
    odd = episode(0, 0, (Z, N), unparsed=(0,), invalid=(1,))
    first = dataclasses.replace(odd.turns[0], action_parsed=False, observation="A\n\n  B " + "long " * 40)
    lines = transcript(dataclasses.replace(odd, turns=(first, odd.turns[1]))).splitlines()
    assert lines[0] == "  0  A"
    assert lines[1].startswith("     B long long")
    assert lines[2].startswith("     long")
    assert max(map(len, lines)) <= 110
    assert "     ? (no guidance found)" in lines
    assert "     > go to cabinet 1 [no action tag, valid, reward 0]" in lines
    assert lines[-2:] == ["     - find mug 1", "     > go to cabinet 2 [invalid, reward 0]"]


def test_without_guidance_there_is_no_guidance_line():
    assert len(transcript(episode(0, 0, (None,))).splitlines()) == 2


def test_outcomes():
    assert outcome(episode(0, 0, (Z,), won=True)) == "won in 1 turn"
    assert outcome(episode(0, 0, (Z, Z))) == "lost, truncated after 2 turns"
    assert outcome(dataclasses.replace(episode(0, 0, (Z, Z)), truncated=False)) == "lost after 2 turns"
