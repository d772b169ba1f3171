"""Data flow one way: who may import whom, and who stays free of Paddle."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

import imageclef_vqa

PACKAGE = Path(imageclef_vqa.__file__).parent
FOR_ALL = {
    "artefacts",
    "ascend",
    "devices",
    "environment",
    "errors",
    "files",
    "inputs",
    "locks",
    "progress",
    "statistics",
    "workspace",
    "__version__",
}
MAY_IMPORT = {
    "editions": set(),
    "data": {"editions"},
    "synthetic": {"editions"},
    "pretraining": {"editions", "data", "synthetic", "models", "checkpoints", "training"},
    "models": set(),
    "checkpoints": {"models"},
    "planning": {"models"},
    "training": {"editions", "data", "models", "checkpoints", "planning"},
    "inference": {"editions", "data", "models", "checkpoints", "planning", "training", "evaluation"},
    "explanations": {"editions", "data", "models", "training", "inference"},
    "experts": {"editions", "data", "models", "checkpoints", "planning", "training"},
    "evaluation": {"editions"},
    "routing": {"editions", "evaluation"},
    "submission": {"editions"},
    "doctor": {"data", "models", "checkpoints"},
    "pipeline": {
        *("editions", "data", "synthetic", "models", "checkpoints", "planning", "training", "inference", "experts"),
        *("evaluation", "routing", "submission", "explanations"),
    },
    "cli": {
        *("editions", "data", "synthetic", "models", "checkpoints", "planning", "training", "inference"),
        *("evaluation", "routing", "submission", "doctor", "pipeline", "explanations"),
    },
}
WITHOUT_PADDLE = (
    "editions",
    "data",
    "synthetic",
    "routing",
    "evaluation",
    "submission",
    "planning",
    "doctor",
    "pipeline",
    "cli",
)


# Inside `models`, from the sizes up to the whole.
MODELS_MAY_IMPORT = {
    "configs": set(),
    "presets": {"configs"},
    "combinations": {"configs", "presets"},
    "resnet34": {"configs"},
    "activations": set(),
    "dropout": set(),
    "attention": {"dropout"},
    "encoder": {"configs"},
    "vision": {"configs", "activations", "attention", "dropout", "encoder"},
    "engine": set(),
    "efficientnet": {"configs", "encoder", "engine"},
    "encoders": {"configs", "encoder", "vision", "efficientnet"},
    "qformer": {"configs", "activations", "attention", "dropout"},
    "pretraining_heads": {"configs", "activations"},
    "language": {"configs", "activations", "attention", "dropout"},
    "blip2": {"presets", "encoders", "qformer", "language"},
}

# Inside `submission`: formats and checks share `run` and do not know each other.
SUBMISSION_MAY_IMPORT = {
    "run": set(),
    "manifest": {"run"},
    "sentences": {"run"},
    "explanations": {"run"},
    "template": set(),
    "wheel": set(),
    "formats": {"run"},
    "checks": {"run", "manifest", "sentences"},
}
ROOMS = {"models": MODELS_MAY_IMPORT, "submission": SUBMISSION_MAY_IMPORT}


def imported_names(nodes: Iterable[ast.AST], path: Path) -> set[str]:
    """The full names of what import statements among `nodes` import."""
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = node.module or ""
            names |= {f"{module}.{alias.name}" for alias in node.names} if module == "imageclef_vqa" else {module}
    return names


def imported_parts(path: Path) -> set[str]:
    """The parts of this package that a file imports, wherever in the file."""
    names = imported_names(ast.walk(ast.parse(path.read_text(encoding="utf-8"))), path)
    return {name.split(".")[1] for name in names if name.startswith("imageclef_vqa.")}


def test_every_folder_has_a_line_in_the_table():
    assert {path.parent.name for path in PACKAGE.glob("*/__init__.py")} == set(MAY_IMPORT)


@pytest.mark.parametrize("part", MAY_IMPORT)
def test_a_layer_imports_only_those_below_it(part):
    for path in (PACKAGE / part).rglob("*.py"):
        beyond = imported_parts(path) - {part} - FOR_ALL - MAY_IMPORT[part]
        assert not beyond, f"{path.relative_to(PACKAGE)} imports {beyond}"


@pytest.mark.parametrize("room", ROOMS)
def test_every_part_of_a_room_has_a_line_in_its_table(room):
    assert {
        path.stem for path in (PACKAGE / room).iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    } - {"__init__"} == set(ROOMS[room])


@pytest.mark.parametrize(("room", "part"), [(room, part) for room, parts in ROOMS.items() for part in parts])
def test_inside_a_room_a_part_is_loaded_with_those_below_it(room, part):
    file, prefix = PACKAGE / room / f"{part}.py", f"imageclef_vqa.{room}."
    for path in [file] if file.exists() else (PACKAGE / room / part).rglob("*.py"):
        names = imported_names(ast.walk(ast.parse(path.read_text(encoding="utf-8"))), path)
        parts = {name.removeprefix(prefix).split(".")[0] for name in names if name.startswith(prefix)}
        assert parts <= ROOMS[room][part] | {part}, path


def test_paddlenlp_is_imported_in_one_module():
    importing = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if re.search(r"^\s*(from|import) paddlenlp\b", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert importing == {"models/language/paddlenlp.py"}


OF_PADDLENLP = """
import sys
from imageclef_vqa.models.language import paddlenlp as taken
assert not {"fastapi", "datasets", "paddlenlp.trainer"} & set(sys.modules)
from paddlenlp.transformers import AutoModel, T5ForConditionalGeneration
assert T5ForConditionalGeneration is taken.T5ForConditionalGeneration
from paddlenlp.data import *
assert Pad is sys.modules["paddlenlp.data.collate"].Pad
import paddlenlp
assert paddlenlp.Taskflow and paddlenlp.transformers.t5.modeling.T5Stack is taken.T5Stack
"""


def test_what_is_not_needed_of_paddlenlp_is_imported_when_a_user_asks_for_it():
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", OF_PADDLENLP], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_no_code_asks_which_language_family_it_has():
    asking = re.compile(r"isinstance\([^)]*\b(T5|GLM|T5Config|GLMConfig|GLMTokenizer)\b")
    for path in PACKAGE.rglob("*.py"):
        assert not asking.search(path.read_text(encoding="utf-8")), path


def test_what_all_may_import_imports_no_layer():
    for name in FOR_ALL - {"__version__"}:
        assert imported_parts(PACKAGE / f"{name}.py") <= FOR_ALL


WITHOUT = """
import importlib, json, sys
sys.modules["paddle"] = sys.modules["paddlenlp"] = None
failed = {}
for module in sys.argv[1:]:
    try:
        importlib.import_module(module)
    except ImportError as error:
        failed[module] = str(error)
print(json.dumps(failed))
"""


@pytest.fixture(scope="module")
def failed_without_paddle():
    """Module → why it cannot be imported where Paddle cannot, for the modules of all light layers."""
    modules = [
        ".".join(("imageclef_vqa", *path.relative_to(PACKAGE).with_suffix("").parts))
        for part in WITHOUT_PADDLE
        for path in sorted((PACKAGE / part).rglob("*.py"))
        if path.stem != "__init__"
    ]
    done = subprocess.run([sys.executable, "-c", WITHOUT, *modules], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("part", WITHOUT_PADDLE)
def test_a_light_layer_can_be_imported_where_paddle_cannot(failed_without_paddle, part):
    assert not {module: why for module, why in failed_without_paddle.items() if module.split(".")[1] == part}


def test_nothing_is_ever_unpickled():
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert "allow_pickle=True" not in text, path
        for node in ast.walk(ast.parse(text)):
            names = [alias.name for alias in getattr(node, "names", []) if isinstance(alias, ast.alias)]
            module = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {"pickle", "joblib", "dill", "shelve"} & {n.split(".")[0] for n in names + module}, path
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                assert (node.value.id, node.attr) != ("paddle", "load"), path
