"""Registries of components: folders of this package, and entry points of other packages.

A component is a module with a class `Settings`, a section whose tag field (a Literal with one value) is the
component's name. Within this package it is `wsss.{room}.{name}.settings`; another package declares an entry point of
the registry's group that names such a module. A new component needs no edit elsewhere.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib import import_module, metadata, util
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Union, get_args

from pydantic import Field

from wsss.config.common import Section


class Registry:
    """The components of one kind.

    group: the group of entry points, e.g. `wsss.methods`. package: the package whose folders with a settings.py are
    components. tag: the field of `Settings` that holds the component's name.
    """

    def __init__(self, group: str, package: str, tag: str) -> None:
        self.group, self.package, self.tag = group, package, tag

    @cached_property
    def modules(self) -> Mapping[str, ModuleType]:
        """Name → the module that holds the component's settings.

        Raises:
            ValueError: two components have one name, or an entry point has no `Settings`.
        """
        found: dict[str, ModuleType] = {}
        for name in self.places:
            module = import_module(name)
            key = tag_of(self._settings(module), self.tag)
            if key in found and found[key] is not module:
                raise ValueError(f"{self.group}: '{key}' occurs twice, in {found[key].__name__} and {name}")
            found[key] = module
        return dict(sorted(found.items()))

    @cached_property
    def places(self) -> Sequence[str]:
        """The names of the modules that hold components' settings."""
        return [*self._own(), *(point.value for point in metadata.entry_points(group=self.group))]

    def _own(self) -> list[str]:
        locations = util.find_spec(self.package).submodule_search_locations
        packages = (info.name for info in pkgutil.iter_modules(locations) if info.ispkg)
        there = (name for name in packages if any((Path(root) / name / "settings.py").is_file() for root in locations))
        return [f"{self.package}.{name}.settings" for name in there]

    def _settings(self, module: ModuleType) -> type[Section]:
        settings = getattr(module, "Settings", None)
        if not (isinstance(settings, type) and issubclass(settings, Section)):
            raise ValueError(f"{self.group}: {module.__name__} holds no class Settings that is a wsss Section")
        return settings

    def __getitem__(self, name: str) -> ModuleType:
        """The component's settings module.

        Raises:
            ValueError: no component has that name.
        """
        if name not in self.modules:
            raise ValueError(f"{self.tag} '{name}': there is none; accepted are {', '.join(self.modules)}")
        return self.modules[name]

    def union(self, role: str = "Settings") -> Any:
        """The type of a setting that is any component's class named `role`: a union discriminated by the tag."""
        members = tuple(getattr(module, role) for module in self.modules.values() if hasattr(module, role))
        if len(members) == 1:
            return members[0]
        return Annotated[Union[members], Field(discriminator=self.tag)]  # noqa: UP007


def tag_of(settings: type[Section], tag: str) -> str:
    """The component's name: the one value of its settings' tag field."""
    return get_args(settings.model_fields[tag].annotation)[0]


METHODS = Registry("wsss.methods", "wsss.methods", "name")
REFINEMENTS = Registry("wsss.refinements", "wsss.refine", "method")
SOURCES = Registry("wsss.sources", "wsss.data.sources", "dataset")
FORMATS = Registry("wsss.formats", "wsss.data.formats", "format")


def component_packages() -> list[str]:
    """The packages that hold components: this one, and those of others."""
    return sorted({name.split(".")[0] for kind in (METHODS, REFINEMENTS, SOURCES, FORMATS) for name in kind.places})
