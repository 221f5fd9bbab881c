"""Plans as people write them: a YAML file, money in USD, every mistake reported at once.

```yaml
plans:
  default:
    credit: "10.00"
  ws-1:
    credit: 25
    overage: true
    markup_percent: "12.5"
    counted_cost: reported
    prices:
      - {provider: openai, model: gpt-4o, valid_from: 2026-01-01, prices: {input: "3"}}
    thresholds: [{percent: 80, severity: warning}, {percent: 100, severity: exceeded}]
    limits:
      - {name: requests a minute, measure: requests, window: minute, amount: 60, action: warn}
      - {name: monthly spend, measure: charge, window: month, amount: "100.00", action: block}
```

`default` is the plan of every workspace that has none of its own; a workspace that the file does
not name keeps the plan it has. Money is a whole number or a quoted decimal: an unquoted `10.10` is
a float before anyone can look at it, and 10.10 has no exact float. So is a markup. A plan's own
prices are written as the operator's are (`schemas/README.md`). How each field is written, `fields`
says; `text` writes such a file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from spendstream.api.plans.parse import parse
from spendstream.api.plans.render import render
from spendstream.api.yaml_file import YamlError, kind, load_yaml, read_text
from spendstream.schemas import Plan
from spendstream.schemas.fields import Name
from spendstream.schemas.mistakes import path, place_and_reason

DEFAULT: Final = "default"

_NAME: Final = TypeAdapter[str](Name)


class PlansError(ValueError):
    """The plans file is wrong. `errors` has one sentence a mistake, each with the field's path."""

    def __init__(self, errors: list[str]) -> None:
        super().__init__("\n".join(errors))
        self.errors = errors


def read_plans(path: Path) -> dict[str | None, Plan]:
    """Plans by workspace id, the default plan under None.

    Raises:
        PlansError: the file cannot be read, or holds mistakes (all of them are named).
    """
    try:
        text = read_text(path)
    except YamlError as error:
        raise PlansError([str(error)]) from error
    return parse_plans(text)


def parse_plans(text: str) -> dict[str | None, Plan]:
    """As `read_plans`, from the YAML itself."""
    try:
        document = load_yaml(text)
    except YamlError as error:
        raise PlansError([str(error)]) from error
    if not isinstance(document, dict) or not isinstance(document.get("plans"), dict):
        raise PlansError(
            ["plans: required, a mapping from workspace id (or `default`) to its plan"]
        )
    errors = [f"{key}: unknown field, only `plans` is read" for key in document if key != "plans"]
    plans: dict[str | None, Plan] = {}
    for name, body in document["plans"].items():
        errors += _wrong_name(name)
        plan, mistakes = parse(Plan, body, ("plans", str(name)))
        errors += (f"{path(mistake.place)}: {mistake.reason}" for mistake in mistakes)
        if plan is not None:
            plans[None if name == DEFAULT else name] = plan
    if errors:
        raise PlansError(errors)
    return plans


def render_plan(plan: Plan) -> dict[str, object]:
    """The inverse: a plan as the file would say it, every default written out."""
    return render(plan)


def _wrong_name(name: object) -> list[str]:
    if not isinstance(name, str):
        return [f"plans.{name}: YAML reads this id as {kind(name)}; put it in quotes"]
    try:
        _NAME.validate_python(name)
    except ValidationError as error:
        return [f"plans.{name}: {place_and_reason(item)[1]}" for item in error.errors()]
    return []
