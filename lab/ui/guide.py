"""The user guide, shown inside the program."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from PySide6.QtCore import QByteArray, Qt, QUrl, Slot
from PySide6.QtGui import QDesktopServices, QImage, QTextDocument
from PySide6.QtWidgets import QDialog, QHBoxLayout, QListWidget, QListWidgetItem, QTextBrowser, QWidget

from lab.ui.parts import Empty
from models.words import _, current_language

FIRST = ("index", "views", "opening", "evaluating", "hallucination", "training", "commands", "story", "decisions")
"""The order of the pages; others follow."""
MARGIN, LEAST = 22, 560
"""Pixels: around a page's text; of a picture before the page has its width."""


def pages(language: str) -> list[tuple[str, str]]:
    """Return (title, file name) of every page of the guide, in a language where there is a translation."""
    folder = files("assets").joinpath("guide")
    names = {item.name for item in folder.iterdir() if item.name.endswith(".md")}
    originals = [name for name in names if name.count(".") == 1]
    originals.sort(key=lambda name: (FIRST.index(name[:-3]) if name[:-3] in FIRST else len(FIRST), name))
    chosen = []
    for name in originals:
        translated = f"{name[:-3]}.{language.split('_')[0]}.md"
        chosen.append(translated if translated in names else name)
    return [(_title(name), name) for name in chosen]


def page_text(name: str) -> str:
    """Return the Markdown of a page."""
    return files("assets").joinpath("guide", name).read_text(encoding="utf-8")


def _title(name: str) -> str:
    for line in page_text(name).splitlines():
        if line.startswith("# "):
            return line[2:].strip()
    return name.split(".")[0].replace("-", " ").capitalize()


class PageText(QTextBrowser):
    """A page of the guide; its pictures are shrunk to its width."""

    def loadResource(self, kind: int, url: QUrl | str) -> Any:
        """Return a picture no wider than the page, anything else as it is."""
        found = super().loadResource(kind, url)
        if kind != int(QTextDocument.ResourceType.ImageResource.value) or not isinstance(found, QByteArray):
            return found
        bar = self.verticalScrollBar().sizeHint().width()  # it may come with this very page
        image, room = QImage.fromData(found), max(self.viewport().width() - 2 * MARGIN - bar, LEAST)
        return image.scaledToWidth(room, Qt.TransformationMode.SmoothTransformation) if image.width() > room else image


class GuideDialog(QDialog):
    """Pages at the left, the text at the right."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setWindowTitle(_("Guide"))
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.resize(960, 680)
        self.list = QListWidget(self)
        self.list.setFixedWidth(230)
        self.list.setWordWrap(True)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.ensurePolished()  # the rows take the style's heights
        self.text = PageText()
        self.text.setOpenLinks(False)
        self.text.document().setDocumentMargin(MARGIN)
        self.text.anchorClicked.connect(self._on_link)
        self.text.setSearchPaths([str(files("assets").joinpath("guide"))])
        row = QHBoxLayout(self)
        row.setContentsMargins(12, 12, 12, 12)
        row.setSpacing(10)
        found = pages(current_language())
        for title, name in found:
            item = QListWidgetItem(title)
            item.setData(int(Qt.ItemDataRole.UserRole), name)
            self.list.addItem(item)
        if not found:
            row.addWidget(Empty(_("The guide is not installed."), _("It belongs in the folder assets/guide.")))
            return
        row.addWidget(self.list)
        row.addWidget(self.text, 1)
        self.list.currentItemChanged.connect(self._on_page)
        self.list.setCurrentRow(0)

    @Slot()
    def _on_page(self) -> None:
        item = self.list.currentItem()
        if item is not None:
            self.text.setMarkdown(page_text(str(item.data(int(Qt.ItemDataRole.UserRole)))))

    @Slot(QUrl)
    def _on_link(self, url: QUrl) -> None:
        """Follow a link to another page here, any other outside."""
        name = url.fileName()
        for number in range(self.list.count()):
            if str(self.list.item(number).data(int(Qt.ItemDataRole.UserRole))).split(".")[0] == name.split(".")[0]:
                self.list.setCurrentRow(number)
                return
        if url.scheme() in ("http", "https"):
            QDesktopServices.openUrl(url)
