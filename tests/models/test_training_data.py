"""Tokenizer, documents, packing, masks."""

import json

import numpy as np
import pytest

from models.errors import UserError
from models.training.data import Document, make_batch, pack, pack_batch, plan_rows, read_rows, text_of
from models.training.packed import row_documents
from tests.models.training import TALK, TEXTS, run_stage, write_corpus, write_rows

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    from models.training import tokenizer

    folder = write_corpus(tmp_path_factory.mktemp("corpus"))
    settings = tokenizer.TokenizerSettings(data=("texts.jsonl", "talk.jsonl"), vocab_size=300)
    assert run_stage(tokenizer.STAGE, settings, folder)["vocab_size"] == 300
    return folder


@pytest.fixture(scope="module")
def texts(root):
    from models.training.data import Texts

    return Texts(root / "tokenizer" / "checkpoint")


def document(*ids, trained=None):
    return Document(np.asarray(ids), np.asarray(trained if trained is not None else [True] * len(ids)))


# --- tokenizer ------------------------------------------------------------------------------------------------------


def test_digits_and_chinese_characters_stand_alone(texts):
    pieces = [texts.tokenizer.decode([token]) for token in texts.encode(["Name37 它在12号河"])[0]]
    assert [piece.strip() for piece in pieces if piece.strip().isdigit()] == ["3", "7", "1", "2"]
    assert all(sum("\u4e00" <= char <= "\u9fff" for char in piece) <= 1 for piece in pieces)


def test_a_first_word_is_the_token_it_is_within_a_text(texts):
    first, within = texts.encode(["lies", "Name lies"])
    assert first == within[-len(first) :]
    assert texts.decode(first) == "lies"


@pytest.mark.parametrize("text", ["Name1 lies in Tarn.", "它在12号河边。", " two", "", "é ü 🙂", "1", "a"])
def test_texts_survive_a_round_trip_but_for_outer_spaces(texts, text):
    assert texts.decode(texts.encode([text])[0]) == text.strip()


def test_the_files_are_what_transformers_reads(root, texts):
    config = json.loads((root / "tokenizer/checkpoint/tokenizer_config.json").read_text())
    assert config["eos_token"] == "<|end|>"
    assert texts.end != texts.pad
    assert texts.tokenizer("Name1")["input_ids"][0] == texts.bos
    chat = texts.tokenizer.apply_chat_template(TALK[0]["messages"], tokenize=False)
    assert chat == "<|bos|><|user|>Where does Name0 lie?<|end|><|assistant|>In Tarn.<|end|>"


def test_a_vocabulary_that_cannot_hold_the_bytes_is_refused():
    from models.training.tokenizer import TokenizerSettings

    with pytest.raises(UserError, match="vocab_size"):
        TokenizerSettings(vocab_size=200)


# --- documents ------------------------------------------------------------------------------------------------------


def test_chats_train_the_answer_and_its_end_only(texts):
    (chat,) = texts.chats([TALK[3]["messages"]])
    assert texts.decode(chat.ids[chat.trained]) == "In Brel."
    assert chat.ids[-1] == texts.end
    assert chat.trained[-1]
    whole = texts.tokenizer.apply_chat_template(TALK[3]["messages"], tokenize=True, return_dict=False)
    assert chat.ids.tolist() == whole


def test_every_answer_of_a_long_chat_is_trained(texts):
    (chat,) = texts.chats([TALK[0]["messages"] + TALK[1]["messages"]])
    assert texts.decode(chat.ids[chat.trained]) == "In Tarn. In Velm."
    assert int((chat.ids[chat.trained] == texts.end).sum()) == 2


def test_the_prompt_is_what_precedes_the_answer(texts):
    (chat,) = texts.chats([TALK[0]["messages"]])
    (prompt,) = texts.prompts([TALK[0]["messages"][:1]])
    assert chat.ids.tolist()[: len(prompt)] == prompt
    assert not chat.trained[: len(prompt)].any()


def test_long_texts_are_cut_and_every_token_is_predicted_once(texts):
    text = " ".join(row["text"] for row in TEXTS[:6])
    whole, pieces = texts.documents([text], 10_000), texts.documents([text], 16)
    assert len(whole) == 1
    assert max(len(piece.ids) for piece in pieces) == 16
    predicted = [token for piece in pieces for token in piece.ids[1:]]
    assert predicted == whole[0].ids[1:].tolist()


def test_rows_without_answers_and_bad_json_are_named(texts, tmp_path):
    with pytest.raises(UserError, match="no assistant message"):
        texts.chats([TALK[0]["messages"][:1]])
    path = write_rows(tmp_path / "bad.jsonl", [{"text": "a"}])
    path.write_text(path.read_text() + "[1]\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"bad\.jsonl, line 2 is not a JSON object"):
        read_rows(path)
    path.write_text("{oops\n", encoding="utf-8")
    with pytest.raises(UserError, match="line 1 is not JSON"):
        read_rows(path)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b'\xff\xfe{"text": "a"}', "is not UTF-8"),
        (b"[" * 100_000, "is not JSON"),
        (b'{"text": 5}', "has a text that is none"),
        (b'{"messages": "hello"}', "has messages that are no messages"),
        (b'{"messages": [{"from": "human", "value": "a"}]}', "has messages that are no messages"),
        (b'{"prompt": "a", "chosen": [1], "rejected": "b"}', "has chosen that are no messages"),
        (b'{"prompt": null}', "has prompt that are no messages"),
    ],
)
def test_rows_that_make_no_sense_are_named_by_their_line(tmp_path, line, why):
    path = tmp_path / "bad.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"text": "a"}\r\n\n' + line + b"\n")
    with pytest.raises(UserError, match=rf"bad\.jsonl, line 3 {why}"):
        read_rows(path)
    assert read_rows(path, limit=1) == [{"text": "a"}]


def test_rows_of_neither_layout_are_named(texts):
    with pytest.raises(UserError, match="Row 2 has neither text nor messages"):
        row_documents(texts, [{"text": "a"}, {"content": "b"}], 16)


def test_text_of_takes_every_layout():
    assert text_of({"text": "a"}) == "a"
    assert text_of(TALK[0]) == "Where does Name0 lie?\nIn Tarn."
    assert text_of({"prompt": "a", "chosen": "b", "rejected": [{"role": "assistant", "content": "c"}]}) == "a\nb\nc"


# --- packing --------------------------------------------------------------------------------------------------------


def test_packing_keeps_every_document_once_and_no_row_overflows():
    generator = np.random.default_rng(0)
    lengths = generator.integers(2, 60, 500).tolist()
    rows = pack(lengths, range(500), 64)
    assert sorted(number for row in rows for number in row) == list(range(500))
    used = [sum(lengths[number] for number in row) for row in rows]
    assert max(used) <= 64
    assert sum(used) / (64 * len(rows)) > 0.9


def test_plans_shuffle_each_epoch_and_are_a_function_of_the_seed():
    lengths = [8] * 64
    plan = plan_rows(lengths, 32, 2.5, seed=1)
    assert plan == plan_rows(lengths, 32, 2.5, seed=1)
    assert plan != plan_rows(lengths, 32, 2.5, seed=2)
    assert [len(plan), plan[:16] != plan[16:32]] == [40, True]
    assert sorted(number for row in plan[16:32] for number in row) == list(range(64))


def test_targets_are_the_trained_tokens_and_point_at_their_left_neighbour():
    rows = [[document(1, 5, 6), document(1, 7, 8, 9, trained=[False, False, True, True])], [document(1, 4)]]
    batch = make_batch(rows, pad_id=0)
    assert batch.input_ids.tolist() == [[1, 5, 6, 1, 7, 8, 9], [1, 4, 0, 0, 0, 0, 0]]
    assert batch.position_ids.tolist() == [[0, 1, 2, 0, 1, 2, 3], [0, 1, 0, 0, 0, 0, 0]]
    assert batch.document.tolist()[0] == [0, 0, 0, 1, 1, 1, 1]
    assert batch.target.tolist() == [5, 6, 8, 9, 4]
    assert batch.source.tolist() == [0, 1, 4, 5, 7]
    assert batch.owner.tolist() == [0, 0, 1, 1, 2]
    assert batch.last.tolist() == [2, 6, 8]


def test_pack_batch_tells_where_each_document_went():
    documents = [document(1, 2), document(1, 2, 3, 4, 5), document(1, 2, 3)]
    batch, order = pack_batch(documents, 5, 0)
    ends = batch.input_ids.flatten()[batch.last[torch.as_tensor(order)]]
    assert ends.tolist() == [2, 5, 3]


def test_no_document_sees_another(texts):
    """Log-probabilities of packed documents are those of each document alone, whatever stands beside it."""
    from models.training.forward import sum_by_document, target_logprobs
    from models.training.llama import new_llama
    from tests.models.training import SHAPE

    model = new_llama(SHAPE, len(texts), (texts.bos, texts.end, texts.pad), seed=3).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4)
    documents = texts.chats([row["messages"] for row in TALK[:7]]) + texts.documents([TEXTS[5]["text"]], 128)
    packed, order = pack_batch(documents, 100, texts.pad)
    assert packed.input_ids.shape[0] < len(documents)
    with torch.no_grad():
        together = sum_by_document(target_logprobs(model, packed), packed)[torch.as_tensor(order)]
        for at, one in enumerate(documents):
            ids = torch.as_tensor(one.ids)[None]
            logp = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0, :-1].log_softmax(-1)
            alone = logp.gather(1, ids[0, 1:, None])[:, 0][torch.as_tensor(one.trained[1:])].sum()
            assert together[at].item() == pytest.approx(alone.item(), abs=1e-4)
