"""Small real tokenizers with the chat templates of the field, made on the spot."""

import copy
import re
from functools import cache
from importlib import resources

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

# As Qwen3's: <think> of earlier turns is stripped, thinking off puts an empty block into the generation prompt.
QWEN3 = """
{%- if messages[0].role == 'system' %}{{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}{%- endif %}
{%- set ns = namespace(last=-1) %}
{%- for message in messages %}{%- if message.role == 'user' %}{%- set ns.last = loop.index0 %}{%- endif %}{%- endfor %}
{%- for message in messages %}
{%- if message.role == 'user' or (message.role == 'system' and not loop.first) %}
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- elif message.role == 'assistant' %}
{%- set content = message.content %}
{%- if '</think>' in content %}{%- set content = content.split('</think>')[-1].lstrip('\\n') %}{%- endif %}
{%- if loop.index0 > ns.last %}
{{- '<|im_start|>assistant\\n<think>\\n\\n</think>\\n\\n' + content + '<|im_end|>\\n' }}
{%- else %}
{{- '<|im_start|>assistant\\n' + content + '<|im_end|>\\n' }}
{%- endif %}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\\n' }}
{%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}
{%- endif %}
"""
# As Llama 3's: trims, no newline after the end of a turn.
LLAMA3 = """
{{- bos_token }}
{%- for message in messages %}
{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}
"""
# As Llama 2's: the system prompt inside the first user message, a space before the end of a turn.
LLAMA2 = """
{%- if messages[0]['role'] == 'system' %}
{%- set rest = messages[1:] %}{%- set system = '<<SYS>>\\n' + messages[0]['content'] + '\\n<</SYS>>\\n\\n' %}
{%- else %}{%- set rest = messages %}{%- set system = '' %}{%- endif %}
{%- for message in rest %}
{%- if message['role'] == 'user' %}
{{- bos_token + '[INST] ' + (system if loop.first else '') + message['content'] + ' [/INST]' }}
{%- else %}{{- ' ' + message['content'] + ' ' + eos_token }}{%- endif %}
{%- endfor %}
"""
# As Gemma's: no system role.
GEMMA = """
{{- bos_token }}
{%- if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{%- endif %}
{%- for message in messages %}
{{- '<start_of_turn>' + ('model' if message['role'] == 'assistant' else 'user') + '\\n' }}
{{- message['content'] | trim + '<end_of_turn>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<start_of_turn>model\\n' }}{%- endif %}
"""
# As an early Mistral's: the system prompt wanders to the last user message.
MISTRAL = """
{{- bos_token }}
{%- if messages[0]['role'] == 'system' %}{%- set system = messages[0]['content'] + '\\n\\n' %}
{%- set rest = messages[1:] %}
{%- else %}{%- set system = '' %}{%- set rest = messages %}{%- endif %}
{%- for message in rest %}
{%- if message['role'] == 'user' %}
{{- '[INST] ' + (system if loop.last else '') + message['content'] + '[/INST]' }}
{%- else %}{{- ' ' + message['content'] + eos_token }}{%- endif %}
{%- endfor %}
"""
# Nothing but plain words between messages: only the tokenizer's own end ends a turn.
PLAIN = """
{%- for message in messages %}{{- message['role'] + ': ' + message['content'] + '\\n' }}{%- endfor %}
{%- if add_generation_prompt %}{{- 'assistant: ' }}{%- endif %}
"""
# Not append-only.
NUMBERED = "{%- for message in messages %}{{ loop.revindex }} {{ message['content'] }}<|im_end|>{%- endfor %}"
LAST_ONLY = "{{ messages[-1]['content'] }}<|im_end|>"
COUNTED = "{{ messages | length }}{% for message in messages %} {{ message['content'] }}<|im_end|>{% endfor %}"
INDEXED = "{% for message in messages %}{{ message['content'] }}<|im_end|>{{ loop.index }} {% endfor %}"

# As DeepSeek-R1's: the prompt ends inside the reasoning.
R1 = """
{%- for message in messages %}
{%- if message.role == 'assistant' %}
{{- '<|im_start|>assistant\\n' + message.content.split('</think>')[-1] + '<|im_end|>\\n' }}
{%- else %}{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n<think>\\n' }}{%- endif %}
"""
# Reasoning in a tag that no family has, shown where a message has some.
MULLING = """
{%- for message in messages %}
{{- '<|im_start|>' + message.role + '\\n' }}
{%- if message.reasoning_content %}{{- '<mull>\\n' + message.reasoning_content + '\\n</mull>\\n\\n' }}{%- endif %}
{{- message.content + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}
"""

TEMPLATES = {"qwen3": QWEN3, "llama3": LLAMA3, "llama2": LLAMA2, "gemma": GEMMA, "mistral": MISTRAL, "plain": PLAIN}
ENDS = {
    "qwen3": "<|im_end|>",
    "llama3": "<|eot_id|>",
    "llama2": "</s>",
    "gemma": "<end_of_turn>",
    "mistral": "</s>",
    "plain": "</s>",
}
SPECIAL = [
    *("<|endoftext|>", "<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|eot_id|>", "<|start_header_id|>"),
    *("<|end_header_id|>", "<start_of_turn>", "<end_of_turn>"),
]
_LINES = [
    "You are in the middle of a room. Looking quickly around you, you see a cabinet 1, and a shelf 2.",
    "Your task is to: put a clean mug in shelf. <guidance>positive: take mug 1</guidance><action>go to shelf</action>",
    "Nothing happens. negative neutral positive user assistant system [INST] [/INST]",
]


def bpe_tokenizer(template="qwen3", chat_template=None, eos=None):
    """A byte-level BPE tokenizer in which the tags are spread over several tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_LINES * 3, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token=eos or ENDS[template],
        pad_token="<|endoftext|>",
        chat_template=TEMPLATES[template] if chat_template is None else chat_template,
        clean_up_tokenization_spaces=False,
    )


@cache
def real_templates():
    """The chat templates of models that TRL ships, by name, without the variants that it trains with."""
    folder = resources.files("trl") / "chat_templates"
    files = (file for file in folder.iterdir() if file.name.endswith(".jinja") and "_training" not in file.name)
    return {file.name.removesuffix(".jinja"): file.read_text(encoding="utf-8") for file in files}


@cache
def _plain_bpe():
    return bpe_tokenizer("qwen3", eos="</s>")


def real_tokenizer(name):
    """A tokenizer with one of `real_templates`, whose control words are special tokens."""
    tokenizer = copy.deepcopy(_plain_bpe())
    tokenizer.chat_template = real_templates()[name]
    words = re.findall(r"<[|\uff5c][^<>'\" ]*>|<[a-z_]+\|>|</?[a-z_]+_of_[a-z]+>", tokenizer.chat_template)
    tokenizer.add_special_tokens({"additional_special_tokens": sorted({*SPECIAL, *words})})
    return tokenizer
