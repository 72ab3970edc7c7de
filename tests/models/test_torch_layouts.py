"""Checkpoints of nanoGPT and minimind: converted, they compute what their own programs compute."""

import math
import pickle
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from models.api import open_checkpoint  # noqa: E402
from models.errors import UserError  # noqa: E402
from models.events import Note, finish  # noqa: E402
from models.library import convert  # noqa: E402

TEXT = "First Citizen:\nSpeak, speak.\n"
CHARACTERS = sorted(set(TEXT))
LAYERS, HEADS, WIDTH, BLOCK = 2, 2, 16, 32


class Block(nn.Module):
    """A layer as nanoGPT has it: norms first, one projection for q, k and v, exact GELU, biases or none."""

    def __init__(self, bias: bool) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(WIDTH, bias=bias), nn.LayerNorm(WIDTH, bias=bias)
        self.attn, self.mlp = nn.Module(), nn.Module()
        self.attn.c_attn, self.attn.c_proj = nn.Linear(WIDTH, 3 * WIDTH, bias), nn.Linear(WIDTH, WIDTH, bias)
        self.attn.register_buffer("bias", torch.ones(BLOCK, BLOCK).tril().view(1, 1, BLOCK, BLOCK))
        self.mlp.c_fc, self.mlp.c_proj = nn.Linear(WIDTH, 4 * WIDTH, bias), nn.Linear(4 * WIDTH, WIDTH, bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, time, _width = x.shape
        q, k, v = (part.view(n, time, HEADS, -1).transpose(1, 2) for part in self.attn.c_attn(self.ln_1(x)).split(WIDTH, -1))
        scores = (q @ k.transpose(-2, -1)) / math.sqrt(WIDTH // HEADS)
        scores = scores.masked_fill(self.attn.bias[:, :, :time, :time] == 0, float("-inf"))
        x = x + self.attn.c_proj((scores.softmax(-1) @ v).transpose(1, 2).reshape(n, time, WIDTH))
        return x + self.mlp.c_proj(functional.gelu(self.mlp.c_fc(self.ln_2(x))))


class NanoGPT(nn.Module):
    """The model of nanoGPT, written again by its description."""

    def __init__(self, bias: bool, vocabulary: int) -> None:
        super().__init__()
        self.transformer = nn.ModuleDict({
            "wte": nn.Embedding(vocabulary, WIDTH), "wpe": nn.Embedding(BLOCK, WIDTH),
            "h": nn.ModuleList(Block(bias) for _ in range(LAYERS)), "ln_f": nn.LayerNorm(WIDTH, bias=bias),
        })  # fmt: skip
        self.lm_head = nn.Linear(WIDTH, vocabulary, bias=False)
        self.transformer["wte"].weight = self.lm_head.weight

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.transformer["wte"](ids) + self.transformer["wpe"](torch.arange(ids.shape[1]))
        for layer in self.transformer["h"]:
            x = layer(x)
        return self.lm_head(self.transformer["ln_f"](x))


def saved(path: Path, bias: bool, prefix: str = "") -> NanoGPT:
    """Save what nanoGPT's train.py saves, optimizer and all."""
    torch.manual_seed(1)
    model = NanoGPT(bias, len(CHARACTERS))
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.tensor([[1, 2, 3]])).sum().backward()
    optimizer.step()
    sizes = {
        "n_layer": LAYERS,
        "n_head": HEADS,
        "n_embd": WIDTH,
        "block_size": BLOCK,
        "bias": bias,
        "vocab_size": len(CHARACTERS),
    }
    state = {f"{prefix}{name}": value for name, value in model.state_dict().items()}
    best = torch.tensor(1.5)
    torch.save({"model": state, "optimizer": optimizer.state_dict(), "model_args": sizes | {"dropout": 0.0}, "iter_num": 7,
                "best_val_loss": best, "config": {"out_dir": "out", "learning_rate": 1e-3, "compile": True}}, path)  # fmt: skip
    return model.eval()


def meta(folder: Path) -> Path:
    """Write nanoGPT's meta.pkl."""
    stoi = {character: at for at, character in enumerate(CHARACTERS)}
    path = folder / "meta.pkl"
    path.write_bytes(pickle.dumps({"vocab_size": len(stoi), "itos": {v: k for k, v in stoi.items()}, "stoi": stoi}))
    return path


@pytest.mark.parametrize(
    ("bias", "prefix", "source"), [(True, "", "text"), (False, "_orig_mod.", "meta"), (False, "module.", "folder")]
)
def test_nanogpt_gives_its_own_logits_and_reads_characters(bias: bool, prefix: str, source: str, tmp_path: Path) -> None:
    model = saved(tmp_path / "ckpt.pt", bias, prefix)
    (tmp_path / "input.txt").write_text(TEXT, encoding="utf-8")
    tokenizer = meta(tmp_path) if source == "meta" else tmp_path / "input.txt"
    if source == "folder":
        finish(convert(tmp_path / "ckpt.pt", tmp_path / "first", tokenizer))
        tokenizer = tmp_path / "first"
    folder = finish(convert(tmp_path / "ckpt.pt", tmp_path / "out", tokenizer))
    opened = open_checkpoint(folder, device="cpu", dtype="float32")
    strip = opened.tokens("Speak, Citizen:\n")
    ids = [token.id for token in strip.tokens]
    assert ids == [CHARACTERS.index(character) for character in "Speak, Citizen:\n"]
    expected = model(torch.tensor([ids])).detach().log_softmax(-1)[0]
    surprisal = [-float(expected[at, following]) for at, following in enumerate(ids[1:])]
    assert [float(value) for value in strip.surprisal[1:]] == pytest.approx(surprisal, abs=1e-5)


def test_an_unknown_character_is_a_sentence(tmp_path: Path) -> None:
    saved(tmp_path / "ckpt.pt", True)
    opened = open_checkpoint(finish(convert(tmp_path / "ckpt.pt", tmp_path / "out", meta(tmp_path))), device="cpu")
    with pytest.raises(UserError, match="no tokens for a part of this text"):
        opened.tokens("Speak 中")


@pytest.mark.parametrize("case", ["other text", "no characters", "code", "empty folder", "settings alone", "missing"])
def test_a_tokenizer_that_does_not_fit_leaves_nothing_behind(case: str, tmp_path: Path) -> None:
    saved(tmp_path / "ckpt.pt", True)
    path = tmp_path / ("meta.pkl" if case in ("no characters", "code") else case)
    if case == "other text":
        path.write_text("abc", encoding="utf-8")
    elif case == "no characters":
        path.write_bytes(pickle.dumps({"stoi": {"ab": 0}}))
    elif case == "code":
        path.write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    elif case in ("empty folder", "settings alone"):
        path.mkdir()
        if case == "settings alone":
            (path / "tokenizer_config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(UserError) as told:
        finish(convert(tmp_path / "ckpt.pt", tmp_path / "out", path))
    assert path.name in told.value.what
    assert not list(tmp_path.glob("out*"))


def minimind(normed: bool, **changes: object) -> torch.nn.Module:
    """A model with minimind's widths: the structure is Llama's, with norms on q and k Qwen 3's."""
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

    inner = 256 if normed else 192  # of width 64: ceil(64 pi / 64) 64, and 64 ceil((64 8/3) / 64)
    sizes = {"vocab_size": 90, "hidden_size": 64, "intermediate_size": inner, "num_hidden_layers": 2, "num_attention_heads": 8,
             "num_key_value_heads": 4 if normed else 2, "head_dim": 8, "max_position_embeddings": 32768,
             "rms_norm_eps": 1e-6 if normed else 1e-5, "tie_word_embeddings": True,
             "rope_parameters": {"rope_type": "default", "rope_theta": 1e6}, **changes}  # fmt: skip
    torch.manual_seed(2)
    return (Qwen3ForCausalLM(Qwen3Config(**sizes)) if normed else LlamaForCausalLM(LlamaConfig(**sizes))).eval()


@pytest.mark.parametrize("normed", [True, False])
@pytest.mark.parametrize("tied", [True, False])
def test_minimind_gives_the_logits_of_the_same_structure(normed: bool, tied: bool, tmp_path: Path) -> None:
    model = minimind(normed)
    state = {name: value.float().clone() for name, value in model.state_dict().items()}  # as saving in half makes copies
    if not tied:
        state["lm_head.weight"] = state["lm_head.weight"] * 2
    torch.save(state, tmp_path / "full_sft_64.pth")
    work = convert(tmp_path / "full_sft_64.pth", tmp_path / "out")
    notes = [event.text for event in work if isinstance(event, Note)]
    assert any("minimind" in note for note in notes)
    assert any("8 heads of 8, RoPE base 1,000,000" in note for note in notes)
    assert any("--tokenizer" in note for note in notes)
    from transformers import AutoModelForCausalLM

    again = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32).eval()
    ids = torch.arange(12)[None]
    assert again.config.tie_word_embeddings is tied
    assert torch.allclose(again(ids).logits, model(ids).logits * (1 if tied else 2), atol=1e-5)


def test_other_widths_are_not_taken_for_minimind(tmp_path: Path) -> None:
    torch.save(dict(minimind(False, intermediate_size=200).state_dict()), tmp_path / "model.pth")
    notes = [event.text for event in convert(tmp_path / "model.pth", tmp_path / "out") if isinstance(event, Note)]
    assert any("no config.json" in note for note in notes)
    assert not (tmp_path / "out" / "config.json").exists()
