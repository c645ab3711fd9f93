"""The words of ALFWorld's text games for a word-level policy, and the rewrites that drop what tells it nothing."""

from collections.abc import Iterable

from sg_pipeline.policies.vocabulary import PLAIN_ENGLISH, Vocabulary

# Words of the ALFWorld grammar (both data versions), the task templates and guidance texts, without nouns.
_WORDS = """
    room task facing next nothing happens open closed carrying not anything pick from on off in into in/on onto to
    arrive at loc turn heat clean cool hot cold slice sliced using with move put take go look inventory examine
    use close help special about normal this don't any switch up some two them find under and for then done
    positive neutral negative place drop search again wrong way good bad lamp plan first second other
    available commands
"""
FILLER_WORDS = "a are around is it looking middle of quickly see the there's you your"
"""Words that the rewrites drop; the shipped policies' tokenizers have them nevertheless."""
_EXTRA_NOUNS = ("faucet", "lamp", "loc", "showercurtain", "showerhead")

PHRASES = ("go to", "pick up", "turn on", "turn off", "nothing happens", "not carrying anything")

REWRITES = (
    (r"-= welcome to textworld, alfred! =-", " "),
    (r"you are in the middle of a room\.\s*looking quickly around you,", " room "),
    (r"your task is to:?", " task "),
    # The place is named again by what follows: "You arrive at loc 27. On the cabinet 1, you see ...".
    (r"you arrive at [^.\n]*\.(?=\s*\S)", " "),
    (r"\bon the (?=[a-z]+ \d+, you see)", " "),
    (r"\bin it, you see\b", " "),
    (r"\bnext to it, you see\b", " next "),
    (r"\bthere's\b", " "),
    *PLAIN_ENGLISH,
)


def alfworld_vocabulary(extra_words: Iterable[str] = ()) -> Vocabulary:
    """Return `extra_words` and those of ALFWorld's games, from the object lists that the alfworld package ships."""
    from alfworld.gen import constants

    receptacles = {name.lower() for name in constants.STATIC_RECEPTACLES}
    items = {name.lower() for name in constants.OBJECTS_SET} | set(_EXTRA_NOUNS)
    nouns = tuple(sorted(receptacles)), tuple(sorted(items - receptacles))
    vocabulary = Vocabulary(*nouns, words=(), phrases=PHRASES, rewrites=REWRITES)
    return vocabulary.with_words([*_WORDS.split(), *extra_words])
