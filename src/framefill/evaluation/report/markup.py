"""HTML that is escaped by construction: text is escaped when it becomes part of an element, markup is of another type."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

VOID = frozenset({"img", "input", "br", "meta", "source"})  # elements without an end tag
Attributes = Mapping[str, str | int | float | bool | None]


class Markup(str):
    """Text that is HTML already; everything else is escaped on its way into an element."""

    __slots__ = ()


def element(name: str, attributes: Attributes | None = None, *children: str) -> Markup:
    """Return `<name attributes>children</name>` with every child that is not Markup, and every attribute's value, escaped.

    An attribute that is None or False is left out, one that is True stands without a value.
    """
    shown = "".join(_attribute(key, value) for key, value in (attributes or {}).items())
    if name in VOID:
        return Markup(f"<{name}{shown}>")
    return Markup(f"<{name}{shown}>{joined(*children)}</{name}>")


def joined(*children: str) -> Markup:
    """Return the children one after another, each escaped unless it is Markup."""
    return Markup("".join(child if isinstance(child, Markup) else escape(child, quote=True) for child in children))


def _attribute(key: str, value: str | int | float | bool | None) -> str:
    if value is None or value is False:
        return ""
    return f" {key}" if value is True else f' {key}="{escape(str(value), quote=True)}"'
