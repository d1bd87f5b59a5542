"""Which methods exist."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import EntryPoint
from typing import ClassVar, Literal

import pytest

from kinocyte.core import registry
from kinocyte.core.errors import ParameterError
from kinocyte.core.method import Method, param


class Disc(Method):
    """Find discs."""

    kind: ClassVar[str] = "segmentation"
    method: Literal["disc"] = "disc"
    channel: str = param(help="Channel to read.")
    radius_um: float = param(5.0, help="Radius.", unit="um", gt=0)


class Ring(Disc):
    """Find rings."""

    method: Literal["ring"] = "ring"  # type: ignore[assignment]  # the selector is what differs


NOT_A_METHOD = "a plain string"


def entry(name: str, target: str) -> EntryPoint:
    return EntryPoint(name=name, value=f"{__name__}:{target}", group=registry.GROUP)


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[EntryPoint]]:
    """Let the entry points of this list, and no others, be installed."""
    found: list[EntryPoint] = []
    monkeypatch.setattr(registry, "entry_points", lambda group: found if group == registry.GROUP else [])
    _forget()
    yield found
    _forget()


def _forget() -> None:
    for remembered in (registry._entries, registry.get, registry.broken):
        remembered.cache_clear()


def test_kinds_and_names_are_sorted(install: list[EntryPoint]) -> None:
    install += [entry("tracking.lap", "X"), entry("segmentation.ring", "Ring"), entry("segmentation.disc", "Disc")]
    assert registry.kinds() == ["segmentation", "tracking"]
    assert registry.names("segmentation") == ["disc", "ring"]
    assert registry.names("statistics") == []


def test_names_import_nothing(install: list[EntryPoint]) -> None:
    install.append(EntryPoint("segmentation.gone", "no_such_package:Gone", registry.GROUP))
    assert registry.names("segmentation") == ["gone"]
    with pytest.raises(ParameterError, match="cannot be imported: No module named 'no_such_package'; reinstall"):
        registry.get("segmentation", "gone")


def test_a_broken_package_takes_no_other_with_it(install: list[EntryPoint]) -> None:
    install += [EntryPoint("segmentation.gone", "no_such_package:Gone", registry.GROUP)]
    install += [entry("segmentation.disc", "Disc"), entry("segmentation.lie", "Disc")]
    assert list(registry.methods("segmentation")) == ["disc"]
    assert set(registry.broken("segmentation")) == {"gone", "lie"}
    assert "no_such_package" in registry.broken("segmentation")["gone"]
    with pytest.raises(ParameterError, match="no_such_package"):
        registry.parse("segmentation", {"method": "gone"})


def test_methods_by_name(install: list[EntryPoint]) -> None:
    install += [entry("segmentation.ring", "Ring"), entry("segmentation.disc", "Disc")]
    assert {n: c.__name__ for n, c in registry.methods("segmentation").items()} == {"disc": "Disc", "ring": "Ring"}
    assert registry.parameters(registry.get("segmentation", "disc")) == ["channel", "radius_um"]


@pytest.mark.parametrize(
    ("name", "target"),
    [("segmentation.ring", "Disc"), ("tracking.disc", "Disc"), ("segmentation.text", "NOT_A_METHOD")],
    ids=["other name", "other kind", "no method"],
)
def test_an_entry_point_that_lies_is_refused(install: list[EntryPoint], name: str, target: str) -> None:
    install.append(entry(name, target))
    with pytest.raises(ParameterError, match="its package declares a wrong entry point"):
        registry.get(*name.split("."))


def test_an_entry_point_without_a_kind_is_refused(install: list[EntryPoint]) -> None:
    install.append(entry("disc", "Disc"))
    with pytest.raises(ParameterError, match=r"must be named '<kind>.<method>'"):
        registry.kinds()


def test_two_packages_with_one_name_are_refused(install: list[EntryPoint]) -> None:
    install += [entry("segmentation.disc", "Disc"), EntryPoint("segmentation.disc", "other:Disc", registry.GROUP)]
    with pytest.raises(ParameterError, match=r"Two packages offer the method 'segmentation\.disc'"):
        registry.names("segmentation")


def test_the_same_entry_point_seen_twice_is_one(install: list[EntryPoint]) -> None:
    """An editable install beside a plain one lists every entry point twice."""
    install += [entry("segmentation.disc", "Disc"), entry("segmentation.disc", "Disc")]
    assert registry.names("segmentation") == ["disc"]


def test_an_unknown_method_names_the_nearest(install: list[EntryPoint]) -> None:
    install += [entry("segmentation.ring", "Ring"), entry("segmentation.disc", "Disc")]
    with pytest.raises(ParameterError, match=r"no segmentation method 'disk'; did you mean 'disc'\? valid: disc, ring"):
        registry.get("segmentation", "disk")


def test_a_table_becomes_a_model(install: list[EntryPoint]) -> None:
    install.append(entry("segmentation.disc", "Disc"))
    disc = registry.parse("segmentation", {"method": "disc", "channel": "dapi"})
    assert repr(disc) == "Disc(channel='dapi')"
    assert registry.parse("segmentation", {"channel": "dapi"}, default="disc") == disc


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ({"channel": "dapi"}, "A segmentation table needs the key 'method'; valid: disc."),
        ({"method": 3}, "A segmentation table needs the key 'method'"),
        ({"method": "disc"}, "segmentation 'disc' needs the parameter 'channel'."),
        (
            {"method": "disc", "channel": "dapi", "radius": 3},
            "has no parameter 'radius'; did you mean 'radius_um'? valid: channel, radius_um",
        ),
        ({"method": "disc", "channel": "dapi", "radius_um": -3}, "radius_um = -3 is refused"),
    ],
)
def test_a_wrong_table_is_refused_in_one_sentence(
    install: list[EntryPoint], table: dict[str, object], sentence: str
) -> None:
    install.append(entry("segmentation.disc", "Disc"))
    with pytest.raises(ParameterError) as refused:
        registry.parse("segmentation", table)
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)


def test_every_mistake_of_a_table_is_named(install: list[EntryPoint]) -> None:
    install.append(entry("segmentation.disc", "Disc"))
    with pytest.raises(ParameterError) as refused:
        registry.parse("segmentation", {"method": "disc", "radius": 1, "radius_um": 0})
    for part in ("'channel'", "'radius'", "radius_um = 0"):
        assert part in str(refused.value)


def test_our_own_methods_are_found() -> None:
    assert {kind: dict(registry.broken(kind)) for kind in registry.kinds() if registry.broken(kind)} == {}
    assert "threshold" in registry.names("segmentation")
    assert "lap" in registry.names("tracking")
