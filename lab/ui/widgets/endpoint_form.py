"""A model that is only an OpenAI-compatible address: its fields, and what the engine says of them. No key is ever typed here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QStandardItemModel
from PySide6.QtWidgets import QCheckBox, QComboBox, QFileDialog, QFrame, QLineEdit, QPushButton, QSpinBox, QVBoxLayout, QWidget

from lab.ui.widgets.flow import ToolRow
from lab.ui.widgets.panel import Elided
from models.records.endpoints import EndpointCheck, EndpointFields
from models.words import _

COMPLETIONS, CHAT = 0, 1
REMEMBERED = ("url", "models", "chat", "tokenizer", "at_once")
"""What is kept between starts; the name of the variable with the key is kept only once it is known to be one."""


class EndpointForm(QFrame):
    """Address, models, tokenizer, and the name of the variable that holds the key."""

    changed = Signal()
    """What is typed is not what was checked."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.check = EndpointCheck()
        self.tasks: tuple[str, ...] = ()
        """The chosen benchmarks, which decide what an endpoint must be able to give."""
        self.checked: tuple[EndpointFields, tuple[str, ...]] | None = None
        self.url, self.models, self.tokenizer, self.key_name = (QLineEdit(self) for _field in range(4))
        self.kind, self.at_once, self.columns = QComboBox(self), QSpinBox(self), QCheckBox(_("The open columns too"), self)
        self.browse = QPushButton(_("Choose…"), self)
        self.said = Elided(parent=self)
        self._set_up()
        self._lay_out()
        for line in (self.url, self.models, self.tokenizer, self.key_name):
            line.textChanged.connect(self.changed)
        self.kind.currentIndexChanged.connect(self.changed)
        self.at_once.valueChanged.connect(self.changed)
        self.columns.toggled.connect(self.changed)
        self.browse.clicked.connect(self._on_browse)

    def _set_up(self) -> None:
        self.url.setPlaceholderText("http://localhost:8000/v1")
        self.models.setPlaceholderText(_("name that the server knows"))
        self.tokenizer.setPlaceholderText(_("folder, for log-likelihoods"))
        self.key_name.setPlaceholderText("OPENAI_API_KEY")
        self.key_name.setMaxLength(64)
        for line, width in ((self.url, 210), (self.models, 170), (self.tokenizer, 180), (self.key_name, 150)):
            line.setMinimumWidth(width)
        self.kind.addItems([_("Completions (text)"), _("Chat (messages)")])
        self.at_once.setRange(1, 256)
        self.columns.setChecked(True)
        self.columns.setToolTip(_("Off: only the endpoint is evaluated"))
        self.browse.setToolTip(_("Choose the folder of the tokenizer"))

    def _lay_out(self) -> None:
        row = ToolRow(self)
        row.labelled(_("Address"), self.url, _("Base of an OpenAI-compatible server: vLLM, llama.cpp, Ollama, LM Studio, OpenAI"))
        row.labelled(_("Model"), self.models, _("As the server names it; several with commas between"))
        row.labelled(
            _("Asked as"), self.kind,
            _("Completions take texts, and can say log-likelihoods; chat takes messages, and only writes"),
        )  # fmt: skip
        folder = row.labelled(
            _("Tokenizer"), self.tokenizer,
            _("Folder of the model's tokenizer: where log-likelihoods are asked, it says where the context ends"),
        )  # fmt: skip
        if (inside := folder.layout()) is not None:
            inside.addWidget(self.browse)
        row.labelled(
            _("Key from"), self.key_name,
            _("NAME of the environment variable with the key, as it is set where the engine runs; empty: OPENAI_API_KEY. "
              "The key itself is never typed, stored or shown"),
        )  # fmt: skip
        row.labelled(_("At once"), self.at_once, _("Requests that are under way at the same time"))
        row.add(self.columns)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(row)
        layout.addWidget(self.said)

    # what is typed ---------------------------------------------------------------------------------------------------
    def fields(self) -> EndpointFields:
        """Return what is typed."""
        return EndpointFields(
            self.url.text().strip(), self.models.text().strip(), self.kind.currentIndex() == CHAT, self.tokenizer.text().strip(),
            self.key_name.text().strip(), self.at_once.value(),
        )  # fmt: skip

    @property
    def ready(self) -> bool:
        """Whether what is typed was checked, and can be started."""
        return self.is_checked and bool(self.check.checkpoints) and not self.check.problem

    @property
    def is_checked(self) -> bool:
        """Whether the engine has said what it thinks of exactly this."""
        return self.checked == (self.fields(), self.tasks)

    def take(self, fields: EndpointFields, tasks: tuple[str, ...], check: EndpointCheck) -> None:
        """Keep what the engine says of what stands here; of anything else it is late."""
        if (fields, tasks) == (self.fields(), self.tasks):
            self.checked, self.check = (fields, tasks), check

    def show_said(self) -> None:
        """Show the sentence, and grey out chat where likelihoods are asked."""
        said = f"⚠ {self.check.problem}" if self.check.problem else self.check.note
        said = said if self.is_checked else _("Looking at it…")
        self.said.set_whole(said)
        model = self.kind.model()
        item = model.item(CHAT) if isinstance(model, QStandardItemModel) else None
        if item is not None:
            asks = bool(self.check.likelihoods)
            item.setEnabled(not asks)
            names = ", ".join(self.check.likelihoods)
            why = _("Not for {names}: they ask for log-likelihoods, which a chat endpoint does not give").format(names=names)
            item.setData(why if asks else "", Qt.ItemDataRole.ToolTipRole)

    def state(self) -> dict[str, Any]:
        """Return what to remember: no text that may be a key."""
        every = asdict(self.fields())
        kept = {name: every[name] for name in REMEMBERED}
        return kept | {"columns": self.columns.isChecked(), "key_name": every["key_name"] if self.ready else ""}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take it back."""
        lines = {"url": self.url, "models": self.models, "tokenizer": self.tokenizer, "key_name": self.key_name}
        for name, line in lines.items():
            text = state.get(name)
            if isinstance(text, str):
                line.setText(text)
        self.kind.setCurrentIndex(CHAT if state.get("chat") is True else COMPLETIONS)
        count = state.get("at_once")
        if isinstance(count, int):
            self.at_once.setValue(count)
        self.columns.setChecked(state.get("columns") is not False)

    def _on_browse(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, _("Folder of the tokenizer"), self.tokenizer.text())
        if folder:
            self.tokenizer.setText(folder)
