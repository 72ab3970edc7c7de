"""The one exception for what a user can mend."""

from __future__ import annotations


class UserError(Exception):
    """Something outside the program is wrong and the user can mend it.

    Raised where outside things enter (files, settings, texts, devices), always ``from`` its cause. It is shown in two
    places only: the command line (one line, exit code 2) and the window's message bar.

    Args:
        id: Stable short name, for tests and translations, such as ``"gguf.magic"``.
        what: One sentence that names the file or setting and says what is wrong.
        hint: One sentence that says what to do; may be empty.
        **fields: The values named in the sentences, for machines.
    """

    def __init__(self, id: str, what: str, hint: str = "", **fields: object) -> None:
        super().__init__(what)
        self.id = id
        self.what = what
        self.hint = hint
        self.fields = fields

    def __str__(self) -> str:
        """Return both sentences as one line."""
        return f"{self.what} {self.hint}".strip()
