"""The array and text functions above the widgets, without Qt widgets."""

import csv
import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from PySide6.QtGui import QColor

from evals.hallucination.tables import Who, failed
from evals.stats import items_needed
from lab.ui.views._hallucination_tools import run_name
from lab.ui.widgets.bars import bar_length
from lab.ui.widgets.chat_log import step_texts, step_tip
from lab.ui.widgets.colors import colorize, ink, levels, luminance, ramp, scheme_for
from lab.ui.widgets.figure import csv_field, write_csv
from lab.ui.widgets.head_grid import head_name, mosaic
from lab.ui.widgets.heatmap import fitting_labels, log_scaled, pool_peaks
from lab.ui.widgets.item_table import short_id
from lab.ui.widgets.run_form import eval_command, task_names
from lab.ui.widgets.score_matrix import (
    Lines,
    Shown,
    arrange,
    best_of,
    cell_lines,
    lines,
    live_text,
    score_rows,
    score_text,
    seconds_text,
    trends,
    verdict_text,
    with_baseline,
    with_live,
)
from lab.ui.widgets.strip_layout import Glyph, glyphs, segments, wrap
from lab.ui.widgets.tensor_detail import Histogram
from lab.ui.widgets.text import LONG_PIECE, MAX_MARKS, breakable, percent, plain, shorten, tooltip, visible
from models.records.hallucination import HallucinationRun
from models.records.scores import Cell, Comparison, verdict
from models.records.tokens import Token
from tests.ui import samples as made

LIGHT, DARK = ((255, 255, 255), (20, 20, 20)), ((29, 32, 38), (230, 230, 230))


# text ----------------------------------------------------------------------------------------------------------------
def test_visible_shows_what_cannot_be_seen():
    assert visible(" a\nb\t") == "·a⏎b⇥"
    assert visible("a\u202eb") == "a⟨202E⟩b"
    assert visible("\x1b[31m") == "␛[31m"
    assert visible("\u0301x") == "◌\u0301x"
    assert visible("a\u200db") == "a⟨200D⟩b"
    assert visible("👩\u200d") == "👩⟨200D⟩"


def test_one_picture_of_several_stays_one():
    family, astronaut = "👩\u200d👩\u200d👧\u200d👦", "👩🏽\u200d🚀"
    assert visible(f"{family} x") == f"{family}·x"
    assert visible(astronaut) == astronaut
    assert visible("❤\ufe0f\u200d🔥") == "❤\ufe0f\u200d🔥"
    assert visible(f"{family}abc", 5).endswith("a…")


def test_visible_is_short_whatever_comes():
    piled = "e" + "\u0301" * 100_000
    assert len(visible(piled)) <= MAX_MARKS + 2
    assert visible("x" * 100, 10) == "x" * 10 + "…"
    assert visible("x" * 10, 10) == "x" * 10


def test_plain_keeps_lines_and_disarms_the_rest():
    assert plain("a\nb\tc") == "a\nb\tc"
    assert plain("a\u202eb\x07") == "a⟨202E⟩b␇"
    assert plain("e" + "\u0301" * 100_000) == "e" + "\u0301" * MAX_MARKS
    assert plain("<b>中文</b>") == "<b>中文</b>"


def test_tooltip_escapes_markup():
    assert "<img" not in tooltip("<img src=x>")
    assert "&lt;img src=x&gt;<br>b" in tooltip("<img src=x>", "b")


@pytest.mark.parametrize(("p", "text"), [(0.12345, "12.35 %"), (0.00001, "<0.01 %"), (0.0, "0.00 %"), (math.nan, "–")])
def test_percent(p, text):
    assert percent(p) == text


def test_shorten():
    assert shorten("abcdef", 4) == "abc…"
    assert shorten("abcd", 4) == "abcd"


# colours -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("look", [LIGHT, DARK])
def test_sequential_starts_at_the_background_and_lightness_goes_one_way(look):
    colors = scheme_for(*look)
    assert tuple(colors.sequential[0]) == look[0]
    light = np.array([luminance(row) for row in colors.sequential])
    steps = np.diff(light) * (1 if colors.dark else -1)
    assert steps.min() > -0.004  # rounding to bytes
    assert abs(light[-1] - light[0]) > 0.6


@pytest.mark.parametrize("look", [LIGHT, DARK])
def test_diverging_is_the_background_in_the_middle(look):
    colors = scheme_for(*look)
    assert np.abs(colors.diverging[128].astype(int) - look[0]).max() <= 4
    blue, red = colors.diverging[10].astype(int), colors.diverging[245].astype(int)
    assert blue[2] > blue[0]
    assert red[0] > red[2]


@pytest.mark.parametrize("look", [LIGHT, DARK])
def test_ink_can_be_read_on_every_colour(look):
    for table in (scheme_for(*look).sequential, scheme_for(*look).diverging):
        for row in table:
            assert abs(luminance(ink(row)) - luminance(row)) > 0.4


def test_levels_clip_and_survive_nan_and_flat_scales():
    assert levels(np.array([-1.0, 0.0, 0.5, 1.0, 9.0, np.nan]), 0, 1).tolist() == [0, 0, 127, 255, 255, 0]
    assert levels(np.array([3.0]), 3, 3).tolist() == [0]


def test_colorize_makes_nan_transparent_and_keeps_colours():
    table = ramp(((0.0, None), (1.0, (10, 20, 30))), (255, 255, 255))
    pixels = colorize(np.array([[0.0, 1.0, np.nan]]), 0, 1, table)
    assert pixels.shape == (1, 3, 4)
    assert pixels[0, 1].tolist() == [30, 20, 10, 255]  # blue, green, red, alpha
    assert pixels[0, 2].tolist() == [0, 0, 0, 0]
    assert pixels[0, 0].tolist() == [255, 255, 255, 255]


def test_colorize_takes_a_transposed_matrix():
    table = scheme_for(*LIGHT).sequential
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert np.array_equal(colorize(values.T, 0, 5, table), colorize(np.ascontiguousarray(values.T), 0, 5, table))


def test_theme_columns_are_four_distinct_colours():
    for look in (LIGHT, DARK):
        assert len({QColor(*color).name() for color in scheme_for(*look).columns}) == 4


# matrices ------------------------------------------------------------------------------------------------------------
def test_pool_peaks_keeps_the_peak_of_every_block_and_its_sign():
    values = np.zeros((4, 6), dtype=np.float32)
    values[1, 1], values[3, 5] = 0.9, -0.7
    small = pool_peaks(values, 2, 3)
    assert small.shape == (2, 3)
    assert small[0, 0] == np.float32(0.9)
    assert small[1, 2] == np.float32(-0.7)
    assert pool_peaks(values, 100, 100) is values


def test_pool_peaks_of_uneven_blocks_loses_nothing():
    random = np.random.default_rng(0)
    values = random.random((97, 61)).astype(np.float32)
    for rows, columns in ((10, 7), (96, 60), (1, 1)):
        assert pool_peaks(values, rows, columns).max() == values.max()


def test_log_scale_is_zero_to_one():
    assert log_scaled(np.array([1.0, 0.01, 1e-4, 0.0]), 4).tolist() == pytest.approx([1, 0.5, 0, 0])


def test_mosaic_puts_each_head_where_it_belongs():
    tiles = np.arange(2 * 3, dtype=np.float32).reshape(2, 3, 1, 1) * np.ones((1, 1, 2, 2), dtype=np.float32)
    joined = mosaic(tiles, transposed=False)
    assert joined.shape == (2 * 3 - 1, 3 * 3 - 1)
    assert joined[0, 3] == 1
    assert joined[3, 0] == 3
    assert np.isnan(joined[2]).all()
    turned = mosaic(tiles, transposed=True)
    assert turned.shape == (3 * 3 - 1, 2 * 3 - 1)
    assert turned[0, 3] == 3
    assert head_name(5, 3) == "L5H3"


def test_labels_never_touch():
    assert fitting_labels(100, 4.0, 12) == 3
    assert fitting_labels(100, 20.0, 12) == 1


# strips --------------------------------------------------------------------------------------------------------------
def test_byte_tokens_of_one_character_become_one_glyph():
    found = glyphs(made.tokens("a 🙂."))
    assert [g.text for g in found] == ["<s>", "a", "·", "🙂", "."]
    smile = found[3]
    assert smile.last - smile.first == 4
    assert found[0].special


def test_a_broken_byte_group_is_still_one_glyph():
    tokens = [Token(1, "", "<0xF0>", b"\xf0", 0, 1, group=7), Token(2, "", "<0x9F>", b"\x9f", 0, 1, group=7)]
    (glyph,) = glyphs(tokens)
    assert (glyph.first, glyph.last) == (0, 2)
    assert glyph.text


def test_segments_cut_where_all_columns_have_a_boundary():
    a = [Glyph("ab", 0, 1, 2), Glyph("c", 1, 2, 3), Glyph("de", 2, 3, 5)]
    b = [Glyph("a", 0, 1, 1), Glyph("bc", 1, 2, 3), Glyph("d", 2, 3, 4), Glyph("e", 3, 4, 5)]
    assert segments([a, b]) == [[(0, 2), (0, 2)], [(2, 3), (2, 4)]]


def test_segments_without_offsets_fall_back_to_single_glyphs():
    a = [Glyph("x", 0, 1, -1), Glyph("y", 1, 2, -1)]
    b = [Glyph("xy", 0, 1, -1)]
    assert segments([a, b]) == [[(0, 1), (0, 1)], [(1, 2), (1, 1)]]


def test_wrap_starts_each_segment_on_the_same_row_in_all_columns():
    text = "one two three four five six seven eight"
    a = glyphs(made.tokens(text))
    b = glyphs([Token(i, c, c, c.encode(), i, i + 1) for i, c in enumerate(text)])
    widths = [[20 * len(g.text) for g in a], [30 for _g in b]]
    places, rows = wrap([a, b], widths, 400)
    assert rows > 2
    assert all(place.x + place.width <= 400 for column in places for place in column)
    for segment in segments([a, b]):
        starts = {places[c][first].row for c, (first, last) in enumerate(segment) if last > first}
        assert len(starts) == 1
    for column in places:  # nothing overlaps, nothing is out of order
        for before, after in pairwise(column):
            assert (after.row, after.x) >= (before.row, before.x + before.width) or after.row > before.row


def test_wrap_breaks_at_newlines_and_survives_a_token_wider_than_the_row():
    cells = glyphs([Token(0, "a\n", "a", b"a", 0, 2), Token(1, "b" * 99, "b", b"b", 2, 101), Token(2, "c", "c", b"c", 101, 102)])
    places, rows = wrap([cells], [[10, 9000, 10]], 300)
    assert [place.row for place in places[0]] == [0, 1, 2]
    assert places[0][1].width == 300
    assert rows == 3


def test_wrap_of_ten_thousand_tokens_has_every_token():
    cells = glyphs([Token(i, "word ", "w", b"w", 5 * i, 5 * i + 5) for i in range(10_000)])
    places, rows = wrap([cells], [[40] * len(cells)], 500)
    assert len(places[0]) == 10_000
    assert rows == math.ceil(10_000 / 11)


# bars ----------------------------------------------------------------------------------------------------------------
def test_bar_lengths():
    assert bar_length(0.5, 1.0, log=False) == 0.5
    assert bar_length(2.0, 1.0, log=False) == 1.0
    assert bar_length(1e-5, 1.0, log=True) == pytest.approx(0, abs=1e-6)
    assert bar_length(1.0, 1.0, log=True) == 1.0
    assert bar_length(0.0, 1.0, log=True) == bar_length(math.nan, 1.0, log=False) == 0.0


# chat ----------------------------------------------------------------------------------------------------------------
def test_step_texts_join_to_the_answer():
    steps = made.steps(" Ombra 首都 🙂.")
    assert "".join(step_texts(steps)) == steps[-1].text_so_far
    assert "".join(step_texts(steps[3:], steps[2].text_so_far)) == steps[-1].text_so_far[len(steps[2].text_so_far) :]


def test_step_tip_lists_alternatives_as_text():
    tip = step_tip(made.steps()[0])
    assert "&lt;b&gt;bold&lt;/b&gt;" in tip
    assert "<b>" not in tip.replace("<br>", "")


# scores --------------------------------------------------------------------------------------------------------------
def test_arrange_puts_open_columns_first_and_marks_the_best():
    matrix = arrange(made.cells(), first=("ppo", "nobody"))
    assert matrix.checkpoints == ("ppo", "pretrain", "sft")
    assert matrix.best["world_perplexity", "word_perplexity"] == {"ppo"}  # lower is better
    assert matrix.best["world_unknown", "hallucination_rate"] == {"pretrain"}
    assert matrix.best["world_translation", "bleu"] == {"ppo"}  # the invalid one does not count


def test_no_best_among_equals_or_alone():
    cells = [cell for cell in made.cells() if cell.benchmark == "world_questions"]
    assert best_of(cells[:1]) == frozenset()
    assert best_of([cells[0], replace(cells[0], checkpoint="sft")]) == frozenset()


def test_invalid_and_running_are_said():
    matrix = arrange(made.cells())
    assert cell_lines(matrix, ("world_translation", "bleu"), "pretrain").value == "invalid"
    assert "240" in cell_lines(matrix, ("world_translation", "bleu"), "sft").interval
    assert "⚠ 2" in cell_lines(matrix, ("world_questions", "exact_match"), "sft").interval
    assert cell_lines(matrix, ("world_questions", "exact_match"), "nobody") == Lines()


def test_what_a_limit_left_out_is_no_warning():
    (cell,) = [
        one for one in made.cells() if (one.benchmark, one.metric, one.checkpoint) == ("world_questions", "exact_match", "sft")
    ]
    part = arrange([replace(cell, n=60, n_failed=0, n_skipped=420)])
    interval = cell_lines(part, ("world_questions", "exact_match"), "sft").interval
    assert interval.endswith("n 60 / 480")
    assert "⚠" not in interval


def test_what_runs_or_failed_stands_in_the_rows_of_its_benchmark():
    nan = math.nan
    blank = Cell("dpo", "dpo", "world_questions", "", nan, nan, nan, 30, True, state="running", n_total=60)
    failed = replace(blank, checkpoint="rm", state="failed", signature="no such file", n=0)
    alone = replace(blank, benchmark="arc_easy")
    matrix = with_live(arrange([*made.cells(), blank, failed, alone]), [made.run_progress()])
    row = ("world_questions", "exact_match")
    assert cell_lines(matrix, row, "dpo") == Lines("…", "30 / 60", "running")
    assert cell_lines(matrix, row, "rm").value == "failed"
    assert cell_lines(matrix, row, "rm").state == "no such file"
    assert cell_lines(matrix, ("arc_easy", ""), "dpo").value == "…"
    assert cell_lines(matrix, row, "sft").state == "50 % · 6 s left"
    assert cell_lines(matrix, row, "ppo").state == "waiting · about 12 s"
    assert cell_lines(matrix, row, "pretrain").state == ""  # it is done


def test_with_baseline_shows_the_paired_difference_and_a_verdict():
    matrix = with_baseline(arrange(made.cells()), made.comparisons(), "pretrain")
    row = ("world_questions", "exact_match")
    assert cell_lines(matrix, row, "sft").difference == "Δ +0.200 · p 0.004"
    assert cell_lines(matrix, row, "sft").verdict == "better"
    assert cell_lines(matrix, row, "pretrain").difference == "baseline"
    header, rows = score_rows(matrix, [row])
    found = dict(zip(header, rows[1], strict=True))
    assert (found["baseline"], found["difference"], found["gained"], found["verdict"]) == ("pretrain", 0.2, 41, "better")


def compared(low, high, p, n=100):
    return Comparison("b", "m", "a", "b", (low + high) / 2, low, high, p, n)


def test_a_verdict_needs_the_interval_and_the_p():
    assert verdict_text(compared(0.1, 0.3, 0.01), True) == "better"
    assert verdict_text(compared(0.1, 0.3, 0.01), False) == "worse"
    assert verdict_text(compared(0.1, 0.3, 0.2), True).startswith("too few: ")
    assert verdict_text(compared(-0.1, 0.1, 1.0), True) == "no difference seen"


def test_items_needed_follow_from_the_interval():
    found = verdict(compared(-0.05, 0.15, 0.3), True)  # d 0.05, standard error 0.1 / 1.96
    assert found.kind == "unclear"
    assert found.n_needed == math.ceil(100 * (2.801585 * (0.1 / 1.959964) / 0.05) ** 2)
    assert items_needed(0.05, 100 * (0.1 / 1.959964) ** 2) == pytest.approx(found.n_needed, abs=1)
    assert verdict(compared(-math.inf, math.inf, 0.3), True).n_needed == 0
    judged = replace(compared(-0.05, 0.15, 0.3), verdict="unclear", n_needed=777)
    assert verdict(judged, True).n_needed == 777


def test_rows_are_filtered_sorted_and_grouped():
    matrix = with_baseline(arrange(made.cells()), made.comparisons(), "pretrain")
    assert [line for line in lines(matrix, Shown()) if isinstance(line, str)] == ["world"]
    assert lines(matrix, Shown(closed=frozenset({"world"}))) == ["world"]
    flat = lines(matrix, Shown(grouped=False, order="name"))
    assert [row[0] for row in flat] == sorted(row[0] for row in matrix.rows)
    best = lines(matrix, Shown(grouped=False, order="value", checkpoint="pretrain"))
    assert best[-1] == ("world_translation", "bleu")  # invalid comes last, either way
    up = lines(matrix, Shown(grouped=False, order="value", checkpoint="pretrain", ascending=True))
    assert up[-1] == ("world_translation", "bleu")
    assert up[:-1] == best[:-1][::-1]
    assert lines(matrix, Shown("QUESTION exact", grouped=False)) == [("world_questions", "exact_match")]
    worse = lines(matrix, Shown("worse", grouped=False))
    assert {row[0] for row in worse} == {"world_perplexity", "world_unknown"}
    assert lines(matrix, Shown("nonsense")) == []


def test_trends_follow_the_stages_of_one_lineage():
    row = [cell for cell in made.cells(("ppo", "pretrain", "sft")) if cell.benchmark == "world_questions"]
    staged = [replace(cell, stage={"ppo": "rlhf"}.get(cell.checkpoint, cell.checkpoint)) for cell in row]
    (line,) = trends([*staged, replace(staged[0], checkpoint="alone", path="/elsewhere/alone")])
    assert [name for _x, _value, name in line] == ["pretrain", "sft", "ppo"]
    assert [x for x, _value, _name in line] == [0.0, 0.5, 1.0]


def test_durations_in_words():
    assert [seconds_text(s) for s in (0.2, 42, 125, 7500, math.nan)] == ["1 s", "42 s", "2 min", "2 h 05 min", ""]
    assert live_text(made.run_progress().cells[2]) == "waiting · about 12 s"


def test_score_text():
    assert [score_text(v) for v in (0.12345, 34.567, 12345.6, math.nan, math.inf)] == [
        "0.123", "34.57", "12,346", "invalid", "invalid",
    ]  # fmt: skip


def test_short_id():
    assert [short_id(text) for text in ("world_unknown-test-754", "7", "arc-a", "")] == ["754", "7", "arc-a", ""]


def test_eval_command():
    assert eval_command(("/m/a b",), ("x", "y"), 20) == ("eval", "/m/a b", "--tasks", "x,y", "--limit", "20")
    assert eval_command(("/m",), ("x",), 0) == ("eval", "/m", "--tasks", "x")
    assert task_names(" arc_easy, piqa  boolq ") == ["arc_easy", "piqa", "boolq"]


# csv -----------------------------------------------------------------------------------------------------------------
def test_csv_disarms_formulas_and_keeps_numbers(tmp_path):
    path = tmp_path / "data.csv"
    write_csv(str(path), ["a", "b"], [["=1+1", -2.5], ["中文\nx", None]])
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [["a", "b"], ["'=1+1", "-2.5"], ["中文\nx", ""]]
    assert csv_field("@x") == "'@x"
    assert csv_field(-1) == -1


def test_csv_takes_a_lone_surrogate(tmp_path):
    path = tmp_path / "data.csv"
    write_csv(str(path), ["a"], [["\ud800"]])
    assert "\\ud800" in path.read_text(encoding="utf-8-sig")


def test_long_words_break_in_the_inspector_and_in_messages():
    assert breakable("sft") == "sft"
    assert breakable("Smollm2 135M 8k Lc100K") == "Smollm2 135M 8k Lc100K"
    whole = breakable("decoder.layer.0.SelfAttention.k")
    assert whole.replace("\u200b", "") == "decoder.layer.0.SelfAttention.k"
    assert max(map(len, whole.split("\u200b"))) <= len("SelfAttention.")
    said = f"eval {','.join(['world_questions'] * 9)} of {'x' * 90}\nis done."
    assert breakable(said).replace("\u200b", "") == said
    assert max(len(piece) for word in breakable(said).split() for piece in word.split("\u200b")) == LONG_PIECE


def test_the_ends_of_a_narrow_histogram_do_not_meet(qtbot):
    chart = Histogram()
    qtbot.addWidget(chart)
    chart.set_counts(np.ones(4, np.int64), np.array([-0.0332, -0.01, 0, 0.01, 0.0367], np.float32))
    wide = chart.fontMetrics().horizontalAdvance("-0.0332  0.0367")
    assert chart.ends(wide) == ("-0.0332", "0.0367")
    assert chart.ends(wide - 1) == ("-0.033", "0.037")
    assert chart.ends(1) == ("-0.03", "0.04")


def test_runs_of_the_same_checkpoints_are_told_apart():
    run = HallucinationRun("/runs/evening", "Hallucination: sft, ppo", {}, ())
    assert run_name(run) == "Hallucination: sft, ppo · evening"
    asked = [failed(Who(name, "sft", "", remedy), "") for remedy in ("plain", "cite") for name in ("a", "b")]
    whole = replace(run, columns=tuple(asked))
    assert run_name(whole) == "a, b · evening"
