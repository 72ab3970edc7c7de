"""Tasks that lm-eval ships, over a few rows of our own: their YAML files are included, only the data are local."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

WORDS = ["fox", "dog", "tree", "text", "model", "answer", "stage", "number", "token", "jump", "owl", "boat"]
SHORT = 'generation_kwargs: {until: ["\\n", "."], do_sample: false, max_gen_toks: 10}\n'


def tasks_folder() -> Path:
    """Return the folder of the task files that lm-eval ships."""
    spec = find_spec("lm_eval")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "tasks"


def _arc(n: int) -> dict[str, Any]:
    texts = ["the lazy dog", WORDS[n], f"over the {WORDS[-n - 1]} tree", "a"]
    return {
        "question": f"Which {WORDS[n]} jumps over the dog?", "answerKey": "ABCD"[n % 4],
        "choices": {"text": texts, "label": ["A", "B", "C", "D"]},
    }  # fmt: skip


def _hellaswag(n: int) -> dict[str, Any]:
    endings = [f"jumps over the {word}." for word in WORDS[n % 4 : n % 4 + 3]] + ["sleeps [step] under the old tree."]
    return {
        "activity_label": "Jumping", "ctx_a": f"The quick {WORDS[n]} [title] runs.", "ctx_b": "the fox", "endings": endings,
        "label": str(n % 4),
    }  # fmt: skip


def _mmlu(n: int) -> dict[str, Any]:
    return {"question": f" What is the {WORDS[n]}? ", "choices": [f"{WORDS[n]} {k}" for k in "wxyz"], "answer": n % 4}


def _lambada(n: int) -> dict[str, Any]:
    return {"text": f"The quick brown fox jumps over the lazy {WORDS[n]}. The {WORDS[n]} sleeps under the old tree"}


def _wikitext(n: int) -> dict[str, Any]:
    text = f" = The {WORDS[n]} = \n\n The fox 's {WORDS[n]} jumps , and the dog ( old ) sleeps @-@ well . \n"
    return {"page": text * (1 + 4 * (n % 3))}


def _gsm8k(n: int) -> dict[str, Any]:
    return {"question": f"The fox has {n + 3} dogs and {n} trees. How many?", "answer": f"{n + 3} + {n}\n#### {2 * n + 3}"}


def _truthfulqa(n: int) -> dict[str, Any]:
    return {
        "question": f"What does the {WORDS[n]} do?",
        "mc1_targets": {"choices": ["It sleeps.", f"It is a {WORDS[n]}.", "The answer is in the text."], "labels": [1, 0, 0]},
        "mc2_targets": {"choices": ["It sleeps.", "Nothing.", f"It is a {WORDS[n]}."], "labels": [1, 1, 0]},
        "correct_answers": ["It sleeps", "Nothing"], "incorrect_answers": [f"It is a {WORDS[n]}", "The answer"],
    }  # fmt: skip


def _boolq(n: int) -> dict[str, Any]:
    return {"passage": f"The {WORDS[n]} sleeps.", "question": f"does the {WORDS[n]} sleep", "label": n % 2}


def _winogrande(n: int) -> dict[str, Any]:
    sentence = f"The cat sees the {WORDS[n]} because _ sleeps under the tree."
    return {"sentence": sentence, "option1": "the cat", "option2": f"the {WORDS[n]}", "answer": str(n % 2 + 1)}


def _triviaqa(n: int) -> dict[str, Any]:
    return {"question": f"Who is the {WORDS[n]}", "answer": {"aliases": [WORDS[n], f"the {WORDS[n]}"]}}


def _glue(n: int) -> dict[str, Any]:
    return {"sentence1": f"The {WORDS[n]} sleeps.", "sentence2": f"The {WORDS[-n - 1]} sleeps.", "sentence": "The dog.",
            "label": n % 2}  # fmt: skip


def _cb(n: int) -> dict[str, Any]:
    return {"premise": f"The {WORDS[n]} sleeps.", "hypothesis": f"the {WORDS[-n - 1]} sleeps", "label": n % 3}


def _blimp(n: int) -> dict[str, Any]:
    return {"sentence_good": f"The {WORDS[n]} sleeps.", "sentence_bad": f"The {WORDS[n]} sleep."}


def _mutual(n: int) -> dict[str, Any]:
    options = [f"f : the {word} 's tree ." for word in WORDS[n % 4 : n % 4 + 4]]
    return {"article": f"m : where is the {WORDS[n]} ? f :", "options": options, "answers": "ABCD"[n % 4]}


def _translation(n: int) -> dict[str, Any]:
    return {"translation": {"en": f"The {WORDS[n]} sleeps.", "de": f"Der {WORDS[n]} schläft."}}


def _arithmetic(n: int) -> dict[str, Any]:
    return {"context": f"Question: What is {n} + {n}?\nAnswer:", "completion": f" {2 * n}"}


def _cmmlu(n: int) -> dict[str, Any]:
    return {"Question": f"{WORDS[n]}是什么？", "A": "狐狸", "B": "狗", "C": WORDS[n], "D": "树", "Answer": "ABCD"[n % 4]}


SHIPPED: dict[str, tuple[str, Any, str]] = {
    "l_arc": ("arc/arc_easy.yaml", _arc, ""),
    "l_arc_shots": ("arc/arc_easy.yaml", _arc, "num_fewshot: 2\nfewshot_split: train\n"),
    "l_arc_same_split": ("arc/arc_easy.yaml", _arc, "num_fewshot: 3\nfewshot_split: test\n"),
    "l_arc_delimiter": ("arc/arc_easy.yaml", _arc, 'target_delimiter: "\\n"\ndescription: "Choose.\\n\\n"\n'),
    "l_arc_prefix": ("arc/arc_easy.yaml", _arc, 'gen_prefix: "It is"\n'),
    "l_hellaswag": ("hellaswag/hellaswag.yaml", _hellaswag, ""),
    "l_mmlu": ("mmlu/default/_default_template_yaml", _mmlu, "num_fewshot: 2\nfewshot_split: train\n"),
    "l_cmmlu": ("cmmlu/_default_template_yaml", _cmmlu, "num_fewshot: 1\nfewshot_split: train\n"),
    "l_lambada": ("lambada/lambada_openai.yaml", _lambada, ""),
    "l_wikitext": ("wikitext/wikitext.yaml", _wikitext, ""),
    "l_gsm8k": (
        "gsm8k/gsm8k.yaml", _gsm8k,
        'num_fewshot: 2\nfewshot_split: train\ngeneration_kwargs: {until: ["Question:"], do_sample: false, max_gen_toks: 16}\n',
    ),
    "l_repeats": (
        "gsm8k/gsm8k-cot-self-consistency.yaml", _gsm8k,
        "num_fewshot: 0\nrepeats: 3\ngeneration_kwargs: {until: ['Q:'], do_sample: false, temperature: 0, max_gen_toks: 8}\n"
        "filter_list: [{name: maj, filter: [{function: majority_vote}, {function: take_first}]}]\n",
    ),
    "l_mc1": ("truthfulqa/truthfulqa_mc1.yaml", _truthfulqa, ""),
    "l_mc2": ("truthfulqa/truthfulqa_mc2.yaml", _truthfulqa, ""),
    "l_truthful_gen": ("truthfulqa/truthfulqa_gen.yaml", _truthfulqa, SHORT),
    "l_boolq": ("super_glue/boolq/default.yaml", _boolq, ""),
    "l_winogrande": ("winogrande/default.yaml", _winogrande, ""),
    "l_triviaqa": ("triviaqa/default.yaml", _triviaqa, SHORT),
    "l_mrpc": ("glue/mrpc/default.yaml", _glue, ""),
    "l_cola": ("glue/cola/default.yaml", _glue, ""),
    "l_cb": ("super_glue/cb/default.yaml", _cb, ""),
    "l_blimp": ("blimp/_template_yaml", _blimp, ""),
    "l_mutual": ("mutual/mutual.yaml", _mutual, ""),
    "l_wmt": ("translation/wmt16_en-de.yaml", _translation, SHORT),
    "l_arithmetic": ("arithmetic/arithmetic_1dc.yaml", _arithmetic, "process_docs: null\n"),
}  # fmt: skip
"""Name → (file among lm-eval's, row number n, further settings)."""
CORE = ("l_arc", "l_arc_shots", "l_arc_same_split", "l_hellaswag", "l_mmlu", "l_lambada", "l_wikitext", "l_gsm8k", "l_mc1",
        "l_mc2", "l_truthful_gen", "l_boolq", "l_winogrande", "l_triviaqa", "l_mrpc", "l_wmt")  # fmt: skip
CHATTED = ("l_arc", "l_arc_shots", "l_arc_delimiter", "l_arc_prefix", "l_mmlu", "l_gsm8k", "l_triviaqa")


def write(folder: Path) -> Path:
    """Write every task with eight test rows and four rows for examples; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (included, row, settings) in SHIPPED.items():
        rows = [json.dumps(row(n), ensure_ascii=False) + "\n" for n in range(8)]
        shots = [json.dumps(row(n), ensure_ascii=False) + "\n" for n in range(8, 12)]
        (folder / f"{name}.jsonl").write_text("".join(rows), encoding="utf-8")
        (folder / f"{name}.train.jsonl").write_text("".join(shots), encoding="utf-8")
        examples = "" if "fewshot_split" in settings else "fewshot_split: train\n"
        (folder / f"{name}.yaml").write_text(
            f"include: {tasks_folder() / included}\ntask: {name}\ntag: local_tasks\ndataset_path: json\ndataset_name: null\n"
            f"dataset_kwargs: {{data_files: {{test: {name}.jsonl, train: {name}.train.jsonl}}}}\n"
            f"training_split: null\nvalidation_split: null\ntest_split: test\n{examples}{settings}",
            encoding="utf-8",
        )
    return folder
