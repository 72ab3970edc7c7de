"""A model that is only an address: what a form has of it, and what that comes to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class EndpointFields:
    """What is typed of an endpoint.

    Args:
        url: Address, such as ``http://localhost:8000/v1``. ``models``: names that the server knows, by commas.
        chat: Whether it takes messages rather than texts.
        tokenizer: Folder of its tokenizer, or empty. ``key_name``: the environment variable with the key, never the key.
        at_once: Requests that are under way at once.
    """

    url: str = ""
    models: str = ""
    chat: bool = False
    tokenizer: str = ""
    key_name: str = ""
    at_once: int = 1


@dataclass(frozen=True)
class EndpointCheck:
    """What fields come to.

    Args:
        checkpoints: The endpoints as ``triptych eval`` takes them. ``arguments``: its ``--model-args``.
        problem: Why it cannot be started, in a sentence; empty if it can. ``note``: what is good to know.
        likelihoods: Of the chosen benchmarks those that ask for log-likelihoods.
    """

    checkpoints: tuple[str, ...] = ()
    arguments: str = ""
    problem: str = ""
    note: str = ""
    likelihoods: tuple[str, ...] = ()


RECORDS: tuple[type, ...] = (EndpointFields, EndpointCheck)
