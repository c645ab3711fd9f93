"""WebShop behind the protocol, alone and in the pool's workers; errors for bad data."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from webshop_shops import FILES, write_small_shop

from sg_pipeline.agents.prompts import FORMS, load_prompts, warn_of_foreign_commands
from sg_pipeline.config.environment import PoolConfig
from sg_pipeline.environments.panels import digest_of_file
from sg_pipeline.environments.pool import EnvironmentPool
from sg_pipeline.environments.registry import EnvironmentSpec
from sg_pipeline.environments.webshop.catalogue import Catalogue, open_catalogue
from sg_pipeline.environments.webshop.environment import WebShopEnvironment
from sg_pipeline.environments.webshop.official import OfficialProducts, find_files
from sg_pipeline.environments.webshop.products import read_product
from sg_pipeline.environments.webshop.progress import wanted_options
from sg_pipeline.errors import DataError
from sg_pipeline.trajectories.types import Task

CLASS = "sg_pipeline.environments.webshop.environment:WebShopEnvironment"


def task(shop: Catalogue, position: int) -> Task:
    goal = shop.goal("synthetic", position)
    return Task(f"t-{position}", "webshop", "train", goal.category, f"synthetic/{position}", goal.sha256)


def winning_actions(shop: Catalogue, position: int) -> list[str]:
    goal = shop.goal("synthetic", position)
    product = shop.find(goal.asin)
    assert product is not None
    # The whole title is found first by its own words.
    words = [f"search[{product.title} {' '.join(goal.attributes)}]", f"click[{goal.asin}]"]
    return [*words, *(f"click[{value}]" for value in wanted_options(product, goal).values()), "click[Buy Now]"]


def test_an_episode_from_search_to_purchase(shop: Catalogue, shop_folder: Path) -> None:
    environment = WebShopEnvironment(shop_folder)
    first = environment.reset(task(shop, 3), seed=0)
    assert shop.goal("synthetic", 3).instruction in first.observation
    *steps, last = [environment.step(action) for action in winning_actions(shop, 3)]
    assert [(step.reward, step.done, step.won, step.valid) for step in steps] == [(0.0, False, False, True)] * len(
        steps
    )
    assert (last.reward, last.score, last.done, last.won) == (1.0, 1.0, True, True)
    assert {step.parts for step in (first, *steps)} == {()}
    assert last.parts == (("r_type", 1.0), ("r_att", 1.0), ("r_option", 1.0), ("r_price", 1.0))
    with pytest.raises(RuntimeError, match="reset"):
        environment.step("click[back to search]")


def test_prompts_name_what_the_shop_accepts(
    shop: Catalogue, shop_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    environment = WebShopEnvironment(shop_folder, admissible=True)
    forms = environment.reset(task(shop, 3), seed=0).forms
    product = winning_actions(shop, 3)[1]
    script = ["search[red]", "click[next >]", "click[< prev]", winning_actions(shop, 3)[0], product]
    shown = [environment.step(action) for action in [*script, "click[features]", "click[< prev]", "click[buy now]"]]
    possible = {command for step in shown for command in step.admissible or ()}
    assert all(step.valid for step in shown)
    assert all(re.fullmatch(r"search\[.+\]|click\[.+\]", command) for command in possible)
    assert forms == ("search[words]", "click[name]")
    for method in ("self_guide", "react", "react_self_guide", "reflact", "reflexion"):
        prompts = load_prompts(method, "webshop")
        for system in filter(None, (prompts.guided, prompts.plain)):
            assert system.count(FORMS) == 1
            warn_of_foreign_commands(method, system, forms)
            buttons = re.search('or a button: ((?:"[^"]+"[,\\s]*)+)', system)
            assert buttons is not None
            assert {f"click[{name}]" for name in re.findall('"(.+?)"', buttons[1])} <= possible
    assert caplog.messages == []


def test_environment_partly_right_purchase_scores_its_share(shop: Catalogue, shop_folder: Path) -> None:
    environment = WebShopEnvironment(shop_folder)
    environment.reset(task(shop, 3), seed=0)
    for action in winning_actions(shop, 3)[:2]:
        environment.step(action)
    assert environment.step("click[green elephant]").valid is False
    bought = environment.step("click[buy now]")
    assert (bought.done, bought.won) == (True, False)
    assert bought.score == bought.reward == pytest.approx(0.6)
    assert dict(bought.parts) == {"r_type": 1.0, "r_att": 1.0, "r_option": 0.0, "r_price": 1.0}


def test_the_instruction_may_be_shown_once(shop: Catalogue, shop_folder: Path) -> None:
    environment = WebShopEnvironment(shop_folder, repeat_instruction=False)
    assert "Instruction:" in environment.reset(task(shop, 0), seed=0).observation
    assert environment.step("search[tea]").observation.startswith("Back to Search [SEP] Page 1")


def test_possible_commands_on_request(shop: Catalogue, shop_folder: Path) -> None:
    environment = WebShopEnvironment(shop_folder, admissible=True)
    assert environment.reset(task(shop, 0), seed=0).admissible == ("search[...]",)
    assert "click[next >]" in (environment.step("search[tea]").admissible or ())


def test_the_pool_plays_the_same_and_a_bad_task_harms_no_other(shop: Catalogue, shop_folder: Path) -> None:
    tasks = [task(shop, 1), replace(task(shop, 2), path="synthetic/999999"), task(shop, 4)]
    spec = EnvironmentSpec(CLASS, {"data_root": shop_folder, "cache_dir": None})
    with EnvironmentPool(spec, PoolConfig(workers=1)) as pool:
        with pytest.raises(DataError, match="none at position 999999"):
            pool.reset(tasks, [0, 0, 0])
        for row, position in ((0, 1), (2, 4)):
            for action in winning_actions(shop, position):
                (result,) = pool.step([row], [action])
            assert result.won
            assert [name for name, _ in result.parts] == ["r_type", "r_att", "r_option", "r_price"]


@pytest.mark.parametrize("path", ["synthetic/-1", "synthetic", "synthetic/x", "video/0", "synthetic/100000", ""])
def test_environment_unknown_task_raises(shop: Catalogue, shop_folder: Path, path: str) -> None:
    with pytest.raises(DataError):
        WebShopEnvironment(shop_folder).reset(replace(task(shop, 0), path=path), seed=0)


def test_environment_goal_other_than_the_panels_raises(shop: Catalogue, shop_folder: Path) -> None:
    with pytest.raises(DataError, match="another goal"):
        WebShopEnvironment(shop_folder).reset(replace(task(shop, 0), sha256="0" * 64), seed=0)


def test_open_catalogue_missing_folder_or_file_raises(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="WEBSHOP_DATA"):
        open_catalogue(tmp_path / "nowhere", None)
    folder = write_small_shop(tmp_path / "shop")
    (folder / FILES[1]).unlink()
    with pytest.raises(DataError, match=r"lacks items_ins_v2\.json; it holds items_human_ins\.json"):
        open_catalogue(folder, None)


@pytest.mark.parametrize("name", FILES[:2])
@pytest.mark.parametrize("kept", [0, 1, 0.5, -3])
def test_open_catalogue_truncated_file_raises_and_leaves_nothing(tmp_path: Path, name: str, kept: float) -> None:
    folder = write_small_shop(tmp_path / "shop")
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: int(len(content) * kept) if 0 < kept < 1 else int(kept)])
    with pytest.raises(DataError, match=name):
        open_catalogue(folder, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"asin": 1}', "items_shuffle.json should hold a JSON array, but begins with '{'"),
        ("[1]", "entry 0"),
        ('[{"asin": "B1"}]', "field 'small_description' is missing"),
        ("[]", "holds no product"),
        ("[] []", r"items_shuffle.json cannot be read as JSON after 0 whole entries \(.*trailing garbage"),
        ("[,]", "unallowed token"),
        ("not json", "should hold a JSON array"),
        (b'["\xff"]', "invalid bytes in UTF8"),
    ],
)
def test_open_catalogue_wrong_file_raises(tmp_path: Path, content: str | bytes, message: str) -> None:
    folder = write_small_shop(tmp_path / "shop")
    (folder / FILES[0]).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=message):
        open_catalogue(folder, None)


def test_open_catalogue_unreadable_price_raises(tmp_path: Path) -> None:
    folder = write_small_shop(tmp_path / "shop")
    products = json.loads((folder / FILES[0]).read_text())
    products[0]["pricing"] = "free"
    (folder / FILES[0]).write_text(json.dumps(products))
    with pytest.raises(DataError, match=rf"{products[0]['asin']}: field 'pricing' is 'free'"):
        open_catalogue(folder, None)


def test_official_products_are_those_of_the_whole_files(tmp_path: Path) -> None:
    folder = write_small_shop(tmp_path / "shop")
    read = OfficialProducts(find_files(folder))
    entries, known, human = (json.loads((folder / name).read_text()) for name in FILES)
    assert list(read) == [read_product(one, known[one["asin"]], human.get(one["asin"], ())) for one in entries]
    assert read.sha256 == {name: digest_of_file(folder / name) for name in FILES}


def test_open_catalogue_changed_files_are_prepared_again(tmp_path: Path) -> None:
    folder = write_small_shop(tmp_path / "shop")
    first = open_catalogue(folder, tmp_path / "cache")
    assert open_catalogue(folder, tmp_path / "cache") is first
    products = json.loads((folder / FILES[0]).read_text())
    (folder / FILES[0]).write_text(json.dumps(products[:50]))
    second = open_catalogue(folder, tmp_path / "cache")
    assert (len(first), len(second)) == (len(products), 50)
    assert first.sha256 != second.sha256


def test_the_order_of_goals_does_not_depend_on_the_process(shop: Catalogue, tmp_path: Path) -> None:
    again = open_catalogue(write_small_shop(tmp_path / "copy"), None)
    count = shop.goal_count("synthetic")
    assert [again.goal("synthetic", n) for n in range(count)] == [shop.goal("synthetic", n) for n in range(count)]
    shutil.rmtree(tmp_path / "copy")
