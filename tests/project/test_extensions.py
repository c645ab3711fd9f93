"""Extension points: what a user names as "module:Name" takes part like what the package ships."""

import sys
from types import ModuleType

import polars as pl
import pytest
from pydantic import Field

from sg_pipeline.config.extensions import KNOWN, load
from sg_pipeline.config.loader import section
from sg_pipeline.config.rewards import TrustSchedule
from sg_pipeline.rewards.aggregate import aggregate_step


class Steps(TrustSchedule):
    """No trust before a fraction of training, 1 afterwards."""

    begin: float = Field(0.5, ge=0.0, le=1.0)

    def trust(self, step, steps):
        return float(step >= self.begin * steps)

    def borders(self):
        return self.begin, self.begin, 1.0


def halved(environment_scale):
    return pl.col("r_total") / 2


@pytest.fixture(autouse=True)
def mine(monkeypatch):
    module = ModuleType("mine")
    module.Steps, module.halved = Steps, halved
    monkeypatch.setitem(sys.modules, "mine", module)


@pytest.mark.parametrize(("point", "name"), [(point, name) for point, names in KNOWN.items() for name in names])
def test_load_of_each_known_name_finds_it(point, name):
    assert load(point, name) is not None


def test_own_schedule_replaces_the_fields_of_the_shipped_one():
    config = section("aggregate", schedule={"kind": "mine:Steps", "begin": 0.25})
    assert isinstance(config.schedule, Steps)
    assert [config.schedule.trust(step, 8) for step in (1, 2)] == [0.0, 1.0]
    assert config.schedule.phase(1, 8) == "phase_1_warmup"
    assert config.model_dump()["schedule"] == {"kind": "mine:Steps", "begin": 0.25}


def test_own_credit_rule_gives_the_advantages(turns):
    config = section("aggregate", normalisation="mine:halved")
    rewards, _ = aggregate_step(turns, config, 0, 8)
    assert rewards["advantage"].to_list() == (rewards["r_total"] / 2).to_list()


@pytest.mark.parametrize(
    ("name", "changes", "sentence"),
    [
        ("aggregate", {"normalisation": "mine:nothing"}, "credit rule 'mine:nothing' cannot be imported"),
        ("aggregate", {"normalisation": "grup"}, "unknown credit rule 'grup': did you mean 'group'"),
        ("sampling", {"engine": "nowhere:make"}, "sampling engine 'nowhere:make' cannot be imported"),
    ],
)
def test_name_that_is_unknown_or_cannot_be_imported_is_reported(name, changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        section(name, **changes)


@pytest.fixture
def turns():
    from sg_pipeline.trajectories.frame import to_frame
    from sg_pipeline.trajectories.types import Polarity, Segment, Task, Trajectory, Turn

    def episode(item, won):
        turn = Turn("o", [1], [2, 3], [-1.0, -1.0], [int(Segment.GUIDANCE), int(Segment.ACTION)], "g",
                    Polarity.POSITIVE, True, "a", True, True, float(won), True)  # fmt: skip
        return Trajectory(Task("t", "e", "train", "x", "p", "0"), 0, item, 0, (turn,), won, False, float(won))

    return to_frame([episode(0, True), episode(1, False)])
