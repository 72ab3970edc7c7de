"""Records for the tests of views and widgets, made by hand (no engine)."""

from dataclasses import replace

import numpy as np

from models.columns import Column
from models.records.attention import AttentionGrid, AttentionHead, AttentionPair, HeadCost
from models.records.attribution import Attribution, Neurons
from models.records.beams import BeamSequence, BeamTree
from models.records.chain import Outcome, SamplerChain, StageResult
from models.records.checkpoints import Description
from models.records.curves import TrainingRun, TrainingStep
from models.records.divergence import Divergence
from models.records.embeddings import Analogy, Drift, Neighbours, PlaneFacts, PointValues, Projection
from models.records.endpoints import EndpointCheck
from models.records.evaluations import (
    CellProgress,
    ItemAnswer,
    ItemDetail,
    ItemPage,
    ItemRow,
    Receipt,
    RunProgress,
    TaskName,
    TaskNames,
)
from models.records.interventions import Effect
from models.records.lens import Lens, LensDifference, Norms
from models.records.samples import DrawnSample, SampleSet, statistics_of
from models.records.sampling import Distribution, Generation, Step
from models.records.scores import Cell, Comparison, Job
from models.records.tensors import TensorDetail, TensorList, TensorStatistics, WeightChanges, place_of
from models.records.tokens import Token, TokenStrip
from models.records.vocabulary import Encoded, Rendered, VocabularyRows

TEXT = "The capital of Veltria is Ombra 🙂.\nEs heißt 中文。"
COLUMNS = tuple(Column(f"/models/demo/{name}", label=name) for name in ("pretrain", "sft", "ppo", "dpo"))


def words(text):
    """Split a text into words with the space before them, a newline alone; one emoji becomes four byte tokens."""
    pieces, start = [], 0
    for i in range(1, len(text) + 1):
        if i == len(text) or text[i] in " \n🙂.。" or ord(text[i]) > 0x2E80 or text[i - 1] in "\n🙂":
            pieces.append((start, i))
            start = i
    return pieces


def tokens(text, bos=True):
    found = [Token(1, "", "<s>", b"", -1, -1, special=True)] if bos else []
    for group, (start, end) in enumerate(words(text)):
        piece = text[start:end]
        if piece.strip() == "🙂":
            raw = piece.encode()
            found += [Token(200 + b, "", f"<0x{b:02X}>", bytes([b]), start, end, group=group) for b in raw]
        else:
            found.append(Token(10 + sum(piece.encode()) % 900, piece, piece.replace(" ", "Ġ"), piece.encode(), start, end))
    return tuple(found)


def token_strip(text=TEXT, seed=0, bos=True):
    made = tokens(text, bos)
    random = np.random.default_rng(seed)
    surprisal = random.gamma(1.2, 2.0, len(made)).astype(np.float32)
    entropy = random.gamma(2.0, 1.0, len(made)).astype(np.float32)
    rank = random.geometric(0.2, len(made)).astype(np.int32) - 1
    surprisal[0] = entropy[0] = np.nan
    rank[0] = -1
    return TokenStrip(text, made, surprisal, entropy, rank, "BOS <s> added by the tokenizer; nats; each token once")


def grid(layers=4, heads=4, n=12, seed=0, kinds=("self",)):
    random = np.random.default_rng(seed)
    patterns = np.stack([np.stack([pattern(n, random) for _ in range(heads)]) for _ in range(layers)])
    labels = tuple(f"t{i}" for i in range(n))
    entropy = -np.nansum(np.where(patterns > 0, patterns * np.log(np.maximum(patterns, 1e-9)), 0), -1).mean(-1)
    place = np.arange(n)
    distance = (patterns * np.abs(place[:, None] - place[None])).sum(-1).mean(-1)
    previous = patterns[:, :, np.arange(1, n), np.arange(n - 1)].mean(-1)
    return AttentionGrid(labels, labels, patterns.astype(np.float16), entropy.astype(np.float32), distance.astype(np.float32),
                         patterns[..., 0].mean(-1).astype(np.float32), previous.astype(np.float32),
                         random.random((layers, heads)).astype(np.float32), random.random((layers, heads)).astype(np.float32),
                         kinds[0], kinds, repeats=3)  # fmt: skip


def pattern(n, random):
    logits = random.normal(0, 1.5, (n, n)) + 4 * random.random() * np.eye(n, k=-1)
    logits[:, 0] += 3 * random.random()
    logits[np.triu_indices(n, 1)] = -np.inf
    exp = np.exp(logits - logits.max(1, keepdims=True))
    return exp / exp.sum(1, keepdims=True)


def head(layer=1, number=2, n=12, seed=0, region=(), labels=(), pooled=1):
    matrix = pattern(n, np.random.default_rng(seed + 10 * layer + number)).astype(np.float32)
    area = tuple(region) or (0, n * pooled, 0, n * pooled)
    labels = tuple(labels) or tuple(f"t{i * pooled}" for i in range(n))
    names = labels, labels
    if region:
        matrix = matrix[region[0] : region[1], region[2] : region[3]]
        names = labels[region[0] : region[1]], labels[region[2] : region[3]]
    return AttentionHead(layer, number, "self", matrix, *names, area, pooled)


def pair(layer=1, number=2, query=5, key=3, seed=0, width=16):
    random = np.random.default_rng(seed)
    q, k = random.normal(0, 1, (2, width)).astype(np.float32)
    return AttentionPair(layer, number, "self", query, key, f"t{query}", f"t{key}", q, k, 0.25, float(q @ k) / 4, 0.4, 1.5)


def cost(layer=1, number=2, cost=0.1):
    return HeadCost(layer, number, "self", 2.5, 2.5 + cost, 11)


def distribution(seed=0, k=40, position=5, temperature=1.0):
    random = np.random.default_rng(seed)
    logits = np.sort(random.normal(0, 2.5, 300))[::-1]
    p = np.exp(logits) / np.exp(logits).sum()
    q = np.exp(logits / temperature)
    q = np.where(np.arange(300) < 12, q, 0)
    q /= q.sum()
    order = random.permutation(k) if seed < 0 else np.arange(k)
    texts = tuple(f" word{i}" if i else "\n" for i in order)
    entropies = [float(-(x[x > 0] * np.log(x[x > 0])).sum()) for x in (p, q)]
    shown = (p[:k].astype(np.float32), q[:k].astype(np.float32))
    return Distribution(np.arange(k) + 100, texts, *shown, *entropies, position, 300, 12, 3)


def sampler_chain(seed=0, k=40, chain="top_k=12,temperature=0.5", presets=(), path=()):
    own = distribution(seed, k, temperature=0.5)
    cut = np.where(np.arange(k) < 12, own.probabilities, 0).astype(np.float32)
    stages = []
    for n, text in enumerate(chain.split(",") if chain else ()):
        after = cut / cut.sum() if n == 0 else own.sampled
        removed = (np.arange(112, 115), (" <b>bold</b>", " x", "\n"), np.array([0.02, 0.01, 0.005], np.float32))
        gone = (288, 0.08, *removed) if n == 0 else (0, 0.0, np.zeros(0, np.int64), (), np.zeros(0, np.float32))
        stages.append(StageResult(text, True, after, 1.9 - 0.3 * n, 12, *gone, 100, own.texts[0], float(after[0])))
    outcomes = [Outcome("chain", chain, "", 100, own.texts[0], 0.4, 101, own.texts[1], 0.2, 1.6, 12)]
    outcomes += [Outcome(name, c, "", 100, own.texts[0], 0.3, 102, own.texts[2], 0.1, 2.0, 300) for name, c in presets]
    return SamplerChain(own, chain, tuple(stages), tuple(outcomes), tuple(path), tuple(f" t{id}" for id in path))


def beam_tree(seed=0):
    random = np.random.default_rng(seed)
    parents = np.array([-1, 0, 0, 0, 1, 1, 2, 4, 4, 5], np.int32)
    states = np.array([1, 1, 1, 0, 1, 1, 0, 2, 0, 2], np.uint8)
    logprobs = -random.gamma(2.0, 1.0, 10).astype(np.float32)
    totals = logprobs.copy()
    for n in range(1, 10):
        totals[n] += totals[parents[n]] if parents[n] > 0 else 0
    texts = ("", " the", " <b>a", "\n", " cat", " dog", " x", ".", ",", "!")
    sequences = tuple(
        BeamSequence(text, ids, float(totals[node]) / 3, float(totals[node]), node, True)
        for text, ids, node in ((" the cat.", (1, 4, 7), 7), (" the dog!", (1, 5, 9), 9))
    )
    return BeamTree(parents, np.arange(-1, 9), texts, logprobs, totals, states, sequences, 2, 1.0, 3, "plain")


def sample_set(n=3):
    found = tuple(DrawnSample(i, i, f" answer <b>{i}</b>", (4, 5, 6 + i % 2), "eos", -4.0 - i) for i in range(n))
    return SampleSet(found, statistics_of(found), "plain; seed 0")


def divergence(text=TEXT):
    strip = token_strip(text)
    values = {}
    for n, name in enumerate(("kl", "kl_back", "js", "surprisal_first", "surprisal_second")):
        values[name] = np.random.default_rng(n).gamma(1.0, 0.2, len(strip.tokens)).astype(np.float32)
        values[name][0] = np.nan
    agree = np.ones(len(strip.tokens), np.uint8)
    return Divergence("pretrain", "sft", strip.tokens, agree=agree, n_vocab=300, convention="plain", **values)


def steps(text=" The capital is Ombra.", seed=0):
    random = np.random.default_rng(seed)
    so_far, made = "", []
    for index, (start, end) in enumerate(words(text)):
        so_far += text[start:end]
        p = float(random.random())
        alternatives = (text[start:end], " <b>bold</b>", " other")
        shares = np.array([p, (1 - p) / 2, 0.01], np.float32)
        surprisal, rank = -np.log(max(p, 1e-6)), int(5 * (1 - p))
        made.append(
            Step(index, 20 + index, text[start:end], p, surprisal, 1.5, rank, so_far, np.arange(3), alternatives, shares)
        )
    return made


def generation(text=" The capital is Ombra.", stop="eos"):
    return Generation(text, tuple(range(5)), stop, 0.4, 17, 1.25, 0, "template of the tokenizer; temperature 1; seed 0")


def projection(column, n=400, seed=0):
    random = np.random.default_rng(seed)
    xy = np.concatenate([random.normal((-2, 0), 0.7, (n // 2, 2)), random.normal((2, 1), 0.9, (n - n // 2, 2))])
    return Projection(column, xy.astype(np.float32), tuple(f" word{i}" for i in range(n)), np.arange(n, dtype=np.int32),
                      np.linalg.norm(xy, axis=1).astype(np.float32), "pca", "input", (0.31, 0.17), "",
                      (np.arange(n) % 8).astype(np.uint8), np.zeros(n, np.int32), ("PC 1", "PC 2"), 0, n)  # fmt: skip


def dataclass_part(whole, start, stop):
    """Return a part of a projection, as it travels."""
    span = slice(start, stop)
    return replace(whole, xy=whole.xy[span], labels=whole.labels[span], ids=whole.ids[span], norms=whole.norms[span],
                   kinds=whole.kinds[span], groups=whole.groups[span], start=start)  # fmt: skip


def plane(column, n=400, part=40_000):
    return PlaneFacts(column, n, part, "pca", "input", (0.31, 0.17), ("PC 1", "PC 2"), (-5.0, 5.0, -3.0, 4.0), "", 4)


def neighbours(column, query=" word7", seed=0):
    scores = np.sort(np.random.default_rng(seed).random(12))[::-1].astype(np.float32)
    return Neighbours(column, query, "cosine", np.arange(12), tuple(f" near{i}" for i in range(12)), scores, np.arange(12))


def analogy(column):
    scores = np.linspace(0.9, 0.3, 12).astype(np.float32)
    return Analogy(column, ("+ king", "+ woman", "− man"), np.ones(3, np.float32), 1.2, np.full(3, 0.5, np.float32), True, True,
                   "cosine", np.arange(12), tuple(f" word{i}" for i in range(12)), scores)  # fmt: skip


def drift(a, b, n=20):
    far = np.linspace(3, 0.1, n).astype(np.float32)
    places = np.stack([np.arange(n), np.arange(n)], axis=1).astype(np.int32)
    return Drift(a, b, tuple(f" word{i}" for i in range(n)), places, far, 1 - far / 10, np.full(n, 0.5, np.float32), 10, 0.8,
                 0.75, 0.85, 100, 400, 0.2, 0.1, "joint", "id")  # fmt: skip


def point_values(name, n=400):
    return PointValues(name, np.linspace(0, 1, n).astype(np.float32), (), 0, n)


EMBEDDINGS = {
    "project": lambda asked, column: tuple(plane(c.name) for c in asked["columns"]),
    "points": lambda asked, column: projection(asked["columns"][asked["index"]].name, seed=asked["index"]),
    "drift": lambda asked, column: drift(*(c.name for c in asked["columns"])),
    "analogy": lambda asked, column: analogy(asked["column"].name),
    "point_values": lambda asked, column: point_values(asked["name"]),
    "neighbours": lambda asked, column: neighbours(asked["column"].name, seed=column),
}


BENCHMARKS = (("world_perplexity", "word_perplexity", False), ("world_questions", "exact_match", True),
              ("world_unknown", "hallucination_rate", False), ("world_translation", "bleu", True))  # fmt: skip


def cells(names=("pretrain", "sft", "ppo")):
    made = []
    for b, (benchmark, metric, up) in enumerate(BENCHMARKS):
        for c, name in enumerate(names):
            value = (30.0 - 4 * c if metric == "word_perplexity" else 0.05 + 0.28 * c) * (1 + 0.1 * b)
            value = float("nan") if (b, c) == (3, 0) else value
            made.append(Cell(name, name, benchmark, metric, value, value * 0.93, value * 1.08, 240, up, 2 if b == 1 else 0, 0, 7,
                             "bleu|nrefs:1|tok:zh", f"run-{name}", "done", f"/models/demo/{name}"))  # fmt: skip
    return tuple(made)


def comparisons(names=("pretrain", "sft", "ppo")):
    return tuple(
        Comparison(b, m, names[0], name, 0.2, 0.1, 0.3, 0.004, 240, 41, 7) for b, m, _ in BENCHMARKS for name in names[1:]
    )


def item_row(i, names):
    outcomes = tuple(("good", "bad", "other")[(i + place) % 3] for place in range(len(names)))
    answers = tuple({"good": "Ombra", "bad": "Verda <b>bold</b>", "other": "I do not know."}[kind] for kind in outcomes)
    scores = tuple(float(kind == "good") for kind in outcomes)
    prompt = f"Question {i}: what is the capital of <b>Veltria</b>?"
    return ItemRow(f"world_questions-test-{i}", prompt, "Ombra", answers, outcomes, scores)


def item_page(params, n=60):
    names = tuple(name for name, _run, _task in params["places"])
    start, count = params["start"], params["count"]
    rows = tuple(item_row(i, names) for i in range(start, min(start + count, n)))
    return ItemPage(names, 0, start, rows, n, n, (0, *(20 for _ in names[1:])), (0, *(3 for _ in names[1:])))


def item_detail(params):
    names = [name for name, _run, _task in params["places"]]
    row = item_row(int(params["doc_id"].rpartition("-")[2]), names)
    answers = tuple(
        ItemAnswer(name, answer, score, "correct" if kind == "good" else "wrong", kind, f"<|user|>{row.prompt}<|end|>", True,
                   metrics={"exact_match": f"{score:g}"})
        for name, answer, kind, score in zip(names, row.answers, row.outcomes, row.scores, strict=True)
    )  # fmt: skip
    return ItemDetail(row.doc_id, row.prompt, row.target, {"language": "en", "type": "fact"}, answers)


def run_progress():
    cells = (CellProgress("pretrain", "world_questions", "done", 60, 60, 12.0, 0.0),
             CellProgress("sft", "world_questions", "running", 30, 60, 6.0, 6.0),
             CellProgress("ppo", "world_questions", "queued", left=12.0))  # fmt: skip
    return RunProgress("/runs/job-1", cells, 18.0)


def receipt():
    rows = (("Score", "value", "0.25"), ("Score", "convention", "exact_match|case:mixed"), ("Identity", "weights", "ab" * 32))
    return Receipt("sft · world_questions · exact_match", rows)


def task_names(query):
    known = (TaskName("world_questions", "ours", "Questions"), TaskName("arc_easy", "task"), TaskName("mmlu", "group"))
    found = tuple(one for one in known if query in one.name)
    return TaskNames(query, found, len(found))


def endpoint_check(fields, tasks):
    if not fields.url or not fields.models:
        return EndpointCheck(problem="An endpoint needs its address and the name of the model.")
    likely = tuple(name for name in tasks if "perplexity" in name or name == "arc_easy")
    far = f"endpoint:{fields.url}{'/chat' if fields.chat else ''}/completions#{fields.models}"
    problem = "world_perplexity need log-likelihoods, which a chat endpoint does not give." if fields.chat and likely else ""
    note = "Without a key, as local servers take it (OPENAI_API_KEY is not set)."
    return EndpointCheck((far,), f"tokenizer={fields.tokenizer}" if fields.tokenizer else "", problem, note, likely)


def job(state="running", done=30, total=100):
    return Job("job-1", "/runs/job-1", "eval", "Evaluate 3 checkpoints", state, done, total, "world_questions", 0.0, 12.0,
               ("triptych", "eval", "/models/demo/sft"))  # fmt: skip


def training_job(state="done"):
    return Job("/runs/train-1", "/runs/train-1", "train", "train <b>quick</b>", state, 40, 40, "", 0.0, 30.0,
               ("triptych", "train", "quick.yaml", "--output", "/runs/train-1"))  # fmt: skip


def training_run(state="done", n=40, seed=0):
    random = np.random.default_rng(seed)
    names = ("loss", "grad_norm", "objective/kl", "objective/entropy", "verdict/<b>correct</b>")
    values = np.abs(random.normal(1, 0.2, (n, len(names)))).astype(np.float32) / np.linspace(1, 2, n)[:, None].astype(np.float32)
    values[3, 1] = np.nan
    step = TrainingStep("ppo", "ppo", state, names, np.arange(1, n + 1), values, ~np.isfinite(values), n, n, 12.0, {"lr": "0.1"})
    return TrainingRun("/runs/train-1", "train <b>quick</b>", state, (step,), ("triptych", "train", "quick.yaml"))


def description(name="sft", template="{{ messages }}", kind="decoder", unavailable=None):
    return Description(name, f"/models/demo/{name}", "llama", "LlamaForCausalLM", kind, chat_template=template,
                       unavailable=unavailable or {})  # fmt: skip


LAYERS = [f"model.layers.{n}.{module}.weight" for n in range(3) for module in ("mlp.up_proj", "self_attn.q_proj")]
TENSORS = ("model.embed_tokens.weight", *LAYERS, "model.norm.weight", "odd.<b>bold</b> \u202egnp.weight")


def tensor_list(path="/models/demo/sft"):
    shapes = tuple((8,) if "norm" in name else (40, 8) for name in TENSORS)
    parts = tuple("norm" if "norm" in name else "embedding" if "embed" in name else "mlp" for name in TENSORS)
    n_bytes = np.array([4 * int(np.prod(shape)) for shape in shapes], np.int64)
    return TensorList(path, TENSORS, shapes, ("F32",) * len(TENSORS), n_bytes, parts, ("model.safetensors",) * len(TENSORS),
                      {"lm_head.weight": TENSORS[0]}, {"hidden_size": "8", "name": path}, (), len(TENSORS))  # fmt: skip


def tensor_statistics(names=TENSORS, seed=0):
    random = np.random.default_rng(seed)
    values = [random.normal(size=len(names)).astype(np.float32) for _ in range(4)]
    shares = [np.zeros(len(names), np.float32) for _ in range(3)]
    shares[0][-1] = 0.25
    return TensorStatistics(tuple(names), *values, *shares)


def tensor_detail(name=TENSORS[0], path="/models/demo/sft", other="", seed=0):
    matrix = np.random.default_rng(seed).normal(size=(40, 8)).astype(np.float32)
    matrix[3, 4] = np.nan
    rows, columns = np.indices(matrix.shape, dtype=np.int32)
    counts, edges = np.histogram(matrix[np.isfinite(matrix)], bins=21)
    return TensorDetail(path, name, "F32", (40, 8), 0, 1, (), 40, 8, False, (0, 40, 0, 8), matrix, rows, columns,
                        counts.astype(np.int64), edges.astype(np.float32), tensor_statistics((name,)), other)  # fmt: skip


def weight_changes(first, second, seed=0):
    random = np.random.default_rng(seed)
    places = [place_of(name) for name in TENSORS]
    relative, ones = random.gamma(1.0, 0.1, len(TENSORS)).astype(np.float32), np.ones(len(TENSORS), np.float32)
    return WeightChanges(first, second, TENSORS, np.array([p[0] for p in places], np.int32), tuple(p[1] for p in places),
                         relative, relative * 2, 1 - relative**2, ones, ("gone.weight",))  # fmt: skip


def encoded(text=TEXT, seed=0):
    found = tokens(text)
    if seed % 2:  # another tokenizer: single characters
        found = tuple(Token(30 + i, letter, letter, letter.encode(), i, i + 1) for i, letter in enumerate(text))
    return Encoded(text, found, 300, "<s> added in front")


def rendered(messages, seed=0):
    text = "".join(f"<{m['role']}>{m['content']}" for m in messages)
    found = tokens(text)
    own = np.arange(len(found)) % 3 == 0
    return Rendered(text, found, own, "the template", ("Odd <b>role</b>.",) * seed)


def vocabulary_rows(start=0, count=400, total=1000, seed=0):
    ids = np.arange(start, min(start + count, total), dtype=np.int32)
    texts = tuple(f" word{i} <b>" for i in ids)
    shares = np.random.default_rng(seed).random((2, len(ids))).astype(np.float32)
    lengths = np.array([len(text) for text in texts], np.int32)
    return VocabularyRows(start, total, 5000, ids, texts, texts, lengths, lengths, shares[0], shares[1], shares[1] < 0.02,
                          ids < 3, "suspects: lowest 2 %", 7)  # fmt: skip


ANSWERS = {
    "items": lambda want: item_page(want.params),
    "item": lambda want: item_detail(want.params),
    "evaluations": lambda want: (run_progress(),),
    "receipt": lambda want: receipt(),
    "task_names": lambda want: task_names(want.params["query"]),
    "endpoint_check": lambda want: endpoint_check(want.params["fields"], want.params["tasks"]),
    "encode": lambda want: encoded(want.params["text"], want.column),
    "render": lambda want: rendered(want.params["messages"], want.column),
    "vocabulary": lambda want: vocabulary_rows(want.params["start"], want.params["count"], seed=want.column),
    "describe": lambda want: description(),
    "attention_pair": lambda want: pair(*(want.params[name] for name in ("layer", "head", "query", "key")), seed=want.column),
    "head_cost": lambda want: cost(want.params["layer"], want.params["head"], 0.1 + 0.1 * want.column),
    "tensor_list": lambda want: tensor_list(want.params["path"]),
    "tensor_statistics": lambda want: tensor_statistics(seed=want.column),
    "tensor": lambda want: tensor_detail(want.params["name"], want.params["path"], want.params.get("other", ""), want.column),
    "tensor_changes": lambda want: weight_changes(want.params["first"], want.params["second"], want.column),
}
"""Operation → what the engine could answer to a want."""


def lens(text=TEXT, region=(), seed=0, layers=4):
    """A lens of random numbers over the tokens of a text."""
    shown = tuple(token.text for token in tokens(text))
    start, end = (region[0], min(region[1], len(shown))) if region else (0, len(shown))
    random, shape = np.random.default_rng(seed), (layers + 1, end - start)
    pieces = ("<b>bold</b>", " the", " Ombra", "\u202ex", "\n")
    top = random.integers(0, len(pieces), (*shape, 3)).astype(np.int32)
    p = np.sort(random.random((*shape, 3)).astype(np.float32), axis=-1)[..., ::-1] / 2
    numbers = [random.gamma(1.0, 2.0, shape).astype(np.float32) for _ in range(5)]
    rows = ("embed", *(f"L{n}" for n in range(layers)))
    return Lens(shown[start:end], rows, pieces, top, top + 5, p, shown[start + 1 : end + 1] + ("",) * (end == len(shown)),
                np.clip(numbers[0] / 20, 0, 1), np.floor(numbers[1]), numbers[2], numbers[3], numbers[4], start, len(shown), "",
                "blocks", (3,) * layers)


def lens_difference(text=TEXT, region=(), layers=4):
    one = lens(text, region, 1, layers)
    return LensDifference(one.tokens, one.rows, one.entropy, one.cross_entropy, one.kl_final, one.start, one.n_tokens)


def norms(text=TEXT, region=(), layers=4):
    one = lens(text, region, 2, layers)
    return Norms(one.tokens, one.entropy, one.entropy[1:], np.full_like(one.entropy[1:], np.nan), one.kl_final[1:], one.start)


def attribution(position=3, token=17, seed=0, layers=4):
    random = np.random.default_rng(seed)
    heads, mlps = random.normal(size=(layers, 3)).astype(np.float32), random.normal(size=layers).astype(np.float32)
    total = float(heads.sum() + mlps.sum()) + 0.5
    return Attribution(position, (token,), ("<b>bold</b>",), heads, np.zeros((0, 0), dtype=np.float32), mlps,
                       np.zeros(layers, dtype=np.float32), 0.5, 0.0, 0.0, 0.0, 0.0, total, total, False, (0.25,))


def neurons(layer=0, position=3, k=6):
    values = np.linspace(2, -1, k).astype(np.float32)
    words = tuple((" the", " Ombra", "x") for _ in range(k))
    return Neurons(layer, position, (17,), (" the",), np.arange(k), values, values * 0.5, words, words, 1.5, 512)


def effect(text=TEXT, position=3, k=6):
    shown = tuple(token.text for token in tokens(text))
    before = np.linspace(0.5, 0.01, k).astype(np.float32)
    return Effect(position, np.arange(k), tuple(f" w{n}" for n in range(k)), before * 3, before * 2, before, before[::-1].copy(),
                  np.linspace(0, 1, len(shown)).astype(np.float32), shown, 1.0, 1.5)


ANSWERS |= {
    "lens": lambda want: lens(want.params["text"], want.params["region"], want.column),
    "lens_difference": lambda want: lens_difference(want.params["text"], want.params["region"]),
    "norms": lambda want: norms(want.params["text"], want.params["region"]),
    "attribution": lambda want: attribution(want.params["position"], seed=want.column),
    "neurons": lambda want: neurons(want.params["layer"], want.params["position"]),
    "effect": lambda want: effect(want.params["text"], want.params["position"]),
}


def votes(last=None):
    from models.records.votes import Tally, Votes

    return Votes("/home/votes.jsonl", 3, (Tally("pretrain", "sft", "helpful", 1, 2, 0, 2 / 3, 0.21, 0.94),), last or {})


def scored_answer(answer, column=0):
    before, own = tokens("Who?"), tokens(answer, bos=False)
    whole = (*before, *own)
    surprisal = np.linspace(0.1, 3.0, len(whole)).astype(np.float32) + column
    k = 2
    return TokenStrip("Who?" + answer, whole, surprisal, surprisal, np.zeros(len(whole), np.int32), "as scored",
                      np.ones((len(whole), k), np.int32), np.full((len(whole), k), 0.4, np.float32),
                      ("<b>x</b>", "y") * len(whole), len(before))  # fmt: skip


ANSWERS |= {
    "votes": lambda want: votes(),
    "vote": lambda want: votes(want.params["vote"]),
    "score_answer": lambda want: scored_answer(want.params["answer"], want.column),
}
