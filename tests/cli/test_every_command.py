"""What all commands have in common: examples that run, options of the same names, completion."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from fastwsi import detectors
from fastwsi.cli import app
from fastwsi.detectors.registry import OURS
from fastwsi.slides import synthetic_slide, write_slide

runner = CliRunner()
TREE = get_command(app)


def commands(node=TREE, path=()):
    """Every command, by its words after ``fastwsi``."""
    if not hasattr(node, "commands"):
        return {" ".join(path): node}
    return {
        name: command
        for key, child in node.commands.items()
        for name, command in commands(child, (*path, key)).items()
    }


COMMANDS = commands()


def examples():
    """Each line of the commands' help that begins with ``fastwsi``, or ends in it, as words."""
    for name, command in COMMANDS.items():
        for line in (command.epilog or "").splitlines():
            for part in line.split("&&"):
                words = shlex.split(part.partition(">")[0])
                if "fastwsi" in words:
                    yield name, words[words.index("fastwsi") + 1 :]


EXAMPLES = list(examples())


def test_the_commands_of_the_front_page():
    assert COMMANDS.keys() >= {
        *(
            "synth",
            "train",
            "predict",
            "evaluate",
            "info",
            "thumbnail",
            "tissue",
            "normalize",
            "doctor",
            "demo",
        ),
        *("data check", "export camelyon16", "recipes list", "recipes show"),
    }


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_examples_of_the_command(name):
    shown = runner.invoke(app, [*name.split(), "--help"], env={"COLUMNS": "80", "TERMINAL_WIDTH": "80"})
    assert shown.exit_code == 0
    lines = [line.strip() for line in shown.output.splitlines()]
    for line in (COMMANDS[name].epilog or "").splitlines():
        assert "fastwsi" not in line or line.strip() in lines, "it is broken in two: nobody could paste it"
    assert "Examples:" in shown.output
    assert [words for of, words in EXAMPLES if of == name and words[: len(name.split())] == name.split()]


@pytest.mark.parametrize(("name", "words"), EXAMPLES, ids=str)
def test_examples_are_understood(name, words):
    """Options, numbers of arguments, choices and ranges, as the command itself reads them."""
    node, context = TREE, None
    while hasattr(node, "commands"):
        node, context, words = (
            node.commands[words[0]],
            node.make_context(words[0], [], resilient_parsing=True),
            words[1:],
        )
    parsed = node.make_context(node.name, list(words), parent=context)
    assert parsed.params


@pytest.mark.parametrize("name", COMMANDS)
def test_options_that_all_have(name):
    flags = {flag for option in COMMANDS[name].params for flag in option.opts}
    wanted = {"--debug", "--json"}
    if not name.startswith("recipes"):  # which do nothing but print
        wanted |= {"--quiet", "-q"}
    if name in ("train", "predict", "demo"):
        wanted |= {"--device"}
    if name in ("train", "synth", "demo", "evaluate"):  # where something is drawn
        wanted |= {"--seed"}
    if name in ("train", "predict"):
        wanted |= {"--set", "--config"}
    assert wanted <= flags
    assert all(option.help for option in COMMANDS[name].params if option.name != "help")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder in which the examples' files are: ``slide.svs``, and a data set in ``slides``."""
    folder = tmp_path_factory.mktemp("examples")
    done = runner.invoke(
        app,
        [
            "synth",
            str(folder / "slides"),
            "--slides",
            "4",
            "--test",
            "2",
            "--size",
            "700x600",
            "--mpp",
            "1.5",
            "-q",
        ],
    )
    assert done.exit_code == 0, done.output
    write_slide(folder / "a.svs", synthetic_slide(4, size=(900, 700), mpp=1.0), mpp=1.0)
    write_slide(folder / "slide.svs", synthetic_slide(3, size=(900, 700), mpp=1.0), mpp=1.0)
    return folder


RUN = ("info", "thumbnail", "tissue", "normalize", "recipes list", "recipes show", "doctor", "data check")


def test_examples_run(place, monkeypatch):
    """Those that take seconds, one after the other, as a reader would paste them."""
    monkeypatch.chdir(place)
    ran = set()
    for name, words in EXAMPLES:
        there = [str(place / "slides") if word == "/data/camelyon16" else word for word in words]
        if (
            name not in RUN
            or name != " ".join(words[: len(name.split())])
            or {"/data/pcam", "slides.csv"} & {*words}
        ):
            continue
        done = runner.invoke(app, there)
        assert done.exit_code == 0, (words, done.output)
        if "--json" in words:
            json.loads(done.stdout)
        ran.add(name)
    assert ran == {*RUN}
    assert sorted(path.name for path in (place / "normalized").iterdir()) == [
        f"{name}_{number:03}.tif"
        for name in ("normal", "test", "tumor")
        for number in ((1, 2) if name == "test" else (1,))
    ]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("fastwsi th", "thumbnail"),
        ("fastwsi train liu", "liu2017"),
        ("fastwsi recipes show liu2017-s", "liu2017-small"),
        ("fastwsi train liu2017 slides --recipe liu2017-d", "liu2017-demo"),
    ],
)
def test_completion(words, offered):
    told = {"_FASTWSI_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    done = runner.invoke(app, [], env=told, prog_name="fastwsi")
    assert done.output.split() == [offered]


def test_recipes_that_are_offered_are_those_that_there_are():
    for row in OURS:
        assert row.recipes == tuple(detectors.detector(row.name).recipes), row.name


def test_completion_can_be_shown():
    # Which shell is asked for is otherwise told by the process that called.
    told = {**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    command = [sys.executable, "-m", "fastwsi", "--show-completion", "bash"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=told)
    assert "_COMPLETE=complete_bash" in done.stdout


def test_help_loads_nothing_heavy():
    """Help comes at once: neither torch nor Lightning nor OpenCV is imported for it."""
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom fastwsi.cli import app\n"
        "assert CliRunner().invoke(app, ['normalize', '--help']).exit_code == 0\n"
        "print(sorted({'torch', 'lightning', 'cv2', 'openslide'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_error_with_debug_is_raised(tmp_path):
    plain = runner.invoke(app, ["thumbnail", str(tmp_path / "none.svs"), str(tmp_path / "a.png")])
    assert (plain.exit_code, plain.output.count("\n")) == (1, 1)
    assert plain.output.startswith("error: ")
    raised = runner.invoke(app, ["thumbnail", str(tmp_path / "none.svs"), str(tmp_path / "a.png"), "--debug"])
    assert "there is no such file" in str(raised.exception)
    assert not isinstance(raised.exception, SystemExit)


def test_synth_tells_in_json(tmp_path):
    done = runner.invoke(
        app, ["synth", str(tmp_path / "a"), "--slides", "1", "--size", "600x500", "--mpp", "1.5", "--json"]
    )
    told = json.loads(done.stdout)
    assert (told["slides"], told["test"], told["layout"]) == (1, 0, "camelyon16")
    assert len([*(tmp_path / "a").rglob("*.tif")]) == 1


def typed(*words, before="pass"):
    """What a shell would see."""
    script = (
        f"import sys; {before}; sys.argv = ['fastwsi', *sys.argv[1:]]; from fastwsi.cli import main; main()"
    )
    return subprocess.run(
        [sys.executable, "-c", script, *words], capture_output=True, text=True, check=False, timeout=120
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["predict"], "error: Missing argument 'MODEL'. See fastwsi predict --help.\n"),
        (["predict", "--foo"], "error: No such option: --foo"),
        (["demo", "--size", "huge"], "error: Invalid value for '--size'"),
        (["nonsense"], "error: No such command 'nonsense'. See fastwsi --help.\n"),
    ],
)
def test_what_is_typed_wrong_is_told_in_one_line(words, message):
    done = typed(*words)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.lower().startswith(message.lower())


def test_a_broken_installation_is_told_in_one_line():
    missing = "sys.modules['tifffile'] = None"
    done = typed("info", "slide.svs", before=missing)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "tifffile" in done.stderr
    assert done.stderr.endswith("fastwsi doctor says what is missing\n")
    assert "Traceback" in typed("info", "slide.svs", "--debug", before=missing).stderr
    assert typed("doctor", "--json", before=missing).stdout.startswith("{")


def test_without_a_command_all_are_shown():
    done = typed()
    assert "predict" in done.stdout + done.stderr
