"""Muon: orthogonal updates for the matrices of the blocks, AdamW for the rest."""

import pytest

torch = pytest.importorskip("torch")

from models.training.llama import new_llama  # noqa: E402
from models.training.muon import muon_class, muon_for, orthogonalised  # noqa: E402
from tests.models.training import SHAPE  # noqa: E402


@pytest.mark.parametrize("shape", [(8, 24), (24, 8), (16, 16)])
def test_updates_are_nearly_orthogonal_and_keep_their_directions(shape):
    matrix = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    update = orthogonalised(matrix)
    assert update.shape == matrix.shape
    singular = torch.linalg.svdvals(update.float())
    assert singular.min() > 0.5
    assert singular.max() < 1.3
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    turned = torch.diagonal(left.mT @ update @ right.mT, dim1=1, dim2=2)  # singular vectors are kept
    assert (turned > 0.5).all()


def test_other_groups_follow_torch_adamw():
    weights = [torch.ones(5, requires_grad=True), torch.ones(5, requires_grad=True)]
    ours = muon_class()([{"params": [weights[0]], "weight_decay": 0.1}], 0.01, (0.9, 0.95), 1e-8)
    theirs = torch.optim.AdamW([weights[1]], lr=0.01, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)
    generator = torch.Generator().manual_seed(1)
    for _ in range(5):
        gradient = torch.randn(5, generator=generator)
        for weight, optimizer in zip(weights, (ours, theirs), strict=True):
            weight.grad = gradient.clone()
            optimizer.step()
    assert torch.allclose(weights[0], weights[1], atol=1e-7)


def test_matrices_and_turned_matrices_that_share_a_product_move_as_if_each_were_alone():
    generator = torch.Generator().manual_seed(2)
    start = [torch.randn(*shape, generator=generator) for shape in ((8, 24), (24, 8), (8, 24), (8, 8))]
    gradients = [torch.randn(*value.shape, generator=generator) for value in start]

    def moved(groups):
        weights = [value.clone().requires_grad_() for value in start]
        for chosen in groups:
            optimizer = muon_class()(
                [{"params": [weights[i] for i in chosen], "muon": True, "weight_decay": 0.1}], 0.1, (0.9, 0.95), 1e-8
            )
            for i in chosen:
                weights[i].grad = gradients[i]
            optimizer.step()
            optimizer.step()
        return weights

    for weight, alone, begun, gradient in zip(moved([[0, 1, 2, 3]]), moved([[0], [1], [2], [3]]), start, gradients, strict=True):
        assert torch.allclose(weight, alone, atol=2e-3)
        size = 0.1 * 0.2 * max(begun.shape) ** 0.5
        assert torch.allclose(begun - weight, 0.02 * begun + 2 * size * orthogonalised(gradient[None])[0], atol=0.02)


def test_every_parameter_is_in_one_group_and_only_block_matrices_are_turned():
    model = new_llama(SHAPE, 50, (1, 2, 0), seed=0)
    optimizer = muon_for({"model": model}, lr=1e-3, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)
    groups = [{id(value) for value in group["params"]} for group in optimizer.param_groups]
    assert sum(len(group) for group in groups) == len(list(model.parameters()))
    turned = {name for name, value in model.named_parameters() if id(value) in groups[0]}
    assert turned == {name for name, value in model.named_parameters() if ".layers." in name and value.ndim == 2}
    assert id(model.get_input_embeddings().weight) in groups[1]
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.1, 0.0]


def test_the_step_count_is_on_the_device_of_its_parameter_as_fused_kernels_read_it():
    weight = torch.ones(5, device="meta", requires_grad=True)
    weight.grad = torch.ones(5, device="meta")
    optimizer = muon_class()([{"params": [weight]}], 0.01, (0.9, 0.95), 1e-8)
    optimizer.step()
    assert optimizer.state[weight]["step"].device.type == "meta"
    optimizer.load_state_dict({**optimizer.state_dict(), "state": {0: {"step": torch.tensor(3.0)}}})
    assert optimizer.state[weight]["step"].device.type == "meta"
