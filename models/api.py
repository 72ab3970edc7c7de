"""The Python face of Triptych: open a checkpoint, look into it, ask it. What "Copy as Python" writes is written for this.

Example::

    from models.api import open_checkpoint

    checkpoint = open_checkpoint("assets/checkpoints/sft")
    print(checkpoint.generate("Who founded Velmora?", chat=True).text)
    pattern = checkpoint.attention("The fox jumps", layer=1, head=0).matrix
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from models.api_residual import ResidualStream
from models.api_within import Within
from models.columns import Column, Sampler
from models.events import Work, finish
from models.opened import OpenModel
from models.operations import attention, continuing, embeddings, questioning, sampling, tensors, tokens
from models.operations._asked import traced
from models.records.attention import AttentionGrid, AttentionHead, AttentionPair, HeadCost
from models.records.beams import BeamTree
from models.records.chain import SamplerChain
from models.records.checkpoints import Description
from models.records.divergence import Divergence
from models.records.embeddings import Analogy, Drift, Neighbours, PositionTable, Projection
from models.records.hallucination import QuestionAnswer
from models.records.samples import SampleSet
from models.records.sampling import Distribution, Generation
from models.records.tensors import TensorDetail, TensorList, TensorStatistics, WeightChanges
from models.records.tokens import TokenStrip
from models.records.vocabulary import Encoded, Rendered, VocabularyRows
from models.shelf import Shelf
from models.trace import Trace


@dataclass(frozen=True)
class Checkpoint(Within):
    """An open checkpoint. Every method prompts it plainly unless it takes ``chat`` or the column says otherwise."""

    column: Column
    opened: OpenModel
    shelf: Shelf

    @property
    def description(self) -> Description:
        """What its files say of it."""
        return self.opened.description

    def trace(self, text: str, target: str = "") -> Trace:
        """Return one forward over a text: residual stream, queries, keys and values of every layer (torch tensors)."""
        _opened, _prepared, trace = finish(traced(self.shelf, self.column, text, target))
        found: Trace = trace
        return found

    @property
    def residual(self) -> ResidualStream:
        """Its residual stream: lens, norms, attribution, neurons, edits."""
        return ResidualStream(self.column, self.shelf)

    def tokens(self, text: str, target: str = "", write: int = 0) -> TokenStrip:
        """Return a text as tokens with surprisal, entropy (nats) and rank of each; with ``write`` the model goes on first."""
        return finish(tokens.tokens(self.shelf, self.column, text, target, write))

    def encode(self, text: str) -> Encoded:
        """Return a text as the tokenizer cuts it; the model is not run."""
        return finish(tokens.encode(self.shelf, self.column, text))

    def render(self, messages: Sequence[Mapping[str, str]]) -> Rendered:
        """Return messages as the model is given them: text, tokens, which are the template's, warnings."""
        return finish(tokens.render(self.shelf, self.column, tuple(messages)))

    def vocabulary(self, query: str = "", **options: Any) -> VocabularyRows:
        """Return entries of the vocabulary.

        Args:
            query: ``#12`` an id, ``/…/`` a regular expression, else letters in the token.
            **options: ``sort`` (id, text, characters, bytes, norm, indicator), ``descending``, ``start``, ``count``,
                ``suspects``.
        """
        return finish(tokens.vocabulary(self.shelf, self.column, query, **options))

    def attention(
        self, text: str, layer: int, head: int, kind: str = "", target: str = "", weighted: bool = False
    ) -> AttentionHead:
        """Return one head's pattern; ``kind`` is self, encoder, decoder or cross (empty: the first there is).

        ``weighted``: each weight times ‖f(x)‖, the norm of what its key adds to the residual stream.
        """
        return finish(attention.attention(self.shelf, self.column, text, layer, head, kind, (), target, weighted))

    def attention_pair(  # noqa: PLR0913 - all but three have a usual value
        self, text: str, layer: int, head: int, query: int = -1, key: int = 0, kind: str = "", target: str = ""
    ) -> AttentionPair:
        """Return the vectors of one query and one key (token places) of a head, their score and weight."""
        asked = attention.attention_pair(self.shelf, self.column, text, layer, head, query, key, kind, target)
        return finish(asked)

    def head_cost(self, text: str, layer: int, head: int, kind: str = "", target: str = "") -> HeadCost:
        """Return the mean surprisal of a text (nats per token) with one head's output set to zero, and without that."""
        return finish(attention.head_cost(self.shelf, self.column, text, layer, head, kind, target))

    def heads(self, text: str, kind: str = "", target: str = "") -> AttentionGrid:
        """Return all heads at a glance, with their statistics."""
        return finish(attention.attention_grid(self.shelf, self.column, text, kind, target))

    def distribution(self, text: str, top: int = 50, position: int = -1, target: str = "") -> Distribution:
        """Return the distribution after a token of a text (at a mask, for an encoder), the last by default."""
        return finish(sampling.distribution(self.shelf, self.column, text, position, top, target))

    def sampler(  # noqa: PLR0913 - all but the first are named
        self, text: str, chain: str, top: int = 50, *, position: int = -1, path: Sequence[int] = (),
        presets: Mapping[str, str] | None = None, seed: int = 0, target: str = "",
    ) -> SamplerChain:  # fmt: skip
        """Return a prediction before, within and after a sampler chain such as ``"top_k=40,min_p=0.05,temperature=0.7"``.

        Args:
            text: The text after which (in which) the next token is predicted.
            chain: Stages by commas, applied from left to right (``models.chain``).
            top: How many tokens are listed.
            position: After which token; −1 for the last.
            path: Token ids put behind that token.
            presets: Name → chain of others, to see what they would choose.
            seed: What the draws of ``outcomes`` use.
            target: What the decoder of an encoder-decoder is given.
        """
        column = replace(self.column, sampler=Sampler(seed=seed, chain=chain))
        others = tuple((presets or {}).items())
        work = sampling.sampler_chain(self.shelf, column, text, position, tuple(path), others, top, target)
        return finish(work)

    def generate(self, prompt: str | Sequence[Mapping[str, str]], chat: bool = False, **sampler: Any) -> Generation:
        """Continue a prompt, or answer messages.

        Args:
            prompt: A text, or messages ``{"role", "content"}``.
            chat: Whether a text is one user message of the checkpoint's own chat template.
            **sampler: Fields of ``Sampler``: temperature, top_k, top_p, max_new_tokens, seed, chain.
        """
        column = replace(self.column, sampler=replace(self.column.sampler, **sampler))
        if not isinstance(prompt, str):
            return finish(sampling.generate(self.shelf, column, tuple(prompt)))
        column = replace(column, prompt="template" if chat else column.prompt)
        return finish(sampling.generate(self.shelf, column, prompt=prompt))

    def beams(  # noqa: PLR0913 - all but the first two are named
        self, text: str, num_beams: int = 4, *, max_new_tokens: int = 16, length_penalty: float = 1.0,
        early_stopping: bool = False, position: int = -1, path: Sequence[int] = (), target: str = "",
    ) -> BeamTree:  # fmt: skip
        """Return a beam search from a place in a text as the tree of all its candidates, with transformers' scores."""
        named = {
            "num_beams": num_beams, "max_new_tokens": max_new_tokens, "length_penalty": length_penalty,
            "early_stopping": early_stopping, "position": position, "path": tuple(path), "target": target,
        }  # fmt: skip
        return finish(continuing.beams(self.shelf, self.column, text, **named))  # type: ignore[arg-type]

    def samples(self, text: str, n: int = 8, *, position: int = -1, path: Sequence[int] = (), **sampler: Any) -> SampleSet:
        """Return ``n`` answers to one text, answer i with seed + i, and how much they differ; ``sampler`` as in ``generate``."""
        column = replace(self.column, sampler=replace(self.column.sampler, **sampler))
        return finish(continuing.draw_samples(self.shelf, column, text, n, position, tuple(path)))

    def question(self, text: str, n: int = 8, chat: bool = False, **named: Any) -> QuestionAnswer:
        """Return the greedy answer to a question, ``n`` drawn ones, their meanings, and every score of how sure that is.

        ``chat`` renders the question by the chat template even of a base model. ``named``: ``temperature``,
        ``max_new_tokens``, ``seed``, ``clustering`` (exact or lexical).
        """
        column = replace(self.column, prompt="template" if chat else self.column.prompt)
        return finish(questioning.question(self.shelf, column, text, n, **named))

    def divergence(self, other: Checkpoint, text: str, target: str = "") -> Divergence:
        """Return KL and Jensen–Shannon divergence from this to another checkpoint at every token of a text, in nats."""
        from models.divergence import Side, compare

        sides = []
        for one in (self, other):
            opened, prepared, trace = finish(traced(one.shelf, one.column, text, target))
            sides.append(Side(one.column.name, opened, prepared, None if opened.kind == "encoder" else trace))
        return finish(compare(sides[0], sides[1]))

    def score(self, context: str, continuation: str) -> tuple[float, bool]:
        """Return (ln p of the continuation given the context in nats, whether it is what greedy decoding gives).

        Context and continuation are encoded together and then split, a trailing space of the context going to the
        continuation, as lm-eval does; an empty context is BOS (EOS without one).
        """
        from models.scoring import score

        pair = pair_ids(self.opened, context, continuation)
        return finish(score(self.opened, [pair]))[0]

    def neighbours(
        self, token: int | str, k: int = 12, metric: str = "cosine", source: str = "input", **named: Any
    ) -> Neighbours:
        """Return the nearest rows of the input or output embedding matrix, or of other rows (by number), exactly.

        ``named``: fields of ``RowsAsked`` (layer, place, text, file, field) for hidden states and positions.
        """
        rows, _plane = embeddings.asked(source=source, **named)
        return finish(embeddings.neighbours(self.shelf, self.column, token, metric, k, rows=rows))

    def analogy(
        self, plus: Sequence[int | str], minus: Sequence[int | str] = (), k: int = 12, exclude: bool = True, **named: Any
    ) -> Analogy:
        """Return the rows nearest to a sum, such as ``analogy(["king", "woman"], ["man"])``.

        ``named``: ``metric`` and ``source`` as ``neighbours`` has them.
        """
        return finish(embeddings.analogy(self.shelf, self.column, tuple(plus), tuple(minus), k=k, exclude=exclude, **named))

    def project(self, method: str = "pca", together: Sequence[Checkpoint] = (), **named: Any) -> Projection:
        """Return embeddings, or hidden states of a text, in a plane.

        Args:
            method: pca, pacmap, tsne, umap or axes.
            together: Checkpoints that share the plane, this one among them, in the order of the window's columns.
            **named: Fields of ``RowsAsked`` (source, layer, place, text, file, field) and of ``PlaneAsked`` (components,
                seed, neighbours, spread, axes, align).
        """
        rows, plane = embeddings.asked(method=method, **named)
        others = [(checkpoint.shelf, checkpoint.column) for checkpoint in together]
        if not others:
            return finish(embeddings.points(self.shelf, (self.column,), rows, plane, 0, 0, 0))
        return finish(embeddings.points_of(others, rows, plane, [c is self for c in together].index(True)))

    def drift(self, since: Checkpoint, align: str = "joint", metric: str = "euclidean", top: int = 200, **named: Any) -> Drift:
        """Return what moved from another checkpoint to this one.

        Args:
            since: The earlier checkpoint.
            align: joint (as they are) or procrustes (this one is first rotated onto the earlier).
            metric: What the list is sorted by: euclidean or cosine.
            top: How many rows are listed.
            **named: ``k``, ``sample``, ``seed`` of the overlap score, and fields of ``RowsAsked``.
        """
        own = {name: named.pop(name) for name in ("k", "sample", "seed") if name in named}
        rows, _plane = embeddings.asked(**named)
        pair = ((since.shelf, since.column), (self.shelf, self.column))
        return finish(embeddings.drift_between(pair, rows, align=align, metric=metric, top=top, **own))

    def positions(self) -> PositionTable:
        """Return how the model knows positions: a table, or rotary angles."""
        return finish(embeddings.positions(self.shelf, self.column))

    def tensors(self) -> TensorList:
        """Return every tensor of its files: name, shape, type, bytes, component."""
        return finish(tensors.tensor_list(self.shelf, self.column.checkpoint))

    def tensor_statistics(self) -> TensorStatistics:
        """Return mean, std, minimum, maximum and shares of NaN, infinities and zeros of every tensor of its files."""
        return finish(tensors.tensor_statistics(self.shelf, self.column.checkpoint))

    def tensor(self, name: str, slice: int = 0, against: str = "") -> TensorDetail:
        """Return one matrix of a tensor as a picture with its histogram; minus that of the checkpoint ``against``."""
        return finish(tensors.tensor(self.shelf, self.column.checkpoint, name, slice, (), against))

    def changes(self, before: str) -> WeightChanges:
        """Return what it changed in the weights of the checkpoint at ``before``, tensor by tensor."""
        return finish(tensors.tensor_changes(self.shelf, before, self.column.checkpoint))

    def close(self) -> None:
        """Free its memory."""
        self.shelf.close(self.column.checkpoint)


def pair_ids(opened: OpenModel, context: str, continuation: str) -> tuple[list[int], list[int]]:
    """Return (context ids, continuation ids) of two texts as lm-eval pairs them; for an encoder-decoder each by itself."""
    from models.prompts import tokenizer_of
    from models.scoring import prefix_token
    from models.tokens import encode_plain

    tokenizer = tokenizer_of(opened)
    if opened.kind == "encoder-decoder":
        return encode_plain(tokenizer, context), encode_plain(tokenizer, continuation)
    if not context:
        return [prefix_token(opened)], encode_plain(tokenizer, continuation, add_special=False)
    kept = context.rstrip()
    continuation = context[len(kept) :] + continuation
    whole, before = encode_plain(tokenizer, kept + continuation), encode_plain(tokenizer, kept)
    return before, whole[len(before) :]


def open_checkpoint(
    path: str, device: str = "auto", dtype: str = "auto", quantize: str = "", sampler: Sampler | None = None, **variant: Any
) -> Checkpoint:
    """Open a checkpoint: a Hugging Face folder, a PEFT adapter folder, a GGUF file.

    Args:
        path: Where it is.
        device: auto, cpu, mps, cuda or cuda:N.
        dtype: auto, float32, bfloat16 or float16.
        quantize: Empty, int8 or int4.
        sampler: Default decoding settings.
        **variant: What stands around every text, as fields of ``Column``: ``prompt="template"`` (one user message of its
            chat template) with ``system``, ``adapter=False`` (switched off; 0.5: half of
            what it adds), ``exact`` (token ids given as they are).

    Raises:
        UserError: If it cannot be opened, with the reason and what to do.
    """
    column = Column(path, device=device, dtype=dtype, quantize=quantize, sampler=sampler or Sampler(), **variant)
    return finish(_open(column, Shelf()))


def _open(column: Column, shelf: Shelf) -> Work[Checkpoint]:
    opened = yield from shelf.open(column)
    return Checkpoint(column, opened, shelf)
