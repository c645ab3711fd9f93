"""The expert, its mistakes, and the verdicts on both."""

from collections import Counter
from dataclasses import replace

import pytest
from demonstrated import insistence
from webshop_shops import product_of

from sg_pipeline.environments.webshop.catalogue import Catalogue
from sg_pipeline.environments.webshop.expert import GeneratedShopDemonstrator, demonstrate
from sg_pipeline.environments.webshop.generation.catalogue import CatalogueRecipe
from sg_pipeline.environments.webshop.progress import Progress, fits, wanted_options
from sg_pipeline.environments.webshop.session import Session
from sg_pipeline.randomness import stream
from sg_pipeline.trajectories.types import Polarity

RECIPE = CatalogueRecipe(products=240, seed=11)


@pytest.fixture(scope="module")
def demonstrator():
    made = GeneratedShopDemonstrator(RECIPE)
    yield made
    made.close()


def test_expert_solves_nearly_always_within_the_limit(demonstrator) -> None:
    played = [demonstrator.demonstrate(number, stream(0, number), 0.0) for number in range(60)]
    assert sum(demo.won for demo in played) >= 57
    assert all(len(demo.turns) <= 15 for demo in played)
    for demo in played:
        assert demo.turns[0].polarity is Polarity.NEUTRAL
        assert not any(turn.is_noise for turn in demo.turns)
        if demo.won:
            assert demo.turns[-1].action == "click[buy now]"
            assert demo.last_polarity is Polarity.POSITIVE


def test_mistakes_are_marked_judged_and_recovered_from(demonstrator) -> None:
    played = [demonstrator.demonstrate(number, stream(1, number), 0.25) for number in range(60)]
    verdicts = Counter(
        following.polarity
        for demo in played
        for turn, following in zip(demo.turns, demo.turns[1:], strict=False)
        if turn.is_noise
    )
    assert verdicts[Polarity.NEGATIVE] > verdicts[Polarity.POSITIVE]
    assert insistence(played) < 0.1
    assert sum(demo.won for demo in played if any(turn.is_noise for turn in demo.turns)) >= 20


def test_demonstrate_depends_on_number_and_stream_alone(demonstrator) -> None:
    first = demonstrator.demonstrate(7, stream(2, 7), 0.2)
    demonstrator.demonstrate(501, stream(2, 501), 0.2)  # another catalogue in between
    assert demonstrator.demonstrate(7, stream(2, 7), 0.2) == first
    assert demonstrator.demonstrate(8, stream(2, 8), 0.2) != first


def test_an_impossible_goal_ends_at_the_limit(shop: Catalogue) -> None:
    goal = shop.goal("synthetic", 0)
    demo = demonstrate(shop, replace(goal, query="submarines"), stream(3))
    assert (demo.won, len(demo.turns)) == (False, 15)


class Visit:
    """A session whose actions are judged; its goal's attributes are all in the product's title, or not."""

    def __init__(self, shop: Catalogue, *, titled: bool) -> None:
        goals = (shop.goal("synthetic", position) for position in range(shop.goal_count("synthetic")))
        goal = next(goal for goal in goals if titled == all(one in goal.name.lower() for one in goal.attributes))
        self.session = Session(shop, goal)
        self.progress = Progress(self.session)
        self.search, self.open = f"search[{goal.name}]", f"click[{goal.asin.lower()}]"

    def judge(self, action: str) -> str:
        return self.progress.judge(action, self.session.act(action)).value


def test_verdicts_on_the_direct_way(shop: Catalogue) -> None:
    visit = Visit(shop, titled=True)
    goal = visit.session.goal
    actions = [visit.search, visit.open]
    actions += [f"click[{value}]" for value in wanted_options(product_of(shop, goal.asin), goal).values()]
    assert [visit.judge(action) for action in [*actions, "click[buy now]"]] == ["positive"] * (len(actions) + 1)


def test_verdicts_off_the_direct_way(shop: Catalogue) -> None:
    visit = Visit(shop, titled=True)
    goal = visit.session.goal
    assert visit.judge("click[buy now]") == "negative"  # not there
    assert visit.judge("search[zzz]") == "neutral"
    assert visit.judge("search[zzz]") == "negative"  # again
    assert visit.judge(visit.search) == "positive"
    wrong = next(product for product in visit.session.results() if not fits(product, goal))
    assert visit.judge(f"click[{wrong.asin.lower()}]") in ("negative", "neutral")
    assert visit.judge("click[< prev]") == "neutral"
    assert visit.judge(visit.open) == "positive"
    assert visit.judge("click[description]") == "negative"
    assert visit.judge("click[< prev]") == "neutral"
    assert visit.judge("click[features]") == "negative"  # the title has named them all
    assert visit.judge("click[< prev]") == "neutral"
    value = goal.option_values()[0]
    assert visit.judge(f"click[{value}]") == "positive"
    assert visit.judge(f"click[{value}]") == "negative"  # selected already
    assert visit.judge("click[< prev]") == "negative"  # a fitting product is left
    assert visit.judge(visit.open) == "positive"
    assert visit.judge("click[buy now]") == "negative"  # without its options


def test_a_hidden_attribute_is_judged_when_it_is_read(shop: Catalogue) -> None:
    visit = Visit(shop, titled=False)
    visit.judge(visit.search)
    assert visit.judge(visit.open) == "neutral"
    assert visit.judge("click[features]") == "positive"
    assert visit.judge("click[< prev]") == "neutral"
    assert visit.judge("click[features]") == "negative"  # read already
