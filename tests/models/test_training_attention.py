"""The attention that a model is trained with: fused on an accelerator, the same losses and gradients as plain products."""

import pytest

torch = pytest.importorskip("torch")

from models.training.forward import hidden_states, probe, target_logits  # noqa: E402
from models.training.llama import ModelShape, new_llama, place  # noqa: E402


def model_of(family):
    from transformers import AutoConfig, AutoModelForCausalLM

    if family == "llama":
        return new_llama(ModelShape(layers=2, width=32, heads=4, kv_heads=2, feed_forward=48, context=64), 90, (1, 2, 0), 3)
    neox = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    sizes = {"gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4}, "gpt_neox": neox}
    config = AutoConfig.for_model(family, vocab_size=90, **sizes[family])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return AutoModelForCausalLM.from_config(config, attn_implementation="eager").float()


def course(model):
    """The loss of a batch with two documents in a row, and every gradient."""
    batch = probe(model)
    logits = target_logits(model, hidden_states(model, batch), batch)
    loss = torch.nn.functional.cross_entropy(logits, batch.target)
    loss.backward()
    gradients = {name: value.grad.clone() for name, value in model.named_parameters() if value.grad is not None}
    model.zero_grad()
    return float(loss.detach()), gradients


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox"])
def test_fused_attention_gives_the_losses_and_gradients_of_plain_products(family):
    model = model_of(family).eval()
    loss, gradients = course(model)
    model.set_attn_implementation("sdpa")
    fused_loss, fused = course(model)
    assert fused_loss == pytest.approx(loss, abs=1e-5)
    assert fused.keys() == gradients.keys()
    worst = max(float((fused[name] - gradients[name]).abs().max()) for name in gradients)
    assert 0 < worst < 1e-5  # another order of summation: it really ran otherwise


def test_only_an_accelerator_changes_how_a_model_attends():
    model = model_of("llama")
    assert place(model, "cpu").config._attn_implementation == "eager"
    assert place(model, "meta").config._attn_implementation == "sdpa"


def test_a_family_without_fused_attention_stays_as_it_is():
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(
        "gpt_neo", vocab_size=90, hidden_size=32, num_layers=1, num_heads=2, attention_types=[[["global"], 1]]
    )
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    assert not model._supports_sdpa
    assert place(model, "meta").config._attn_implementation == "eager"
