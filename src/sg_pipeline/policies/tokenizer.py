"""The tiny policy's tokenizer: word level; an instance such as "mug 2" is one token.

A turn then costs about ten sampled tokens. It is an ordinary fast tokenizer (normalizer, pre-tokenizer,
WordPiece): saved with `save_pretrained`, loaded by `AutoTokenizer` without custom code.

A vocabulary drops text without information (articles, punctuation, set phrases of the engine); for every *command*
`decode(encode(command)) == command`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sg_pipeline.policies.vocabulary import Vocabulary

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PAD = "<|pad|>"
UNKNOWN = "<unk>"
GUIDED = "<|system-guided|>"
PLAIN = "<|system-plain|>"
OBSERVATION = "<|obs|>"
GUIDANCE_TAGS = ("<guidance>", "</guidance>")
ACTION_TAGS = ("<action>", "</action>")
# One always follows the other: as one token they save a tenth of the sampling. (It begins in the guidance segment.)
TURNOVER = GUIDANCE_TAGS[1] + ACTION_TAGS[0]
SPECIAL_TOKENS = (PAD, UNKNOWN, GUIDED, PLAIN, OBSERVATION, *GUIDANCE_TAGS, TURNOVER, *ACTION_TAGS)

_CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{%- if message['role'] == 'user' -%}" + OBSERVATION + "{{ message['content'] }}"
    "{%- elif message['role'] == 'assistant' -%}"
    # The closing action tag ends the turn: a truncated completion gets it, too.
    "{{ message['content'] }}{%- if not message['content'].endswith('" + ACTION_TAGS[1] + "') -%}" + ACTION_TAGS[1] + ""
    "{%- endif -%}"
    "{%- else -%}{{ message['content'] }}{%- endif -%}"
    "{%- endfor -%}"
)


def build_tokenizer(vocabulary: Vocabulary) -> PreTrainedTokenizerFast:
    """Return the word-level tokenizer of `vocabulary`, including its chat template.

    The ids depend on the vocabulary's contents, not on its order. Unknown words become `<unk>`; instance numbers
    above the vocabulary's highest are split into pieces ("mug 1" + "##7") and decode exactly.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    ids = {token: index for index, token in enumerate(_tokens(vocabulary))}
    tokenizer = Tokenizer(
        models.WordPiece(ids, unk_token=UNKNOWN, continuing_subword_prefix="##", max_input_chars_per_word=60)
    )
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Lowercase(),
            *(normalizers.Replace(Regex(pattern), content) for pattern, content in vocabulary.rewrites),
            normalizers.Replace(Regex(r"\s+"), " "),
            normalizers.Strip(),
        ]
    )
    # The units match; the text between them is removed.
    phrases = "|".join(re.escape(phrase).replace(r"\ ", " ") for phrase in vocabulary.phrases)
    units = (rf"(?:{phrases})(?!\S)|" if phrases else "") + r"[a-z][a-z/'-]* \d+(?!\S)|\S+"
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(units), behavior="removed", invert=True)
    words = decoders.WordPiece(prefix="##", cleanup=False)
    joins = [decoders.Replace(text, content) for text, content in vocabulary.joins]
    tokenizer.decoder = decoders.Sequence([words, decoders.Fuse(), *joins]) if joins else words
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        unk_token=UNKNOWN,
        eos_token=ACTION_TAGS[1],
        additional_special_tokens=[token for token in SPECIAL_TOKENS if token not in (PAD, UNKNOWN, ACTION_TAGS[1])],
        chat_template=_CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
        padding_side="right",
    )


def instance_parts(token: str) -> tuple[str, str] | None:
    """Return ("mug", "2") for the token "mug 2", None for any other token."""
    match = re.fullmatch(r"([a-z][a-z/'-]*) (\d+)", token)
    return (match[1], match[2]) if match else None


def _tokens(vocabulary: Vocabulary) -> list[str]:
    words = {*vocabulary.words, *vocabulary.receptacles, *vocabulary.items, *vocabulary.phrases}
    instances = [
        f"{noun} {number}"
        for nouns, highest in (
            (vocabulary.receptacles, vocabulary.receptacle_numbers),
            (vocabulary.items, vocabulary.item_numbers),
        )
        for noun in sorted(set(nouns))
        for number in range(1, highest + 1)
    ]
    digits = [str(digit) for digit in range(10)]
    pieces = [*digits, *(f"## {digit}" for digit in digits), *(f"##{digit}" for digit in digits)]
    return [*SPECIAL_TOKENS, *pieces, *sorted(words), *instances]
