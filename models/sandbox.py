"""What runs inside a limited child on untrusted text: chat templates and tokenizers. Imports little, starts fast."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from models.errors import UserError
from models.words import _

RENDER_LIMIT = 4 * 1024 * 1024
_compiled: dict[str, Any] = {}


def prepare(task: str) -> None:
    """Import what the task needs."""
    if task == "render":
        import jinja2.ext
        import jinja2.sandbox  # noqa: F401
    if task == "tokenizer":
        import tokenizers  # noqa: F401


def _compile(template: str) -> Any:
    """Return the compiled template with the helpers that chat templates of transformers expect, and nothing else."""
    from jinja2.exceptions import TemplateError
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    if template not in _compiled:
        if len(_compiled) > 64:
            _compiled.clear()
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, _generation_tag()]
        )
        environment.filters["tojson"] = _tojson
        environment.globals["raise_exception"] = _raise
        environment.globals["strftime_now"] = _now
        try:
            _compiled[template] = environment.from_string(template)
        except TemplateError as cause:
            line = getattr(cause, "lineno", None)
            raise UserError(
                "template.syntax",
                _("The chat template has an error in line {line}: {reason}.").format(line=line or "?", reason=cause),
                _("Correct the chat template."),
                line=line or 0,
            ) from cause
    return _compiled[template]


def _generation_tag() -> Any:
    """Return an extension that reads ``{% generation %}…{% endgeneration %}`` as its plain content."""
    from jinja2 import nodes
    from jinja2.ext import Extension

    class Generation(Extension):
        tags = {"generation"}  # noqa: RUF012 - as jinja2 declares it

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.Scope(body).set_lineno(line)

    return Generation


def _tojson(value: Any, ensure_ascii: bool = False, indent: int | None = None, **options: Any) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, **options)


def _raise(message: str) -> None:
    reason = str(message)[:500].rstrip(".")
    raise UserError("template.raised", _("The chat template refuses these messages: {reason}.").format(reason=reason))


def _now(form: str) -> str:
    return datetime.now().strftime(form)


def render(params: dict[str, Any]) -> str:
    """Return the text that the template makes of the messages.

    Raises:
        UserError: If it has an error, breaks out of its rights, refuses the messages, or writes more than 4 MB.
    """
    from jinja2.exceptions import SecurityError, TemplateError

    compiled = _compile(params["template"])
    parts: list[str] = []
    size = 0
    try:
        for part in compiled.generate(messages=params["messages"], **params["values"]):
            size += len(part)
            if size > RENDER_LIMIT:
                raise UserError("template.output", _("The chat template writes more than {n} characters.").format(n=RENDER_LIMIT))
            parts.append(part)
    except UserError:
        raise
    except SecurityError as cause:
        raise UserError(
            "template.unsafe", _("The chat template does what is not allowed: {reason}.").format(reason=cause)
        ) from cause
    except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError, AttributeError, RecursionError) as cause:
        where = _line(cause)
        raise UserError(
            "template.failed",
            _("The chat template fails in line {line}: {reason}.").format(
                line=where or "?", reason=f"{type(cause).__name__}: {str(cause)[:300]}".rstrip(".")
            ),
            _("Correct the chat template."),
            line=where,
        ) from cause
    return "".join(parts)


def _line(error: BaseException) -> int:
    """Return the last line of the template that the traceback passes through; 0 if none."""
    number = 0
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<template>":
            number = trace.tb_lineno
        trace = trace.tb_next
    return number


def tokenizer(params: dict[str, Any]) -> dict[str, Any]:
    """Open a tokenizer.json, encode and decode sample texts, and return its number of entries.

    A panic of the library derives from BaseException and reaches the parent as a failure.
    """
    from tokenizers import Tokenizer

    opened = Tokenizer.from_file(params["path"])
    opened.no_padding()
    for text in params["samples"]:
        try:
            encoded = opened.encode(text)
        except Exception:  # noqa: BLE001 - a vocabulary without some character: said when such a text is encoded
            continue
        opened.decode(encoded.ids)
        opened.encode(text, text)
        opened.encode_batch([text])
    return {"entries": opened.get_vocab_size(with_added_tokens=True)}
