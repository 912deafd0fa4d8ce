"""``fastwsi train``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastwsi.cli import completing
from fastwsi.cli.failing import failing_in_one_line
from fastwsi.cli.progress import Counter

if TYPE_CHECKING:
    from fastwsi.engine import TrainingRecipe

EXAMPLES = """Examples:

  fastwsi train liu2017 /data/camelyon16 --out run --recipe liu2017-small

  fastwsi train liu2017 slides.csv --out run --set steps=20000 --set seed=1

  fastwsi train liu2017 /data/camelyon16 --out run --resume

  fastwsi train liu2017 /data/camelyon16 --out runs/three --members 3

  torchrun --nproc-per-node 2 -m fastwsi train liu2017 data --out r --devices 2
"""


def train(
    system: Annotated[
        str,
        typer.Argument(
            help="A detector, such as liu2017; `fastwsi recipes list` has all.",
            autocompletion=completing.detectors,
        ),
    ],
    data: Annotated[Path, typer.Argument(help="A data set's folder, or a CSV file of slides.")],
    out: Annotated[Path, typer.Option(help="Folder of the run; made where it is not there.")],
    recipe: Annotated[
        str | None,
        typer.Option(
            help="A recipe by name. Default: the system's own, which is the paper's.",
            autocompletion=completing.recipes,
        ),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file of settings.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A setting; as often as wanted.")
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on from the run's last checkpoint, with its recipe but for --set."),
    ] = False,
    members: Annotated[
        int, typer.Option(min=1, help="Train an ensemble: so many, of seeds that follow each other.")
    ] = 1,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    devices: Annotated[str, typer.Option(help="How many of them, or auto.")] = "auto",
    nodes: Annotated[int, typer.Option(min=1, help="Machines that train together.")] = 1,
    strategy: Annotated[str, typer.Option(help="How devices work together: Lightning's names.")] = "auto",
    seed: Annotated[int | None, typer.Option(min=0, help="Short for --set seed=…")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show nothing but errors.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error comes from.")] = False,
) -> None:
    """Train a detector, and keep the run: settings, logs, curves, checkpoints, and the model itself."""
    from fastwsi.data import recognise  # noqa: PLC0415  (not for --help)
    from fastwsi.detectors import detector  # noqa: PLC0415
    from fastwsi.detectors.ensemble import member_folder  # noqa: PLC0415
    from fastwsi.engine import is_first_rank  # noqa: PLC0415

    with failing_in_one_line(debug=debug):
        kind = detector(system)
        folders = [out] if members == 1 else [member_folder(out, number) for number in range(members)]
        accelerator, count = _accelerator(device), _count(devices)
        found = recognise(data)
        silent, told = quiet or as_json, []
        for number, folder in enumerate(folders):
            begun = folder if resume and (folder / "last.ckpt").exists() else None
            chosen = chosen_recipe(kind, recipe, config, settings or [], seed, begun)
            own = (
                begun is not None and recipe is None and config is None
            )  # the member's recipe, with its seed
            if not own or seed is not None:
                chosen = chosen.changed({"seed": chosen.seed + number})
            made = kind(chosen)
            run = made.fit(
                found, folder, reading=Counter("slides", quiet=silent or not is_first_rank()).once,
                resume=resume, accelerator=accelerator, devices=count, nodes=nodes, strategy=strategy,
                progress=not silent,
            )  # fmt: skip
            told.append(_told(run))
            if not silent and is_first_rank():
                _show(told[-1])
    if as_json and is_first_rank():
        typer.echo(json.dumps(told if members > 1 else told[0], indent=2))


def chosen_recipe(
    kind: Any,
    name: str | None,
    config: Path | None,
    settings: list[str],
    seed: int | None,
    begun: Path | None = None,
) -> TrainingRecipe:
    """Return a recipe by its name, with a file's settings and then single ones.

    ``begun``: the folder of a run to go on with, whose recipe it is where no other is asked for.
    """
    from fastwsi.engine.recipe import parsed, read_settings  # noqa: PLC0415  (not for --help)

    wanted = name or kind.system
    if wanted not in kind.recipes:
        raise ValueError(f"--recipe: got {wanted!r}, expected one of {', '.join(kind.recipes)}")
    recipe: TrainingRecipe = kind.recipes[wanted]
    if begun is not None and name is None and config is None:
        before = read_settings(begun / "recipe.json")
        if before.pop("system", None) != kind.system:
            raise ValueError(f"{begun}: holds no run of {kind.system}")
        recipe = type(recipe).checked(before)
    if config is not None:
        recipe = recipe.changed(read_settings(config))
    changes: dict[str, Any] = parsed(settings)
    if seed is not None:
        changes["seed"] = seed
    return recipe.changed(changes)


def _accelerator(device: str) -> str:
    known = {"auto": "auto", "cpu": "cpu", "cuda": "gpu", "gpu": "gpu"}
    if device not in known:
        raise ValueError(f"--device: got {device!r}, expected auto, cpu or cuda")
    if known[device] == "gpu":
        import torch  # noqa: PLC0415  (not for --help)

        if not torch.cuda.is_available():
            raise ValueError("--device: got cuda, and torch sees no GPU here")
    return known[device]


def _count(devices: str) -> int | str:
    if devices != "auto" and not (devices.isdigit() and int(devices) > 0):
        raise ValueError(f"--devices: got {devices!r}, expected auto or how many")
    return devices if devices == "auto" else int(devices)


def _told(folder: Any) -> dict[str, Any]:
    """Return what came out and where it is, as JSON has it."""
    rows = [
        {"update": int(row["update"]), "validation_auc": row["validation_auc"]}
        for row in folder.rows()
        if "validation_auc" in row
    ]
    return {
        "run": str(folder.path),
        "model": str(folder.path / "model.safetensors"),
        "last": rows[-1] if rows else None,
        "best": max(rows, key=lambda row: row["validation_auc"]) if rows else None,
    }


def _show(told: dict[str, Any]) -> None:
    """Say it."""
    if told["last"] is not None:
        typer.echo(
            "validation AUC {validation_auc:.4f} after {update} updates, ".format(**told["last"])
            + "at best {validation_auc:.4f} after {update}".format(**told["best"])
        )
    typer.echo(told["model"])
