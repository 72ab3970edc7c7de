"""How to evaluate: one frozen dataclass that becomes flags and a form. Names and meaning are lm-eval's."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from models.errors import UserError
from models.words import _

SEEDS = (0, 1234, 1234, 1234)
"""lm-eval's own: of Python's random, numpy, torch and the examples before an item."""


@dataclass(frozen=True)
class EvalSettings:
    """How to evaluate.

    Args:
        limit: At most this many items of each benchmark; below 1 the share of them; 0 for all.
        batch_size: ``auto`` or a number of requests.
        device: auto, cpu, cuda, cuda:N or mps.
        dtype: auto, float32, bfloat16 or float16.
        quantize: Empty, int8 or int4.
        num_fewshot: Examples before each item; None for what the task says.
        apply_chat_template: None for what the benchmark says; a text names one of the tokenizer's templates or a file.
        include_path: Folder with task YAML files.
        allow_code: Whether those may run the code that they name.
        seed: Of bootstrap and of Python's random.
        samples: JSON, or the path of a JSON file: task → numbers of the items to take.
        system_instruction: System message before every prompt.
        fewshot_as_multiturn: Whether examples are turns of a conversation; None: where a chat template is applied.
        gen_kwargs: Generation settings over the task's: ``temperature=0.7,top_p=0.9`` or JSON.
        numpy_seed: Of numpy's generator, which some tasks draw from; None leaves it alone.
        torch_seed: Of sampled answers.
        fewshot_seed: Of the examples before an item.
        metric: Further metrics of the library ``evaluate``, names or folders with commas between; needs ``allow_code``.
        model_args: How endpoints are asked: ``tokenizer=FOLDER,num_concurrent=8``; never a key.
    """

    limit: float = 0
    batch_size: str = "auto"
    device: str = "auto"
    dtype: str = "auto"
    quantize: str = ""
    num_fewshot: int | None = None
    apply_chat_template: bool | str | None = None
    include_path: str = ""
    allow_code: bool = False
    seed: int = 0
    samples: str = ""
    system_instruction: str = ""
    fewshot_as_multiturn: bool | None = None
    gen_kwargs: str = ""
    numpy_seed: int | None = SEEDS[1]
    torch_seed: int = SEEDS[2]
    fewshot_seed: int | None = SEEDS[3]
    metric: str = ""
    model_args: str = ""

    def __post_init__(self) -> None:
        if self.limit < 0 or (self.num_fewshot or 0) < 0:
            raise UserError("eval.settings", _("limit and num_fewshot must not be negative."))
        if self.batch_size != "auto" and not (self.batch_size.isdecimal() and int(self.batch_size) > 0):
            raise UserError(
                "eval.batch", _("--batch-size is {size!r}; it must be auto or a number.").format(size=self.batch_size)
            )
        if self.limit and self.samples:
            raise UserError("eval.settings", _("--samples and --limit cannot be given together."))
        if self.fewshot_as_multiturn and self.apply_chat_template is False:
            raise UserError("eval.settings", _("--fewshot-as-multiturn needs a chat template: add --apply-chat-template."))
        self.chosen()
        if self.metric:
            from evals import by_name

            by_name.check(self.metric, self.allow_code)

    @property
    def n_batch(self) -> int:
        """Requests per batch, 0 for automatic."""
        return 0 if self.batch_size == "auto" else int(self.batch_size)

    @property
    def n_items(self) -> int | float | None:
        """lm-eval's limit: a whole number, a share below 1, or None."""
        return None if not self.limit else self.limit if self.limit < 1 else int(self.limit)

    def chosen(self) -> dict[str, list[int]]:
        """Return the items that ``samples`` names, by task; empty for none.

        Raises:
            UserError: If it is neither such JSON nor a file of it.
        """
        if not self.samples:
            return {}
        try:
            text = self.samples if self.samples.lstrip().startswith("{") else Path(self.samples).read_text(encoding="utf-8")
            found = {str(task): [int(number) for number in numbers] for task, numbers in dict(json.loads(text)).items()}
        except (OSError, ValueError, TypeError) as error:
            raise UserError(
                "eval.samples",
                _("--samples {text!r} is no mapping of tasks to numbers of items.").format(text=self.samples[:80]),
                _("Write it as {example} or name a file that holds it.").format(example='{"arc_easy": [0, 3, 6]}'),
            ) from error
        if any(number < 0 for numbers in found.values() for number in numbers):
            raise UserError("eval.samples", _("--samples holds a number below 0."))
        return found


def seeds(text: str) -> tuple[int, int | None, int, int | None]:
    """Return the four seeds of ``--seed``: one number for all, or four with commas between (``None`` leaves one unset).

    Raises:
        UserError: If it is neither.
    """
    parts = [part.strip().lower() for part in text.split(",")]
    try:
        found = [None if part == "none" else int(part) for part in parts]
    except ValueError:
        found = []
    found = found * 4 if len(found) == 1 else found + list(SEEDS[3:]) if len(found) == 3 else found
    if len(found) != 4:
        raise UserError(
            "eval.seed",
            _("--seed is {text!r}; it must be one number, or four with commas between.").format(text=text[:60]),
            _("They are of Python, numpy, torch and the examples: 0,1234,1234,1234."),
        )
    python, numpy, torch, fewshot = found
    return (SEEDS[0] if python is None else python, numpy, SEEDS[2] if torch is None else torch, fewshot)
