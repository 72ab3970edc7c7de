"""An item of a run taken apart: what was asked, token for token, and the number again by a second path."""

import json

import pytest

from evals import explaining, grid, plain, pseudo
from evals.options import EvalSettings
from evals.store import FILE, stored
from models.errors import UserError
from models.events import finish
from tests.evals import shipped

TASKS = ["l_arc_shots", "l_wikitext", "l_triviaqa", "l_repeats"]


@pytest.fixture(scope="module")
def run(tiny, tmp_path_factory):
    """An evaluation of a tiny model, under its chat template where the task has a prompt."""
    folder = shipped.write(tmp_path_factory.mktemp("tasks"))
    output = tmp_path_factory.mktemp("explained") / "run"
    settings = EvalSettings(include_path=str(folder), limit=3)
    cells = finish(grid.run([str(tiny("llama"))], TASKS, settings, output))
    chat = EvalSettings(include_path=str(folder), samples='{"l_arc": [2, 5]}', apply_chat_template=True)
    cells += finish(grid.run([str(tiny("llama"))], ["l_arc"], chat, output))
    cells += finish(grid.run([str(tiny(name)) for name in ("bert", "t5")], ["l_boolq"], settings, output))
    assert {cell.state for cell in cells} <= {"done", "invalid"}
    return output, cells


@pytest.mark.parametrize("task", TASKS)
def test_the_second_path_gives_what_was_stored(run, task):
    found = finish(explaining.explain(run[0], task, "1"))
    assert found.requests
    for one in found.requests:
        assert one.agrees is True, (one.stored, one.again)
        assert len(one.pieces) == len(one.context) + len(one.continuation)
    assert any(task in text for _name, text in found.facts)


def test_windows_bos_and_truncation_are_said(run):
    (rolling,) = finish(explaining.explain(run[0], "l_wikitext", "2")).requests
    assert len(rolling.continuation) > 256
    assert any("256 +" in note for note in rolling.notes)
    (request,) = finish(explaining.explain(run[0], "l_triviaqa", "0")).requests
    assert any("BOS" in note and note.endswith("1") for note in request.notes)


def test_the_other_checkpoints_of_the_folder_are_named(run):
    """Without a name the newest is explained; that there are others is said."""
    (said,) = [text for name, text in finish(explaining.explain(run[0], "l_boolq", "1")).facts if "also" in name]
    assert said.startswith("bert-0: name the folder")  # t5 came last
    for path, task in ((run[0] / "bert-0", "l_boolq"), (run[0], "l_triviaqa")):
        assert not [name for name, _text in finish(explaining.explain(path, task, "1")).facts if "also" in name]


def test_pieces_can_be_read(run):
    (request,) = finish(explaining.explain(run[0], "l_triviaqa", "0")).requests
    assert not any(set("ĠĊ▁ ") & set(piece) for piece in request.pieces)
    assert any(piece.startswith("·") for piece in request.pieces)


@pytest.mark.parametrize("text", [" = First = \n\n Some text . \n\n = Second = \n\n Other . \n", "The fox jumps.\n"])
def test_a_text_file_is_asked_as_it_was_whether_or_not_it_is_wikitext(tiny, tmp_path, text):
    path = tmp_path / "text.txt"
    path.write_text(text, encoding="utf-8")
    finish(grid.run([str(tiny("llama"))], [f"perplexity@{path}"], EvalSettings(), tmp_path / "run"))
    (one,) = finish(explaining.explain(tmp_path / "run", "perplexity@text.txt", "0")).requests
    assert one.agrees is True, (one.stored, one.again)


@pytest.mark.parametrize("n_context", [3, 400])
def test_what_an_encoder_does_not_see_is_counted(opened, n_context):
    model = opened("bert")
    room = pseudo.room(model)
    one = pseudo.request([7] * (n_context + 2), [1, *[7] * (n_context + 2), 2], n_context)
    ((ids, _skip),) = pseudo.pieces(one, room)
    assert plain.truncated(model, one) == len(one.context) + 3 - len(ids) == max(0, n_context + 4 - room)


def test_prompts_of_a_template_keep_their_tokens(run):
    found = finish(explaining.explain(run[0], "l_arc", "5"))
    assert len(found.requests) == 4
    assert all(one.agrees and "<user>" in one.pieces and one.pieces.count("<bos>") == 1 for one in found.requests)
    with pytest.raises(UserError, match="no item 0"):
        finish(explaining.explain(run[0], "l_arc", "0"))


@pytest.mark.parametrize("name", ["bert-0", "t5-0"])
def test_encoders_and_encoder_decoders_too(run, name):
    found = finish(explaining.explain(run[0] / name, "l_boolq", "0"))
    assert [one.agrees for one in found.requests] == [True, True]


def test_a_stored_number_that_is_wrong_is_told(run, tmp_path):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(run[0], copy)
    (path,) = [file for file in copy.rglob(FILE) if file.parent.name == "llama-0"]
    changed = {key: [value[0] - 1, value[1]] for key, value in stored(path).items() if isinstance(value, list)}
    path.write_text(json.dumps({"answers": changed}) + '\n{"torn', encoding="utf-8")
    assert [one.agrees for one in finish(explaining.explain(copy, "l_arc_shots", "1")).requests] == [False] * 4


def test_what_is_not_there_is_named(run, tmp_path):
    with pytest.raises(UserError, match="holds no results"):
        finish(explaining.explain(tmp_path, "l_arc", "0"))
    with pytest.raises(UserError, match="no item nobody"):
        finish(explaining.explain(run[0], "l_wikitext", "nobody"))


def test_items_that_were_left_out_are_counted(run):
    by_task = {cell.benchmark: cell for cell in run[1]}
    assert (by_task["l_wikitext"].n, by_task["l_wikitext"].n_skipped) == (3, 5)
    assert (by_task["l_arc"].n, by_task["l_arc"].n_skipped) == (2, 6)


def test_the_command_line_prints_it(run, capsys):
    from lab.cli import run as command

    assert command(["eval", "--explain", str(run[0]), "l_triviaqa", "2"]) == 0
    shown = capsys.readouterr().out
    assert "second path" in shown
    assert "the same" in shown
