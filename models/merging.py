"""An adapter and its base made into one folder of whole weights."""

from __future__ import annotations

from pathlib import Path

from models.errors import UserError
from models.events import Progress, Work
from models.words import _

DTYPES = ("fp16", "bf16", "fp32")


def merge(adapter: Path, target: Path, dtype: str = "fp16") -> Work[Path]:
    """Write ``target`` as a plain Hugging Face folder: the base with W + (alpha / rank) B A in place of W.

    Args:
        adapter: A PEFT adapter folder whose base is on this machine.
        target: Folder that is not there yet.
        dtype: Of the written weights: fp16, bf16 or fp32.

    Raises:
        UserError: If the adapter cannot be opened, its base is not here, or ``target`` is there already.
    """
    from models.adapters import base_folder, no_base, read_adapter
    from models.training.checkpoints import publish
    from models.training.methods import merged
    from models.training.stage import check_choice

    check_choice("dtype", dtype, DTYPES)
    if target.exists():
        raise UserError(
            "merge.exists", _("{path} is there already.").format(path=target), _("Name another --output."), path=str(target)
        )
    checked = read_adapter(adapter)
    base = base_folder(checked)
    if base is None:
        raise no_base(checked)
    yield Progress(0, 2, _("opening {name}").format(name=base.name))
    model = merged(base, adapter)
    yield Progress(1, 2, _("writing {name}").format(name=target.name))
    texts = adapter if (adapter / "tokenizer.json").is_file() else base
    publish(model, texts, target, dtype=dtype, manifest={"format": 1, "stage": "other", "merged": [base.name, adapter.name]})
    yield Progress(2, 2)
    return target
