"""A checkpoint that is open: the model, its tokenizer, and what is known of both."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from models.columns import Column
from models.records.checkpoints import Description, Loaded


@dataclass
class OpenModel:
    """An open checkpoint. The objects of torch and transformers are typed ``Any``: this module imports neither.

    Args:
        model: The transformers model, in evaluation mode, on ``device``.
        tokenizer: Its tokenizer; None if the folder has none.
        config: The transformers configuration.
        path: What was asked for (folder, adapter folder, GGUF file, Hub name).
        kind: decoder, encoder, encoder-decoder or reward.
        device: Where it is, such as ``cpu`` or ``cuda:0``.
        dtype: ``float32``, ``bfloat16`` or ``float16``.
        quantize: ``""``, ``int8`` or ``int4``.
        loaded: What the engine reports of it.
        description: What its files say of it.
        folder: The Hugging Face folder that was read in the end (the converted one of a GGUF, the base of an adapter).
        chat_template: Text of the chat template; empty if it has none.
        eos_ids: Every token id that ends an answer.
        adapter: How strongly the adapter inside the model counts in forwards of this column; 0 is off.
    """

    model: Any
    tokenizer: Any
    config: Any
    path: str
    kind: str
    device: str
    dtype: str
    quantize: str
    loaded: Loaded
    description: Description
    folder: str = ""
    chat_template: str = ""
    eos_ids: tuple[int, ...] = field(default=())
    adapter: float = True

    @property
    def name(self) -> str:
        """What a sentence calls it: a column's usual name, never the whole path."""
        return Column(self.path).name
