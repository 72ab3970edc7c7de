"""The command line of a job: where it writes, and how it goes on where it stopped."""

from __future__ import annotations

from pathlib import Path

from models.records.scores import Job

OUTPUT = ("--output-path", "--output_path", "--output", "-o")
RESUMED = ("train", "eval", "hallucination", "cutoff")
"""Those that go on where they were when they are started again."""


def output_option(argv: tuple[str, ...]) -> str:
    """Return the option by which a command takes its output folder."""
    return "--output-path" if argv and argv[0] == "eval" else "--output"


def with_output(argv: tuple[str, ...], path: Path) -> tuple[str, ...]:
    """Return the command with its output folder, its own if it names one."""
    return argv if output_of(argv) is not None else (*argv, output_option(argv), str(path))


def output_of(argv: tuple[str, ...]) -> Path | None:
    """Return the output folder that a command names, if it does."""
    for place, word in enumerate(argv):
        name, equals, value = word.partition("=")
        if name in OUTPUT and (equals or place + 1 < len(argv)):
            return Path(value if equals else argv[place + 1])
    return None


def resumed(job: Job) -> tuple[str, ...]:
    """Return the command that goes on with a job that did not end well, into the same folder; empty where there is none."""
    words = tuple(word for word in job.command[1:] if word != "--resume")
    if job.state not in ("stopped", "crashed", "failed") or not words or words[0] not in RESUMED:
        return ()
    output = output_of(words)
    if output is not None and output != Path(job.path):  # relative to where somebody was
        return ()
    again = ("--resume",) if words[0] == "train" else ()
    return (*with_output(words, Path(job.path)), *again)
