"""A policy that needs no model: it reads its whole prompt as text and answers by a rule, on a real tokenizer."""

from sg_pipeline.sampling.base import Completion


class TalkingSampler:
    """Answers with what `rule(text so far, chance)` says; keeps every session, for tests to look at."""

    def __init__(self, tokenizer, rule):
        self.sessions = []
        self._tokenizer = tokenizer
        self._rule = rule

    def open(self, streams, max_length):
        self.sessions.append(TalkingSession(self._tokenizer, self._rule, list(streams), max_length))
        return self.sessions[-1]


class TalkingSession:
    def __init__(self, tokenizer, rule, streams, max_length):
        self.sequences = [[] for _ in streams]
        self._tokenizer = tokenizer
        self._rule = rule
        self._streams = streams
        self._max_length = max_length

    def length(self, row):
        return len(self.sequences[row])

    def extend(self, rows, contexts, stop_ids, max_new_tokens):
        completions = []
        for row, context in zip(rows, contexts, strict=True):
            self.sequences[row] += context
            text = self._tokenizer.decode(self.sequences[row])
            ids = [*self._tokenizer.encode(self._rule(text, self._streams[row].random())), stop_ids[0]][:max_new_tokens]
            self.sequences[row] += ids
            assert len(self.sequences[row]) <= self._max_length
            completions.append(Completion(ids, [-0.5] * len(ids), stopped=ids[-1] == stop_ids[0]))
        return completions


def last_seen(text):
    """Return what the environment showed last."""
    return text.rpartition("<|im_start|>user\n")[2].partition("<|im_end|>")[0]


def searcher(text, chance):
    """Sweep right, then left; take the key and open the chest only after a note about the key."""
    if "look back at a failed attempt" in text:
        return "Next time take key, then open chest.\nNothing else counts."
    seen = last_seen(text)
    if "Next time take key" in text and "A key is here" in seen:
        action = "take key"
    elif "<action>take key</action>" in text and "A chest is here" in seen and "Nothing happens" not in seen:
        action = "open chest"
    elif "Nothing happens" in seen:  # a wall: turn round
        action = "left" if text.rstrip().rpartition("<action>")[2].startswith("right") else "right"
    else:
        action = "left" if "<action>left" in text.rpartition("<|im_start|>user\n")[0][-200:] else "right"
    return f"<thought>I am at {seen[-20:-1]} with {chance:.3f}</thought><action>{action}</action>"
