"""Recipes: every number of a training run, checked and frozen, each with its unit and where it is from."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pydantic
import yaml

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Self = TypeVar("Self", bound="Recipe")


def setting(default: Any, what: str, *, unit: str = "", source: str = "", **limits: Any) -> Any:
    """Declare a recipe's field.

    Parameters
    ----------
    default
        What the paper has, where there is one.
    what : str
        What it does, in a line.
    unit : str
    source : str
        Where the default is from, such as "Liu 2017, section 3"; "" where it is our own choice.
    limits
        pydantic's: ``ge``, ``gt``, ``le``, ``lt`` …
    """
    return pydantic.Field(
        default, description=what, json_schema_extra={"unit": unit, "source": source}, **limits
    )


class Recipe(pydantic.BaseModel):
    """Base of recipes: frozen, and no field that is not known.

    Examples
    --------
    >>> class Mine(Recipe):
    ...     rate: float = setting(0.1, "learning rate", unit="per step", gt=0)
    >>> Mine().changed({"rate": "0.5"}).rate, Mine().fingerprint == Mine(rate=0.1).fingerprint
    (0.5, True)
    """

    model_config = pydantic.ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False
    )

    def changed(self: Self, settings: Mapping[str, Any]) -> Self:
        """Return a copy with other values, by name; those of inner recipes as ``inner.name``.

        Texts are read as YAML: "0.5" is a number, "null" is None. ValueError names what is wrong.
        """
        values = self.model_dump()
        for name, value in settings.items():
            *path, last = name.split(".")
            place: Any = values
            for part in path:
                place = place.get(part) if isinstance(place, dict) else None
            if not isinstance(place, dict) or last not in place:
                raise ValueError(f"{name}: no such setting; {_nearest(name, _names(values))}")
            place[last] = _read(name, value)
        return self.checked(values)

    @classmethod
    def checked(cls: type[Self], values: Mapping[str, Any]) -> Self:
        """Return a recipe of values as a file has them; ValueError says in a line what is wrong."""
        try:
            return cls.model_validate(dict(values))
        except pydantic.ValidationError as error:
            raise ValueError("; ".join(_fault(each) for each in error.errors())) from None

    @classmethod
    def from_file(cls: type[Self], path: str | Path) -> Self:
        """Read a YAML or JSON file of settings; what it does not name keeps its default."""
        try:
            return cls.checked(read_settings(path))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None

    def to_json(self) -> str:
        """Return all settings as JSON, sorted by name."""
        return json.dumps(self.model_dump(mode="json"), indent=2, sort_keys=True) + "\n"

    @property
    def fingerprint(self) -> str:
        """Of all settings: equal recipes have equal ones, in any process."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]

    def rows(self) -> list[dict[str, str]]:
        """Return a row for each setting: name, value, unit, source, and what it does."""
        return list(_rows(self, ""))


def read_settings(path: str | Path) -> dict[str, Any]:
    """Read names and values of a YAML or JSON file."""
    path = Path(path)
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: no YAML: {str(error).splitlines()[0]}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ValueError(f"{path}: got {type(values).__name__}, expected names and values")
    return {str(name): value for name, value in values.items()}


def parsed(pairs: Iterable[str]) -> dict[str, str]:
    """Return settings typed as ``name=value``.

    Examples
    --------
    >>> parsed(["steps=100", "augment.hue=0.1"])
    {'steps': '100', 'augment.hue': '0.1'}
    """
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not (name.strip() and equals):
            raise ValueError(f"--set: got {pair!r}, expected name=value")
        found[name.strip()] = value.strip()
    return found


def _fault(error: Any) -> str:
    """Return what pydantic found in our words."""
    name = ".".join(str(part) for part in error["loc"]) or "recipe"
    return f"{name}: got {error['input']!r}: {error['msg']}"


def _rows(recipe: Recipe, prefix: str) -> Iterable[dict[str, str]]:
    for name, field in type(recipe).model_fields.items():
        value = getattr(recipe, name)
        if isinstance(value, Recipe):
            yield from _rows(value, f"{prefix}{name}.")
            continue
        extra: dict[str, Any] = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        yield {
            "name": prefix + name,
            "value": json.dumps(recipe.model_dump(mode="json")[name], ensure_ascii=False),
            "unit": str(extra.get("unit", "")),
            "source": str(extra.get("source", "")),
            "what": field.description or "",
        }


def _read(name: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError:
        raise ValueError(f"{name}: got {value!r}, which is no YAML value") from None


def _names(values: Mapping[str, Any], prefix: str = "") -> list[str]:
    found = []
    for name, value in values.items():
        found += _names(value, f"{prefix}{name}.") if isinstance(value, dict) else [prefix + name]
    return found


def _nearest(name: str, names: list[str]) -> str:
    import difflib  # noqa: PLC0415  (for errors alone)

    near = difflib.get_close_matches(name, names, 3)
    return (
        f"near it there {'are' if len(near) > 1 else 'is'} {', '.join(near)}" if near else "see recipes show"
    )
