"""What the installed transformers knows of a model family, read from its source text without importing it.

Importing one configuration class imports torch, which takes seconds; a description must not wait for that.
"""

from __future__ import annotations

import ast
import importlib.util
from functools import lru_cache
from pathlib import Path

ENCODERS = frozenset({
    "albert", "bert", "big_bird", "camembert", "convbert", "data2vec-text", "deberta", "deberta-v2",
    "distilbert", "electra", "ernie", "esm", "eurobert", "flaubert", "fnet", "funnel", "ibert",
    "jina_embeddings_v3", "layoutlm", "longformer", "luke", "megatron-bert", "mobilebert", "modernbert",
    "mpnet", "mra", "nomic_bert", "nystromformer", "perceiver", "rembert", "roberta", "roberta-prelayernorm",
    "roc_bert", "roformer", "splinter", "squeezebert", "xlm", "xlm-roberta", "xlm-roberta-xl", "xmod", "yoso",
})  # fmt: skip
ENCODER_DECODERS = frozenset({
    "bart", "bigbird_pegasus", "blenderbot", "blenderbot-small", "fsmt", "led", "longt5", "m2m_100", "marian",
    "mbart", "mt5", "mvp", "nllb-moe", "pegasus", "pegasus_x", "plbart", "prophetnet", "switch_transformers",
    "t5", "t5gemma", "t5gemma2", "udop", "umt5",
})  # fmt: skip


@lru_cache(maxsize=1)
def _folder() -> Path | None:
    spec = importlib.util.find_spec("transformers")
    places = spec.submodule_search_locations if spec is not None else None
    return Path(next(iter(places))) if places else None


@lru_cache(maxsize=512)
def _parse(path: Path) -> ast.Module | None:
    try:
        return ast.parse(path.read_text(encoding="utf-8"))
    except (OSError, SyntaxError):
        return None


@lru_cache(maxsize=1)
def _mappings() -> dict[str, dict[str, str]]:
    """Return the tables ``CONFIG_MAPPING_NAMES`` and ``SPECIAL_MODEL_TYPE_TO_MODULE_NAME``."""
    folder = _folder()
    tree = _parse(folder / "models" / "auto" / "auto_mappings.py") if folder else None
    tables: dict[str, dict[str, str]] = {}
    for node in tree.body if tree else []:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            tables[node.targets[0].id] = {
                str(item.elts[0].value): str(item.elts[1].value)
                for item in ast.walk(node)
                if isinstance(item, ast.Tuple)
                and len(item.elts) == 2
                and isinstance(item.elts[0], ast.Constant)
                and isinstance(item.elts[1], ast.Constant)
            }
    return tables


def known_family(model_type: str) -> bool:
    """Return whether the installed transformers has this ``model_type``."""
    table = _mappings().get("CONFIG_MAPPING_NAMES", {})
    return model_type in table or model_type == "gpt-sw3"


def _module_name(model_type: str) -> str:
    special = _mappings().get("SPECIAL_MODEL_TYPE_TO_MODULE_NAME", {})
    return special.get(model_type, model_type.replace("-", "_"))


@lru_cache(maxsize=256)
def declared_keys(model_type: str) -> frozenset[str]:
    """Return every key of config.json that this family's configuration class declares or reads.

    These are the annotated fields and attribute aliases of the classes in its ``configuration_*.py`` (and of the
    modules that it imports classes from), and the names that their code asks for as old spellings
    (``kwargs.pop("rope_theta")``).
    """
    folder = _folder()
    if folder is None:
        return frozenset()
    keys = _keys(folder / "configuration_utils.py", "PreTrainedConfig") | _keys(folder / "modeling_rope_utils.py", "")
    module = _module_name("gpt2" if model_type == "gpt-sw3" else model_type)
    todo = sorted((folder / "models" / module).glob("configuration_*.py"))
    done: set[Path] = set()
    while todo:
        path = todo.pop()
        if path in done:
            continue
        done.add(path)
        keys |= _keys(path, "")
        todo.extend(_imported(path))
    return frozenset(keys | {"model_type"})


def _imported(path: Path) -> list[Path]:
    """Return the other configuration modules that a module imports from."""
    tree = _parse(path)
    found = []
    for node in ast.walk(tree) if tree else []:
        if isinstance(node, ast.ImportFrom) and node.level == 2 and node.module and "configuration_" in node.module:
            other = path.parent.parent.joinpath(*node.module.split(".")).with_suffix(".py")
            if other.is_file() and "auto" not in node.module.split("."):
                found.append(other)
    return found


@lru_cache(maxsize=512)
def _keys(path: Path, class_name: str) -> frozenset[str]:
    tree = _parse(path)
    found: set[str] = set()
    for node in tree.body if tree else []:
        if isinstance(node, ast.ClassDef) and class_name in ("", node.name):
            found |= _class_keys(node)
    return frozenset(found)


def _class_keys(node: ast.ClassDef) -> set[str]:
    found: set[str] = set()
    for item in node.body:
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
            if "ClassVar" not in ast.dump(item.annotation):
                found.add(item.target.id)
        elif isinstance(item, ast.Assign) and isinstance(item.value, ast.Dict) and _named(item, "attribute_map"):
            found |= {str(key.value) for key in item.value.keys if isinstance(key, ast.Constant)}
        elif isinstance(item, ast.FunctionDef):
            found |= _asked_for(item)
            if item.name in ("__init__", "__post_init__"):
                found |= {argument.arg for argument in (*item.args.args, *item.args.kwonlyargs)} - {"self"}
    return found


def _named(item: ast.Assign, name: str) -> bool:
    return any(isinstance(target, ast.Name) and target.id == name for target in item.targets)


def _asked_for(function: ast.FunctionDef) -> set[str]:
    """Return the names asked for by ``kwargs.pop("x")``, ``kwargs.get("x")``, ``kwargs["x"]`` and ``"x" in kwargs``."""
    found: set[str] = set()
    for node in ast.walk(function):
        name: ast.expr | None = None
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("pop", "get"):
            if _is_kwargs(node.func.value) and node.args:
                name = node.args[0]
        elif isinstance(node, ast.Subscript) and _is_kwargs(node.value):
            name = node.slice
        elif isinstance(node, ast.Compare) and _is_kwargs(node.comparators[0]):
            name = node.left
        if isinstance(name, ast.Constant) and isinstance(name.value, str):
            found.add(name.value)
    return found


def _is_kwargs(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "kwargs"
