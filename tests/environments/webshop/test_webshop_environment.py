"""WebShop behind the protocol, alone and in the pool's workers; errors for bad data."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from webshop_shops import product_of, write_small_shop

from sg_pipeline.agents.prompts import FORMS, load_prompts, warn_of_foreign_commands
from sg_pipeline.config.environment import PoolConfig
from sg_pipeline.environments.pool import EnvironmentPool
from sg_pipeline.environments.registry import EnvironmentSpec
from sg_pipeline.environments.webshop.catalogue import Catalogue, open_catalogue
from sg_pipeline.environments.webshop.environment import WebShopEnvironment
from sg_pipeline.environments.webshop.generation.catalogue import FILES
from sg_pipeline.environments.webshop.progress import wanted_options
from sg_pipeline.errors import DataError
from sg_pipeline.trajectories.types import Task

ALL_PARTS = (("r_type", 1.0), ("r_att", 1.0), ("r_option", 1.0), ("r_price", 1.0))


def task(shop: Catalogue, position: int = 3) -> Task:
    goal = shop.goal("synthetic", position)
    return Task(f"t-{position}", "webshop", "train", goal.category, f"synthetic/{position}", goal.sha256)


def winning_actions(shop: Catalogue, position: int = 3) -> list[str]:
    goal = shop.goal("synthetic", position)
    options = wanted_options(product_of(shop, goal.asin), goal)
    # The whole title is found first by its own words.
    words = [f"search[{goal.name} {' '.join(goal.attributes)}]", f"click[{goal.asin}]"]
    return [*words, *(f"click[{value}]" for value in options.values()), "click[Buy Now]"]


def test_environment_episode_from_search_to_purchase(shop: Catalogue, shop_folder: Path) -> None:
    environment = WebShopEnvironment(shop_folder)
    first = environment.reset(task(shop), seed=0)
    assert shop.goal("synthetic", 3).instruction in first.observation
    *steps, last = [environment.step(action) for action in winning_actions(shop)]
    for step in steps:
        assert (step.reward, step.done, step.won, step.valid, step.parts) == (0.0, False, False, True, ())
    assert (last.reward, last.score, last.done, last.won, last.parts) == (1.0, 1.0, True, True, ALL_PARTS)
    with pytest.raises(RuntimeError, match="reset"):
        environment.step("click[back to search]")


def test_environment_in_a_worker_plays_the_same(shop: Catalogue, shop_folder: Path) -> None:
    name = "sg_pipeline.environments.webshop.environment:WebShopEnvironment"
    spec = EnvironmentSpec(name, {"data_root": shop_folder, "cache_dir": None})
    with EnvironmentPool(spec, PoolConfig(workers=1)) as pool:
        with pytest.raises(DataError, match="none at position 999999"):
            pool.reset([task(shop), replace(task(shop), path="synthetic/999999")], [0, 0])
        *_, last = (pool.step([0], [action])[0] for action in winning_actions(shop))
    assert (last.won, last.parts) == (True, ALL_PARTS)


def test_environment_partly_right_purchase_scores_its_share(shop: Catalogue, shop_folder: Path) -> None:
    environment = WebShopEnvironment(shop_folder)
    environment.reset(task(shop), seed=0)
    for action in winning_actions(shop)[:2]:
        environment.step(action)
    assert environment.step("click[green elephant]").valid is False
    bought = environment.step("click[buy now]")
    assert (bought.done, bought.won) == (True, False)
    assert bought.score == bought.reward == pytest.approx(0.6)
    assert dict(bought.parts) == {**dict(ALL_PARTS), "r_option": 0.0}


def test_environment_shows_the_instruction_once_if_asked(shop: Catalogue, shop_folder: Path) -> None:
    environment = WebShopEnvironment(shop_folder, repeat_instruction=False)
    assert "Instruction:" in environment.reset(task(shop), seed=0).observation
    assert environment.step("search[tea]").observation.startswith("Back to Search [SEP] Page 1")


def test_prompts_and_admissible_commands_are_what_the_shop_accepts(
    shop: Catalogue, shop_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    environment = WebShopEnvironment(shop_folder, admissible=True)
    first = environment.reset(task(shop), seed=0)
    assert first.admissible == ("search[...]",)
    assert first.forms == ("search[words]", "click[name]")
    search, product = winning_actions(shop)[:2]
    script = ["search[red]", "click[next >]", "click[< prev]", search, product]
    shown = [environment.step(action) for action in [*script, "click[features]", "click[< prev]", "click[buy now]"]]
    possible = {command for step in shown for command in step.admissible or ()}
    assert all(step.valid for step in shown)
    assert all(re.fullmatch(r"search\[.+\]|click\[.+\]", command) for command in possible)
    for method in ("self_guide", "react", "react_self_guide", "reflact", "reflexion"):
        prompts = load_prompts(method, "webshop")
        for system in filter(None, (prompts.guided, prompts.plain)):
            assert system.count(FORMS) == 1
            warn_of_foreign_commands(method, system, first.forms)
            buttons = re.search('or a button: ((?:"[^"]+"[,\\s]*)+)', system)
            assert buttons is not None
            assert {f"click[{name}]" for name in re.findall('"(.+?)"', buttons[1])} <= possible
    assert caplog.messages == []


@pytest.mark.parametrize(
    "changes",
    [*({"path": path} for path in ("synthetic/-1", "synthetic", "video/0", "synthetic/100000", "")), {"sha256": "0"}],
)
def test_environment_unknown_or_other_goal_raises(shop: Catalogue, shop_folder: Path, changes: dict[str, str]) -> None:
    with pytest.raises(DataError, match="another goal" if "sha256" in changes else r"position|kinds"):
        WebShopEnvironment(shop_folder).reset(replace(task(shop), **changes), seed=0)


def test_open_catalogue_missing_folder_or_file_raises(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="WEBSHOP_DATA"):
        open_catalogue(tmp_path / "nowhere", None)
    folder = write_small_shop(tmp_path / "shop")
    (folder / FILES[1]).unlink()
    with pytest.raises(DataError, match=r"lacks items_ins_v2\.json; it holds items_human_ins\.json"):
        open_catalogue(folder, None)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        *((file, end, FILES[file]) for file in (0, 1) for end in (0, 1, 4000, -3)),
        (0, b'{"asin": 1}', "items_shuffle.json should hold a JSON array, but begins with '{'"),
        (1, b"[]", "items_ins_v2.json should hold a JSON object"),
        (0, b"[1]", "entry 0"),
        (0, b'[{"asin": "B1"}]', "field 'small_description' is missing"),
        (0, b"[]", "holds no product"),
        (0, b"[] []", r"items_shuffle.json cannot be read as JSON after 0 whole entries \(.*trailing garbage"),
        (0, b'[{"asin": "B1", "small_description": [], "pricing": "free"}]', "product B1: field 'pricing' is 'free'"),
    ],
)
def test_open_catalogue_truncated_or_wrong_file_raises_and_leaves_nothing(tmp_path, file, content, message) -> None:
    path = write_small_shop(tmp_path / "shop") / FILES[file]
    path.write_bytes(content if isinstance(content, bytes) else path.read_bytes()[:content])
    with pytest.raises(DataError, match=message):
        open_catalogue(path.parent, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_open_catalogue_changed_files_are_prepared_again(tmp_path: Path) -> None:
    folder = write_small_shop(tmp_path / "shop")
    first = open_catalogue(folder, tmp_path / "cache")
    assert open_catalogue(folder, tmp_path / "cache") is first
    products = json.loads((folder / FILES[0]).read_text())
    (folder / FILES[0]).write_text(json.dumps(products[:50]))
    second = open_catalogue(folder, tmp_path / "cache")
    assert (len(first), len(second)) == (len(products), 50)
    assert first.sha256 != second.sha256
