"""Several checkpoints opened at once, as the engine does for the columns of the window."""

import torch

from models.columns import Column
from models.library import load


def test_checkpoints_opened_at_once_get_their_own_weights_and_ties(tiny):
    folders = [tiny("gpt2", seed) for seed in (0, 1, 2)]  # input and output embeddings are one matrix
    alone = [_finish({0: load(Column(str(folder)))})[0] for folder in folders]
    for _round in range(3):
        together = _finish({i: load(Column(str(folder))) for i, folder in enumerate(folders)})
        for i, opened in together.items():
            model = opened.model
            assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
            for name, value in alone[i].model.state_dict().items():
                assert torch.equal(value, model.state_dict()[name]), name


def _finish(works):
    """Run pieces of work in turns, one step each, and return their results."""
    results = {}
    while works:
        for key, work in list(works.items()):
            try:
                next(work)
            except StopIteration as end:
                results[key] = end.value
                del works[key]
    return results
