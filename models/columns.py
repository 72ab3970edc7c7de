"""A column: what one panel of every view shows. Frozen and hashable."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Sampler:
    """How the next token is chosen. ``temperature`` 0 means greedy; ``top_k`` 0 and ``top_p`` 1 mean off.

    ``chain`` is the ordered list of stages as ``models.chain`` writes it (``top_k=40,min_p=0.05,temperature=0.7``).
    Where it is not empty it alone decides, and temperature, top_k and top_p are not looked at.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    max_new_tokens: int = 64
    seed: int = 0
    chain: str = ""


@dataclass(frozen=True)
class Column:
    """One checkpoint in one precision, under one prompt variant and sampler.

    Args:
        checkpoint: Path of a Hugging Face folder, PEFT adapter folder or GGUF file (or Hub name).
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.
        dtype: ``"auto"``, ``"float32"``, ``"bfloat16"``, ``"float16"``.
        quantize: ``""``, ``"int8"``, ``"int4"``.
        prompt: ``"plain"`` (the text as it is) or ``"template"`` (one user message rendered by the chat template).
        system: System message of the template; empty for none.
        adapter: How strongly a PEFT adapter counts: True or 1 as it was trained, False or 0 not at all (the base alone), 0.5
            half of what it adds.
        sampler: Decoding settings.
        label: What the column is called; the checkpoint's folder name when empty.
        exact: Token ids that a decoder is given as they are, as long as the text is the one that they write; of an
            encoder-decoder those of the source and, behind them, what its decoder is given. Empty for none.
    """

    checkpoint: str
    device: str = "auto"
    dtype: str = "auto"
    quantize: str = ""
    prompt: str = "plain"
    system: str = ""
    adapter: float = True
    sampler: Sampler = field(default_factory=Sampler)
    label: str = ""
    exact: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """What to call it."""
        return self.label or self.checkpoint.rstrip("/\\").replace("\\", "/").rsplit("/", 1)[-1]

    @property
    def weights_key(self) -> tuple[str, str, str, str]:
        """What must be equal for two columns to share one loaded model."""
        return (self.checkpoint, self.device, self.dtype, self.quantize)
