"""A plan as the text of a file that people edit and `read_plans` reads.

What the plan sets comes first. Under it stand the defaults, each behind a `#`, which is all that
must go to set one; so the text also says what there is to be set.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable
from typing import Final

import yaml

from spendstream.api.plans.fields import Field, choices, fields_of, is_model, item_of
from spendstream.api.plans.render import render_field
from spendstream.schemas import Plan

WIDTH: Final = 80
ROOM: Final = WIDTH - 12
"""For an item of a list."""
INDENT: Final = "    "
DEFAULTS: Final = "Defaults. Take the # before one away to set it."


def plan_text(key: str, plan: Plan, about: Iterable[str] = ()) -> str:
    """The file's text, for `read_plans`.

    Args:
        key: a workspace's id, or `default`.
        about: sentences that stand above it as comments.
    """
    # one is always written out: YAML takes a mapping of comments for nothing
    first, *others = fields_of(type(plan))
    said = [first, *(field for field in others if not field.is_default(plan))]
    lines = [comment for sentence in about for comment in comments(sentence)]
    lines += ["plans:", f"  {_scalar(key)}:"]
    for field in said:
        lines += _lines(field, plan)
    defaults = [field for field in others if field not in said]
    if defaults:
        lines += ["", *comments(DEFAULTS, INDENT)]
    for field in defaults:
        lines += _lines(field, plan, "#")
    text = "\n".join(lines).rstrip("\n") + "\n"
    return re.sub(r"\n{3,}", "\n\n", text)


def comments(sentence: str, indent: str = "", mark: str = "# ") -> list[str]:
    """The sentence as comment lines; nothing in it can end the comment."""
    plain = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in sentence)
    prefix = indent + mark
    return textwrap.wrap(
        plain, WIDTH, initial_indent=prefix, subsequent_indent=prefix, break_on_hyphens=False
    )


def flow(value: object) -> str:
    """A list or a mapping in one line."""
    return _dump(value, flow=True, width=10**6).removesuffix("\n")


class _Dumper(yaml.SafeDumper):
    """Lists stand indented, what is no plain text in double quotes; no anchors."""

    def represent(self, data: object) -> None:
        node = self.represent_data(data)
        if self.default_flow_style is None:
            _set_style(node, root=True)
        self.serialize(node)

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: object) -> bool:
        return True


def _set_style(node: yaml.Node, *, root: bool = False) -> None:
    """What holds no list or mapping, and fits, stands in one line; never the fields of a plan."""
    if isinstance(node, yaml.CollectionNode):
        pairs = node.value if isinstance(node, yaml.MappingNode) else [(v,) for v in node.value]
        parts = [part for pair in pairs for part in pair]
        for part in parts:
            _set_style(part)
        flat = all(isinstance(part, yaml.ScalarNode) for part in parts)
        node.flow_style = not root and flat and sum(len(part.value) + 2 for part in parts) <= ROOM


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    tag = "tag:yaml.org,2002:str"
    resolved = dumper.resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
    plain = resolved == tag and text.isprintable()
    return dumper.represent_scalar(tag, text, style=None if plain else '"')


_Dumper.add_representer(str, _text)


def _scalar(text: str) -> str:
    """As a key; the dumper has another form for long ones."""
    return flow([text])[1:-1]


def _dump(value: object, *, flow: bool | None = None, width: int = WIDTH - 5) -> str:
    def dumped(*, unicode: bool) -> str:
        return yaml.dump(
            value, Dumper=_Dumper, default_flow_style=flow, sort_keys=False, width=width,
            allow_unicode=unicode,
        )  # fmt: skip

    text = dumped(unicode=True)
    # what would steer a terminal, or end a line, is written out
    return text if text.replace("\n", "").isprintable() else dumped(unicode=False)


def _lines(field: Field, plan: Plan, mark: str = "") -> list[str]:
    """A field with its comment, beside it where there is room, else above it."""
    lines = _dump({field.written: render_field(field, plan)}).splitlines()
    lines = [INDENT + mark + line if line else line for line in lines]
    told = _told(field)
    if not told:
        return lines
    beside = f"{lines[0]}  # {told}"
    if (len(lines) == 1 or lines[0].endswith(f"{mark}{field.written}:")) and len(beside) <= WIDTH:
        return [beside, *lines[1:]]
    return ["", *comments(told, INDENT), *lines, ""]


def _told(field: Field) -> str:
    """What a field is, and what it takes."""
    item = item_of(field.type)
    parts = ", ".join(map(_part, fields_of(item))) if is_model(item) else ""
    *before, last = choices(field.type) or ("",)
    words = f"{', '.join(before)} or {last}" if before else last
    money = "USD" if field.sort == "money" else ""
    return "; ".join(filter(None, (field.description, money, words, parts and f"each: {parts}")))


def _part(field: Field) -> str:
    """Of what a list holds."""
    words = ", ".join(choices(field.type))
    return f"{field.written} ({words})" if words else field.written
