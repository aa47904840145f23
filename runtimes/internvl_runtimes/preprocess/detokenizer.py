"""Text out of a stream of tokens, with stop strings. Used by the language model's deployment.

What was given out is never taken back: half a UTF-8 character and text that may yet become a stop string are
held until the next tokens decide.
"""

from collections.abc import Sequence

from tokenizers import Tokenizer

_REPLACEMENT = "\ufffd"


class TextStream:
    """Decodes the tokens of one answer. Special tokens leave no text."""

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str] = ()) -> None:
        self._tokenizer = tokenizer
        self._stop = tuple(text for text in stop if text)
        self._ids: list[int] = []
        self._context_from = 0  # tokens before this are not needed any more
        self._shown_to = 0  # tokens before this are in the text already
        self._held = ""
        self.stopped = False
        """Whether a stop string was found. Then no more text comes."""

    def push(self, token_ids: Sequence[int]) -> str:
        """Take the next tokens and return the text that is certain now (often empty).

        The stop string that is complete first ends the text; it and all after it are left out.
        """
        return "" if self.stopped else self._release(self._decoded(token_ids, final=False), final=False)

    def finish(self) -> str:
        """The rest of the text, when no more tokens come. An unfinished character becomes U+FFFD."""
        return "" if self.stopped else self._release(self._decoded((), final=True), final=True)

    def _decoded(self, token_ids: Sequence[int], *, final: bool) -> str:
        # A token's text depends on its neighbours (spaces, bytes of one character). So the tokens since the last
        # two borders are decoded together and the part that was shown before is cut off.
        self._ids += token_ids
        shown = self._tokenizer.decode(self._ids[self._context_from : self._shown_to])
        text: str = self._tokenizer.decode(self._ids[self._context_from :])
        if len(text) <= len(shown) or (text.endswith(_REPLACEMENT) and not final):
            return ""
        self._context_from, self._shown_to = self._shown_to, len(self._ids)
        return text[len(shown) :]

    def _release(self, text: str, *, final: bool) -> str:
        self._held += text
        if (end := self._first_stop()) is not None:
            self.stopped = True
            released, self._held = self._held[:end], ""
            return released
        keep = 0 if final else self._undecided()
        cut = len(self._held) - keep
        released, self._held = self._held[:cut], self._held[cut:]
        return released

    def _first_stop(self) -> int | None:
        """Where the stop string that is complete first begins; of two that end together, the longer."""
        found = [(start + len(text), start) for text in self._stop if (start := self._held.find(text)) >= 0]
        return min(found)[1] if found else None

    def _undecided(self) -> int:
        """Length of the longest end of the held text that is the beginning of a stop string."""
        longest = max((len(text) for text in self._stop), default=1) - 1
        for length in range(min(longest, len(self._held)), 0, -1):
            if any(text.startswith(self._held[-length:]) for text in self._stop):
                return length
        return 0
