"""LoRA and its kin: plain PEFT folders over untouched weights, any family, references of DPO, what a parent may be."""

import hashlib
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest

from models.errors import UserError
from models.events import Metrics, Note, finish
from tests.models.training import SHAPE, run_stage, workspace, write_corpus

torch = pytest.importorskip("torch")
pytest.importorskip("peft")

from models import library  # noqa: E402
from models.training import dpo, pretrain, reward, sft, tokenizer  # noqa: E402
from models.training.data import Document, Texts, make_batch  # noqa: E402
from models.training.forward import target_logprobs, way_of  # noqa: E402
from models.training.llama import open_causal  # noqa: E402
from models.training.methods import LoraShape  # noqa: E402
from tests.fakes import tiny_model, write_model  # noqa: E402

FAST = {"precision": "fp32", "dtype": "fp32", "block": 64, "warmup": 2}
LORA = {"lr": 2e-2, "lora": LoraShape(rank=4, alpha=8.0), **FAST}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = write_corpus(tmp_path_factory.mktemp("methods"))
    run_stage(tokenizer.STAGE, tokenizer.TokenizerSettings(data=("texts.jsonl", "talk.jsonl"), vocab_size=300), folder)
    settings = pretrain.PretrainSettings(data=("texts.jsonl",), model=SHAPE, steps=20, batch_size=4, lr=5e-3, **FAST)
    run_stage(pretrain.STAGE, settings, folder)
    return folder


def digest(folder):
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir())}


def losses(stage, settings, root, step, resume=False):
    events = list(stage.run(settings, workspace(root, step, resume=resume)))
    return [event.values["loss"] for event in events if isinstance(event, Metrics) and "loss" in event.values], events


def logits_of(model, ids=((1, 40, 41, 42, 77),)):
    with torch.no_grad():
        return model.eval()(torch.tensor(ids)).logits


# --- what is written -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["lora", "dora", "rslora", "adalora"])
def test_an_adapter_is_a_plain_peft_folder_over_untouched_weights(root, method):
    from peft import PeftModel

    base = root / "pretrain/checkpoint"
    before = digest(base)
    settings = sft.SftSettings(data=("talk.jsonl",), steps=30, batch_size=4, method=method, **LORA)
    course, events = losses(sft.STAGE, settings, root, method)
    assert course[-1] < (0.8 if method == "adalora" else 0.7) * course[0]
    assert any("weights are trained" in event.text for event in events if isinstance(event, Note))
    assert digest(base) == before
    folder = root / method / "checkpoint"
    config = json.loads((folder / "adapter_config.json").read_text())
    rank = "target_r" if method == "adalora" else "r"
    assert (config["peft_type"], config[rank], config["lora_alpha"]) == ("ADALORA" if method == "adalora" else "LORA", 4, 8.0)
    assert (config["use_dora"], config["use_rslora"]) == (method == "dora", method == "rslora")
    assert not (folder / "model.safetensors").exists()
    assert json.loads((folder / "manifest.json").read_text())["base"] == "../../pretrain/checkpoint"
    opened = finish(library.load(folder))
    plain = PeftModel.from_pretrained(open_causal(base), folder)
    assert torch.allclose(logits_of(opened.model), logits_of(plain), atol=1e-5)
    assert not torch.allclose(logits_of(opened.model), logits_of(open_causal(base)), atol=1e-2)


def test_merge_writes_whole_weights_and_keeps_the_adapter(root):
    from peft import PeftModel

    settings = sft.SftSettings(data=("talk.jsonl",), steps=5, batch_size=4, method="lora", merge=True, **LORA)
    run_stage(sft.STAGE, settings, root, "merged")
    whole = open_causal(root / "merged/checkpoint")
    adapted = PeftModel.from_pretrained(open_causal(root / "pretrain/checkpoint"), root / "merged/adapter")
    assert (root / "merged/checkpoint/model.safetensors").exists()
    assert torch.allclose(logits_of(whole), logits_of(adapted), atol=1e-5)


def test_lora_is_the_formula(root):
    """The adapted layer is W x + (alpha / rank) B A x, worked out from the file."""
    from safetensors.torch import load_file

    settings = sft.SftSettings(data=("talk.jsonl",), steps=2, batch_size=4, method="lora", **LORA)
    run_stage(sft.STAGE, settings, root, "formula")
    tensors = load_file(root / "formula/checkpoint/adapter_model.safetensors")
    stem = "base_model.model.model.layers.0.mlp.up_proj"
    change = 8.0 / 4 * tensors[f"{stem}.lora_B.weight"] @ tensors[f"{stem}.lora_A.weight"]
    opened = finish(library.load(root / "formula/checkpoint")).model
    base = open_causal(root / "pretrain/checkpoint").model.layers[0].mlp.up_proj
    x = torch.randn(3, 32, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(opened.model.layers[0].mlp.up_proj(x), base(x) + x @ change.T, atol=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_qlora_trains_over_four_bit_weights(root):
    pytest.importorskip("torchao")
    settings = sft.SftSettings(data=("talk.jsonl",), steps=30, batch_size=4, method="qlora", **LORA)
    before = digest(root / "pretrain/checkpoint")
    course, _ = losses(sft.STAGE, settings, root, "qlora")
    assert course[-1] < 0.7 * course[0]
    assert digest(root / "pretrain/checkpoint") == before
    assert (root / "qlora/checkpoint/adapter_model.safetensors").exists()


def test_a_stopped_adapter_run_resumes_bit_identically(root, tmp_path):
    shutil.copytree(root, tmp_path / "root")
    shape = LoraShape(rank=4, dropout=0.2)
    settings = sft.SftSettings(data=("talk.jsonl",), steps=6, batch_size=2, accumulate=2, method="lora", save_every=2,
                               **{**LORA, "lora": shape})  # fmt: skip
    reference, _ = losses(sft.STAGE, settings, tmp_path / "root", "whole")
    work = sft.STAGE.run(settings, workspace(tmp_path / "root", "cut"))
    for event in work:
        if isinstance(event, Metrics) and event.step == 3:
            break
    work.close()
    rest, _ = losses(sft.STAGE, settings, tmp_path / "root", "cut", resume=True)
    assert rest == reference[3:]


def test_settings_of_adapters_that_cannot_work_are_named(root):
    with pytest.raises(UserError, match="method is 'prefix'"):
        sft.SftSettings(method="prefix")
    with pytest.raises(UserError, match="dropout is 1"):
        LoraShape(dropout=1.0)
    with pytest.raises(UserError, match="qlora"):
        reward.RewardSettings(method="qlora")
    settings = sft.SftSettings(data=("talk.jsonl",), steps=1, method="lora", **{**LORA, "lora": LoraShape(targets=("nothing",))})
    with pytest.raises(UserError, match="takes an adapter at nothing"):
        run_stage(sft.STAGE, settings, root, "wrong")


# --- parents ---------------------------------------------------------------------------------------------------------


def test_an_adapter_is_trained_further_and_full_training_starts_from_its_sum(root):
    settings = sft.SftSettings(data=("talk.jsonl",), steps=8, batch_size=4, method="lora", **LORA)
    first, _ = losses(sft.STAGE, settings, root, "first")
    again = sft.SftSettings(parent="first", data=("talk.jsonl",), steps=3, batch_size=4, method="lora", **LORA)
    second, _ = losses(sft.STAGE, again, root, "second")
    assert second[0] < first[0]
    assert (root / "second/checkpoint/adapter_model.safetensors").exists()
    whole = sft.SftSettings(parent="first", data=("talk.jsonl",), steps=1, batch_size=4, **{**FAST, "warmup": 0})
    full, _ = losses(sft.STAGE, whole, root, "full")
    assert full[0] == pytest.approx(second[0], abs=1e-5)
    assert (root / "full/checkpoint/model.safetensors").exists()


def test_a_gguf_file_is_a_parent(root, tmp_path):
    from tests.models.test_library_gguf import make

    shutil.copytree(root, tmp_path / "root")
    path = make(tmp_path / "tiny.gguf", "llama")
    settings = sft.SftSettings(parent=str(path), data=("texts.jsonl",), steps=2, batch_size=2, method="lora", **LORA)
    run_stage(sft.STAGE, settings, tmp_path / "root", "from_gguf")
    assert finish(library.load(tmp_path / "root/from_gguf/checkpoint")).kind == "decoder"


@pytest.mark.real_models
@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_smollm_learns_by_lora_from_its_gguf(tmp_path, smollm):
    """50 steps on a small chat file: the loss falls; the adapter opens here and in plain PEFT, and merges."""
    from peft import PeftModel

    from models.merging import merge

    write_corpus(tmp_path)
    settings = sft.SftSettings(parent=str(smollm), data=("talk.jsonl",), steps=50, batch_size=1, method="lora", lr=5e-4,
                               **{**FAST, "precision": "auto"})  # fmt: skip
    course, _ = losses(sft.STAGE, settings, tmp_path, "smollm")
    assert len(course) == 50
    assert sum(course[-5:]) < 0.5 * sum(course[:5])
    adapter = tmp_path / "smollm/checkpoint"
    opened = finish(library.load(adapter, dtype="float32"))
    plain = PeftModel.from_pretrained(open_causal(Path(opened.folder)), adapter)
    assert torch.allclose(logits_of(opened.model), logits_of(plain), atol=1e-3)
    whole = finish(library.load(finish(merge(adapter, tmp_path / "whole", "fp32")), dtype="float32"))
    assert torch.allclose(logits_of(whole.model), logits_of(plain), atol=1e-3)


def test_copies_of_a_reward_adapter_on_the_way_change_nothing(root):
    settings = reward.RewardSettings(parent="pretrain", pairs=("pairs.jsonl",), steps=4, batch_size=8, method="lora", **LORA)
    alone, _ = losses(reward.STAGE, settings, root, "rewarded")
    copied = reward.RewardSettings(**{**vars(settings), "snapshot_every": 1})
    assert losses(reward.STAGE, copied, root, "copied")[0] == alone
    paths = [root / step / "checkpoint/model.safetensors" for step in ("rewarded", "copied")]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    first = root / "copied/snapshots/step-1/model.safetensors"
    assert first.read_bytes() != paths[0].read_bytes()


def test_init_tokens_and_an_adapter_are_refused():
    assert sft.SftSettings(init_tokens=("<|user|>=Q",)).init_tokens
    with pytest.raises(UserError, match=r"init_tokens changes the base's own weights, which an adapter \(lora\)"):
        sft.SftSettings(init_tokens=("<|user|>=Q",), method="lora")


def test_an_encoder_is_refused_in_one_sentence(root, tmp_path):
    folder = write_model(tmp_path / "bert", "bert")
    with pytest.raises(UserError, match="is a model of the kind encoder"):
        run_stage(sft.STAGE, sft.SftSettings(parent=str(folder), data=("talk.jsonl",), **FAST), root, "bert")


def test_a_moved_output_folder_still_opens(root, tmp_path):
    run_stage(sft.STAGE, sft.SftSettings(data=("talk.jsonl",), steps=1, method="lora", **LORA), root, "moving")
    (tmp_path / "there").mkdir()
    for name in ("pretrain", "moving"):
        shutil.copytree(root / name, tmp_path / "there" / name)
    config = tmp_path / "there/moving/checkpoint/adapter_config.json"
    config.write_text(config.read_text().replace(str(root.resolve()), "/nowhere"))
    opened = finish(library.load(config.parent))
    assert opened.folder.startswith(str(tmp_path))


# --- every family ----------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("family", "packed"),
    [("gpt2", True), ("gpt_neox", True), ("qwen3", True), ("mistral", True), ("gemma2", None), ("gemma3", None), ("bloom", False),
     ("mamba", False)],
)  # fmt: skip
def test_no_family_sees_across_documents(family, packed):
    """Log-probabilities in a packed batch are those of transformers for each document alone."""
    model = tiny_model(family, 300)
    generator = np.random.default_rng(3)
    documents = [Document(generator.integers(6, 300, n), np.ones(n, np.bool_)) for n in (5, 13, 7)]
    batch = make_batch([documents[:2], documents[2:]], 0)
    with torch.no_grad():
        ours = target_logprobs(model, batch)
        alone = []
        for document in documents:
            ids = torch.tensor(document.ids)[None]
            logp = model(input_ids=ids).logits.float().log_softmax(-1)[0, :-1]
            alone.append(logp.gather(-1, ids[0, 1:, None])[:, 0])
    assert torch.allclose(ours, torch.cat(alone), atol=2e-4)
    if packed is not None:
        assert way_of(model).packed is packed


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("family", ["gpt2", "gemma3"])
def test_sft_of_other_families_learns(root, tmp_path, family):
    folder = write_model(tmp_path / family, family, gain=1.0)
    settings = sft.SftSettings(parent=str(folder), data=("talk.jsonl",), steps=15, batch_size=4, method="lora", **LORA)
    course, _ = losses(sft.STAGE, settings, root, f"sft_{family}")
    assert course[-1] < 0.8 * course[0]
    assert finish(library.load(root / f"sft_{family}/checkpoint")).kind == "decoder"


# --- preferences -----------------------------------------------------------------------------------------------------


def test_dpo_of_an_adapter_starts_at_ln_2_and_moves(root):
    settings = dpo.DpoSettings(parent="pretrain", pairs=("pairs.jsonl",), steps=6, batch_size=8, method="lora", **LORA)
    course, _ = losses(dpo.STAGE, settings, root, "dpo")
    assert course[0] == pytest.approx(math.log(2), abs=1e-6)
    assert course[-1] < course[0] - 0.05


def test_the_reference_of_a_trained_adapter_is_its_frozen_copy(root):
    from models.training.llama import without_dropout
    from models.training.methods import open_trainable, opened_reference, reference_of
    from models.training.parents import find_parent

    run_stage(sft.STAGE, sft.SftSettings(data=("talk.jsonl",), steps=8, batch_size=4, method="lora", **LORA), root, "old")
    parent = finish(find_parent(workspace(root, "x"), "old"))
    settings = dpo.DpoSettings(parent="old", pairs=("pairs.jsonl",), steps=4, batch_size=8, method="lora", **LORA)
    model = without_dropout(open_trainable(parent, settings, "cpu"))
    reference = reference_of(model, parent)
    expected = logits_of(finish(library.load(root / "old/checkpoint")).model)
    trained = [name for name, value in model.named_parameters() if value.requires_grad]
    assert trained
    assert not any("reference" in name for name in trained)
    with torch.no_grad():
        for value in (value for value in model.parameters() if value.requires_grad):
            value.add_(0.1)
    with opened_reference(reference) as frozen:
        assert torch.allclose(logits_of(frozen), expected, atol=1e-5)
    assert not torch.allclose(logits_of(model), expected, atol=1e-2)
    course, _ = losses(dpo.STAGE, settings, root, "dpo_old")
    assert course[0] == pytest.approx(math.log(2), abs=1e-6)
    assert course[-1] < course[0]
    stored = json.loads((root / "dpo_old/checkpoint/adapter_config.json").read_text())
    assert stored["base_model_name_or_path"].endswith("pretrain/checkpoint")


def test_a_reward_adapter_is_written_merged(root):
    from models.training.llama import open_reward

    settings = reward.RewardSettings(parent="pretrain", pairs=("pairs.jsonl",), steps=12, batch_size=8, method="lora", **LORA)
    course, _ = losses(reward.STAGE, settings, root, "reward")
    assert course[-1] < course[0]
    model = open_reward(root / "reward/checkpoint")
    assert model.score.weight.shape == (1, 32)
    base = open_causal(root / "pretrain/checkpoint")
    change = (model.model.layers[0].mlp.up_proj.weight - base.model.layers[0].mlp.up_proj.weight).detach()
    assert torch.linalg.matrix_rank(change, rtol=1e-3) <= 4
    assert float(change.abs().max()) > 0


def test_a_reward_model_of_another_family(root, tmp_path):
    folder = write_model(tmp_path / "gpt2", "gpt2", gain=1.0)
    settings = reward.RewardSettings(parent=str(folder), pairs=("pairs.jsonl",), steps=6, batch_size=8, lr=1e-3, **FAST)
    course, _ = losses(reward.STAGE, settings, root, "reward_gpt2")
    assert course[-1] < course[0]


def test_texts_of_a_parent_are_its_own(root):
    assert Texts(root / "lora/checkpoint").pad == Texts(root / "pretrain/checkpoint").pad


# --- merging by a command, and what an adapter needs to import --------------------------------------------------------


def test_an_adapter_is_merged_on_request(root, tmp_path):
    from models.merging import merge

    run_stage(sft.STAGE, sft.SftSettings(data=("talk.jsonl",), steps=4, method="lora", batch_size=4, **LORA), root, "to-merge")
    adapter, base = root / "to-merge/checkpoint", root / "pretrain/checkpoint"
    before = digest(adapter), digest(base)
    target = finish(merge(adapter, tmp_path / "whole", "fp32"))
    assert (digest(adapter), digest(base)) == before
    assert not (target / "adapter_config.json").exists()
    from peft import PeftModel

    expected = PeftModel.from_pretrained(open_causal(base), str(adapter))
    assert torch.allclose(logits_of(open_causal(target)), logits_of(expected), atol=1e-5)
    assert not torch.allclose(logits_of(open_causal(target)), logits_of(open_causal(base)), atol=1e-3)
    with pytest.raises(UserError, match="already"):
        finish(merge(adapter, target))


def test_training_an_adapter_imports_no_torchao():
    import subprocess
    import sys

    code = (
        "import sys\nfrom models.training.llama import ModelShape, new_llama\nfrom models.training.sft import SftSettings\n"
        "from models.training.methods import add_adapter\n"
        "model = new_llama(ModelShape(layers=1, width=32, heads=2, feed_forward=48), 50, (1, 2, 0), 0)\n"
        "add_adapter(model, SftSettings(method='lora'))\nprint('torchao' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2], check=True)
    assert done.stdout.strip() == "False"
    assert "torchao" not in done.stderr


# --- AdaLoRA ----------------------------------------------------------------------------------------------------------


def test_adalora_takes_ranks_away_until_the_budget_is_met(root):
    from safetensors.torch import load_file

    shape = LoraShape(rank=2, alpha=8.0, start_rank=4)
    settings = sft.SftSettings(data=("talk.jsonl",), steps=30, batch_size=4, method="adalora", **{**LORA, "lora": shape})
    course, _ = losses(sft.STAGE, settings, root, "adalora-ranks")
    assert course[-1] < 0.8 * course[0]
    saved = load_file(root / "adalora-ranks/checkpoint/adapter_model.safetensors")
    kept = {name: int((value != 0).sum()) for name, value in saved.items() if "lora_E" in name}
    assert all(value.shape[0] == 4 for name, value in saved.items() if "lora_A" in name)
    assert sum(kept.values()) == 2 * len(kept)
    assert len(set(kept.values())) > 1  # some layers keep more than others
    config = json.loads((root / "adalora-ranks/checkpoint/adapter_config.json").read_text())
    assert (config["peft_type"], config["target_r"], config["total_step"]) == ("ADALORA", 2, 30)


def test_a_stopped_adalora_run_resumes_bit_identically(root, tmp_path):
    shutil.copytree(root / "pretrain", tmp_path / "root/pretrain")
    shutil.copy(root / "talk.jsonl", tmp_path / "root")
    settings = sft.SftSettings(data=("talk.jsonl",), steps=12, batch_size=2, method="adalora", save_every=1, **LORA)
    reference, _ = losses(sft.STAGE, settings, tmp_path / "root", "whole")
    for stop in (4, 10):  # while ranks are taken away, and after
        work = sft.STAGE.run(settings, workspace(tmp_path / "root", f"cut{stop}"))
        for event in work:
            if isinstance(event, Metrics) and event.step == stop:
                break
        work.close()
        rest, _ = losses(sft.STAGE, settings, tmp_path / "root", f"cut{stop}", resume=True)
        assert rest == reference[stop:]


def test_the_penalty_is_that_of_peft(root):
    from models.training.adalora import ORTHOGONAL
    from models.training.methods import add_adapter

    settings = sft.SftSettings(method="adalora", lora=LoraShape(rank=2, alpha=8.0))
    model = open_causal(root / "pretrain/checkpoint")
    add_adapter(model, settings)
    model.rank_allocation.penalise()
    from peft import AdaLoraConfig, get_peft_model

    other = get_peft_model(
        open_causal(root / "pretrain/checkpoint"),
        AdaLoraConfig(
            init_r=3, target_r=2, total_step=10, lora_alpha=8.0, target_modules="all-linear", orth_reg_weight=ORTHOGONAL
        ),
    )
    theirs = dict(other.get_base_model().named_parameters())
    with torch.no_grad():
        for name, value in model.named_parameters():
            theirs[name].copy_(value)
    ids = torch.tensor([[1, 40, 41, 42]])
    bare = other.get_base_model()(input_ids=ids, labels=ids).loss
    (other.base_model(input_ids=ids, labels=ids).loss - bare).backward()
    for name, value in model.named_parameters():
        if "lora_A" in name or "lora_B" in name:
            assert torch.allclose(value.grad, theirs[name].grad, atol=1e-6), name


def test_an_adalora_adapter_is_trained_further_with_the_ranks_it_was_left(root):
    from safetensors.torch import load_file

    def entries(step):
        saved = load_file(root / step / "checkpoint/adapter_model.safetensors")
        return {name: value for name, value in saved.items() if "lora_E" in name}

    shape = LoraShape(rank=2, alpha=8.0, start_rank=4)
    settings = sft.SftSettings(data=("talk.jsonl",), steps=30, batch_size=4, method="adalora", **{**LORA, "lora": shape})
    before, _ = losses(sft.STAGE, settings, root, "ranked")
    more = {**vars(settings), "parent": "ranked", "steps": 6, "warmup": 0}
    after, _ = losses(sft.STAGE, sft.SftSettings(**more), root, "on")
    assert after[0] < before[0] - 1  # from where it was
    assert sum(after[-2:]) < sum(after[:2])
    for name, value in entries("on").items():
        first = entries("ranked")[name]
        assert ((value != 0) == (first != 0)).all(), name
        assert torch.equal(value, first) == (not first.any()), name
    work = sft.STAGE.run(sft.SftSettings(**more), workspace(root, "cut"))
    assert next(event for event in work if isinstance(event, Metrics) and event.step == 3)
    work.close()
    assert losses(sft.STAGE, sft.SftSettings(**more), root, "cut", resume=True)[0] == after[3:]


def test_dpo_goes_on_from_an_adalora_adapter(root):
    from safetensors.torch import load_file

    settings = sft.SftSettings(data=("talk.jsonl",), steps=12, batch_size=4, method="adalora", **LORA)
    run_stage(sft.STAGE, settings, root, "allotted")
    further = dpo.DpoSettings(parent="allotted", pairs=("pairs.jsonl",), steps=6, batch_size=8, method="lora", **LORA)
    course, _ = losses(dpo.STAGE, further, root, "preferred")
    assert course[0] == pytest.approx(0.6931472, abs=1e-6)  # the reference is a copy of the adapter
    assert course[-1] < course[0]
    one, two = (load_file(root / step / "checkpoint/adapter_model.safetensors") for step in ("allotted", "preferred"))
    for name in one:
        if "lora_E" in name:
            assert ((one[name] != 0) == (two[name] != 0)).all(), name


def test_adalora_needs_some_steps(root):
    short = sft.SftSettings(data=("talk.jsonl",), steps=3, method="adalora", **LORA)
    with pytest.raises(UserError, match="at least 10 steps"):
        run_stage(sft.STAGE, short, root, "short")
    with pytest.raises(UserError, match="start_rank"):
        LoraShape(rank=4, start_rank=4)


def test_what_to_do_when_the_conversion_of_a_gguf_base_is_gone(root, tmp_path):
    from tests.models.test_library_gguf import make

    shutil.copytree(root, tmp_path / "root")
    path = make(tmp_path / "tiny.gguf", "llama")
    settings = sft.SftSettings(parent=str(path), data=("texts.jsonl",), steps=1, batch_size=2, method="lora", **LORA)
    run_stage(sft.STAGE, settings, tmp_path / "root", "from_gguf")
    adapter = tmp_path / "root/from_gguf/checkpoint"
    base = Path(finish(library.load(adapter)).folder)
    shutil.rmtree(base)
    with pytest.raises(UserError, match=r"converted from tiny\.gguf") as caught:
        finish(library.load(adapter))
    assert str(path) in caught.value.hint
    run_stage(sft.STAGE, sft.SftSettings(**{**vars(settings), "parent": str(adapter)}), tmp_path / "root", "further")
    assert base.is_dir()  # converted again by itself, for training goes on from it
    assert finish(library.load(adapter)).kind == "decoder"
