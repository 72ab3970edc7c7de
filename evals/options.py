"""How to evaluate: one frozen dataclass that becomes flags and a form."""

from __future__ import annotations

from dataclasses import dataclass

from models.errors import UserError
from models.words import _


@dataclass(frozen=True)
class EvalSettings:
    """How to evaluate.

    Args:
        limit: At most this many items of each benchmark; 0 for all.
        batch_size: ``auto`` or a number of requests.
        device: auto, cpu, cuda, cuda:N or mps.
        dtype: auto, float32, bfloat16 or float16.
        quantize: Empty, int8 or int4.
        num_fewshot: Examples before each item; None for what the task says.
        apply_chat_template: None for what the benchmark says.
        include_path: Folder with task YAML files.
        allow_code: Whether those may run the code that they name.
        seed: Of sampling, few-shot examples and bootstrap.
    """

    limit: int = 0
    batch_size: str = "auto"
    device: str = "auto"
    dtype: str = "auto"
    quantize: str = ""
    num_fewshot: int | None = None
    apply_chat_template: bool | None = None
    include_path: str = ""
    allow_code: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.limit < 0 or (self.num_fewshot or 0) < 0:
            raise UserError("eval.settings", _("limit and num_fewshot must not be negative."))
        if self.batch_size != "auto" and not (self.batch_size.isdecimal() and int(self.batch_size) > 0):
            raise UserError(
                "eval.batch", _("--batch-size is {size!r}; it must be auto or a number.").format(size=self.batch_size)
            )

    @property
    def n_batch(self) -> int:
        """Requests per batch, 0 for automatic."""
        return 0 if self.batch_size == "auto" else int(self.batch_size)
