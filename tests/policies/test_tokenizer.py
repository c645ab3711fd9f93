"""The word tokenizer: commands survive, instances are single tokens, it is an ordinary saved tokenizer."""

import json
import os
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from sg_pipeline.environments.alfworld.vocabulary import alfworld_vocabulary
from sg_pipeline.policies.tokenizer import ACTION_TAGS, build_tokenizer, instance_parts
from sg_pipeline.policies.vocabulary import Vocabulary

DATA = Path(os.environ.get("SG_SHARED_DATA") or Path(__file__).resolve().parents[2].parent / "shared" / "data")

COMMANDS = [
    "go to cabinet 1",
    "take mug 1 from shelf 2",
    "move mug 1 to shelf 2",
    "put mug 2 in/on shelf 10",
    "heat egg 1 with microwave 1",
    "clean ladle 2 with sinkbasin 1",
    "cool winebottle 3 with fridge 1",
    "slice apple 1 with butterknife 1",
    "use desklamp 1",
    "open drawer 12",
    "close safe 1",
    "examine tvstand 1",
    "look",
    "inventory",
    "help",
    "go to cabinet 13",
    "go to drawer 120",
    "take pencil 7 from desk 1",
    "take pencil 17 from desk 1",
]


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer(alfworld_vocabulary())


@pytest.mark.parametrize("command", COMMANDS)
def test_tokenizer_round_trip_of_a_command_is_exact(tokenizer, command):
    ids = tokenizer.encode(command, add_special_tokens=False)
    assert tokenizer.unk_token_id not in ids
    assert tokenizer.decode(ids) == command


def test_tokenizer_round_trip_of_every_command_and_noun_is_exact(tokenizer):
    vocabulary = alfworld_vocabulary()
    for noun in (*vocabulary.receptacles, *vocabulary.items):
        for number in (1, 6, 7, 12, 13, 23, 99):
            for form in ("go to {}", "take {} from shelf 1", "move {} to desk 1", "use {}", "heat {} with microwave 1"):
                command = form.format(f"{noun} {number}")
                assert tokenizer.decode(tokenizer.encode(command)) == command


def test_tokenizer_instances_and_phrases_are_single_tokens(tokenizer):
    assert tokenizer.tokenize("take mug 6 from cabinet 12") == ["take", "mug 6", "from", "cabinet 12"]
    assert tokenizer.tokenize("go to drawer 3") == ["go to", "drawer 3"]
    assert tokenizer.tokenize("go to cabinet 23") == ["go to", "cabinet 2", "##3"]
    assert tokenizer.tokenize("Nothing happens.") == ["nothing happens"]


def test_tokenizer_drops_articles_and_punctuation(tokenizer):
    intro = (
        "-= Welcome to TextWorld, ALFRED! =-\n\nYou are in the middle of a room. Looking quickly around you, you see "
        "a bed 1, a desk 2, and a drawer 1.\n\nYour task is to: put a clean mug in desk."
    )
    assert tokenizer.tokenize(intro) == [
        "room",
        "bed 1",
        "desk 2",
        "drawer 1",
        "task",
        *["put", "clean", "mug", "in", "desk"],
    ]
    seen = "On the shelf 1, you see a mug 2, and a vase 1."
    for arrival in ("You arrive at loc 27. ", "You arrive at shelf 1. "):
        assert tokenizer.tokenize(arrival + seen) == ["shelf 1", "mug 2", "vase 1"]
    assert tokenizer.tokenize("The drawer 1 is open. In it, you see nothing.") == ["drawer 1", "open", "nothing"]
    assert tokenizer.tokenize("You pick up the mug 1 from the shelf 1.") == ["pick up", "mug 1", "from", "shelf 1"]


def test_tokenizer_unknown_words_become_unk(tokenizer):
    for text in (
        "flurb 3",
        "mugs",
        "mug2",
        "5 mug 2 3",
        "",
        "  ",
        "\u00e9t\u00e9 \U0001f600",
        "x" * 500,
        "a" * 2000 + " 1",
    ):
        assert isinstance(tokenizer.decode(tokenizer.encode(text)), str)
    assert tokenizer.tokenize("flurb 3") == ["<unk>"]
    assert tokenizer.tokenize("mugs") == ["<unk>"]
    assert tokenizer.tokenize("mug two mug 2") == ["mug", "two", "mug 2"]


def test_tokenizer_loads_without_custom_code(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert loaded.get_vocab() == tokenizer.get_vocab()
    text = "<|obs|>On the shelf 1, you see a mug 2.<guidance>positive: take mug 2</guidance><action>look</action>"
    assert loaded.encode(text) == tokenizer.encode(text)
    assert (loaded.pad_token, loaded.eos_token, loaded.unk_token) == ("<|pad|>", ACTION_TAGS[1], "<unk>")
    messages = [{"role": "system", "content": "<|system-plain|>"}, {"role": "user", "content": "look"}]
    assert loaded.apply_chat_template(messages, tokenize=False) == "<|system-plain|><|obs|>look"


def test_tokenizer_ids_are_independent_of_word_order():
    one = Vocabulary(receptacles=("shelf", "desk"), items=("mug", "pen"), words=("go", "take", "take"))
    two = Vocabulary(receptacles=("desk", "shelf"), items=("pen", "mug"), words=("take", "go"))
    assert build_tokenizer(one).get_vocab() == build_tokenizer(two).get_vocab()


def test_tokenizer_of_the_shipped_policy_is_reproduced_exactly(tmp_path):
    from sg_pipeline.environments.registry import load_benchmark

    shipped = Path(__file__).resolve().parents[2] / "data" / "06_models" / "tiny-alfworld" / "base"
    build_tokenizer(load_benchmark("alfworld").vocabulary()).save_pretrained(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        assert (tmp_path / name).read_bytes() == (shipped / name).read_bytes(), name


def test_vocabulary_rewrites_and_joins_are_applied(tmp_path):
    shop = Vocabulary(
        receptacles=(),
        items=(),
        words=("search[", "click[", "]", "red", "tea", "task"),
        phrases=("buy now",),
        rewrites=((r"instruction: \[sep\]", " task "), (r"(?<=search|click)\[", "[ "), (r"\]", " ] ")),
        joins=(("[ ", "["), (" ]", "]")),
    )
    build_tokenizer(shop).save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer.tokenize("Instruction: [SEP] red tea") == ["task", "red", "tea"]
    for command in ("search[red tea]", "click[buy now]"):
        ids = tokenizer.encode(command, add_special_tokens=False)
        assert tokenizer.unk_token_id not in ids
        assert tokenizer.decode(ids) == command


def test_vocabulary_with_words_adds_new_words_once():
    vocabulary = Vocabulary(receptacles=("shelf",), items=("mug",), words=("go",))
    more = vocabulary.with_words(["Mug", "shelf", "go", "quickly", "quickly", "2", "<tag>", "two words"])
    assert more.words == ("go", "quickly")


def test_instance_parts_splits_only_instances():
    assert instance_parts("mug 2") == ("mug", "2")
    assert instance_parts("in/on") is None
    assert instance_parts("## 2") is None


@pytest.mark.skipif(not (DATA / "alfworld").is_dir(), reason=f"no official ALFWorld data under {DATA}")
def test_tokenizer_knows_all_words_of_official_games(tokenizer):
    import tarfile

    checked = 0
    with tarfile.open(DATA / "alfworld" / "json_2.1.1.tar.xz") as archive:
        for member in archive:
            if not member.name.endswith("game.tw-pddl"):
                continue
            game = json.loads(archive.extractfile(member).read())
            task = game["grammar"].split("Your task is to: ")[1].split('"')[0]
            assert tokenizer.unk_token_id not in tokenizer.encode("Your task is to: " + task), task
            for command in game.get("walkthrough") or []:
                assert tokenizer.decode(tokenizer.encode(command)) == command
            checked += 1
            if checked == 60:
                break
    assert checked == 60
