"""On which device the measurements of P1 to P4 run: ``--device`` of the bench, the processor by default."""

from __future__ import annotations

import json
import os
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

NAME = "TRIPTYCH_BENCH_DEVICE"
SHAPE = {
    "hidden_size": 576, "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3, "intermediate_size": 1536,
    "vocab_size": 49_152, "max_position_embeddings": 8192, "rms_norm_eps": 1e-5, "tie_word_embeddings": True,
    "rope_parameters": {"rope_type": "default", "rope_theta": 100_000.0}, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip
"""SmolLM2-135M's."""


def device() -> str:
    """Return the device."""
    return os.environ.get(NAME, "") or "cpu"


def on_card() -> bool:
    """Return whether it is a CUDA device."""
    return device().startswith("cuda")


def wait() -> None:
    """Wait until a card is done with what it was given; a processor is."""
    if on_card():
        import torch

        torch.cuda.synchronize()


def peak_of(work: Any) -> float:
    """Return the MB of a card that work held at most, the model included."""
    import torch

    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    work()
    return torch.cuda.max_memory_allocated() / 2**20


def machine() -> str:
    """Return what the card is called."""
    import torch

    return f"{torch.cuda.get_device_name()}, torch {torch.__version__}"


@cache
def stand_in() -> str:
    """Return the folder of a model of SmolLM2-135M's shape with random weights, and a tokenizer of whole words."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = Path(tempfile.mkdtemp(prefix="shape-"))
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    vocabulary = {token: at for at, token in enumerate(["<pad>", "<bos>", "<eos>", *sorted(alphabet)])}
    merges = []
    for word in _words():  # every word of the texts is a token, with and without the space before it
        for start in ("Ġ", ""):
            said = f"{start}{word}"
            for end in range(2, len(said) + 1):
                if said[:end] not in vocabulary:
                    vocabulary[said[:end]] = len(vocabulary)
                    merges.append((said[: end - 1], said[end - 1]))
    tokenizer = Tokenizer(models.BPE(vocabulary, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>", clean_up_tokenization_spaces=False
    ).save_pretrained(folder)
    torch.manual_seed(0)
    LlamaForCausalLM(LlamaConfig(**SHAPE)).save_pretrained(folder)
    return str(folder)


def _words() -> list[str]:
    from tests.bench.p6_metrics import WORDS

    return list(WORDS)


def note(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write the rows of a card into a file of their own."""
    path.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n")
