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
prices are written as the operator's are (`schemas/README.md`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json

from spendstream.api.yaml_file import YamlError, load_yaml, read_text
from spendstream.schemas import Plan
from spendstream.schemas.fields import Name
from spendstream.schemas.money import pico_from_usd, usd_string
from spendstream.schemas.prices.overrides import Entry, OverridesError, parse_overrides

DEFAULT: Final = "default"
AS_THEY_ARE: Final = ("thresholds", "overage", "exhausted_action", "counted_cost")
PLAN_FIELDS: Final = ("credit", "limits", "markup_percent", "prices", *AS_THEY_ARE)
LIMIT_FIELDS: Final = ("name", "measure", "window", "amount", "action")

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
        where = f"plans.{name}"
        if not isinstance(name, str):
            errors.append(f"{where}: YAML reads this id as {_kind(name)}; put it in quotes")
            continue
        errors += _messages(where, _name_error(name))
        plan = _plan(where, body, errors)
        if plan is not None:
            plans[None if name == DEFAULT else name] = plan
    if errors:
        raise PlansError(errors)
    return plans


def render_plan(plan: Plan) -> dict[str, object]:
    """The inverse: a plan as the file would say it, every default written out."""
    return {
        "credit": usd_string(plan.credit_pico),
        "overage": plan.overage,
        "exhausted_action": plan.exhausted_action,
        "thresholds": [t.model_dump() for t in plan.thresholds],
        "limits": [
            {
                **limit.model_dump(),
                "amount": usd_string(limit.amount) if limit.measure == "charge" else limit.amount,
            }
            for limit in plan.limits
        ],
        "markup_percent": plan.markup_percent,
        "prices": [_entry(entry) for entry in plan.prices],
        "counted_cost": plan.counted_cost,
    }


def _plan(where: str, body: object, errors: list[str]) -> Plan | None:
    """A Plan, or None with the reasons added to `errors`."""
    if not isinstance(body, dict):
        errors.append(f"{where}: a mapping is required, found {_kind(body)}")
        return None
    before = len(errors)
    errors += _unknown(where, body, PLAN_FIELDS)
    fields: dict[str, object] = {name: body[name] for name in AS_THEY_ARE if name in body}
    if "markup_percent" in body:
        fields["markup_percent"] = _markup(
            f"{where}.markup_percent", body["markup_percent"], errors
        )
    if "prices" in body:
        try:
            fields["prices"] = parse_overrides({"prices": body["prices"]}).prices
        except OverridesError as error:
            errors += [f"{where}.{message}" for message in error.errors]
    if "credit" in body:
        fields["credit_pico"] = _money(f"{where}.credit", body["credit"], errors)
    if "limits" in body:
        fields["limits"] = _limits(f"{where}.limits", body["limits"], errors)
    errors += _repeated(f"{where}.thresholds", body.get("thresholds"), "percent")
    errors += _repeated(f"{where}.limits", body.get("limits"), "name")
    if len(errors) > before:
        return None
    try:
        # through JSON, where a list is a tuple also to a strict model
        return Plan.model_validate_json(to_json(fields))
    except (ValidationError, ValueError) as error:
        errors += _messages(where, error)
        return None


def _limits(where: str, value: object, errors: list[str]) -> object:
    if not isinstance(value, list):
        errors.append(f"{where}: a list is required, found {_kind(value)}")
        return None
    limits: list[object] = []
    for index, item in enumerate(value):
        place = f"{where}[{index}]"
        if not isinstance(item, dict):
            errors.append(f"{place}: a mapping is required, found {_kind(item)}")
            continue
        errors += _unknown(place, item, LIMIT_FIELDS)
        amount = item.get("amount")
        if item.get("measure") == "charge" and "amount" in item:
            amount = _money(f"{place}.amount", amount, errors)
        elif isinstance(amount, float):
            errors.append(f"{place}.amount: {amount} is a float; a whole number is required")
        limits.append({**item, "amount": amount} if "amount" in item else item)
    return limits


def _money(where: str, value: object, errors: list[str]) -> int | None:
    """Pico-USD of a whole number or a decimal string of USD."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        why = (
            f'{value} is a float, which cannot hold money exactly; put it in quotes: "{value}"'
            if isinstance(value, float)
            else f"an amount of USD is required, found {_kind(value)}"
        )
        errors.append(f"{where}: {why}")
        return None
    try:
        pico = pico_from_usd(str(value))
    except ValueError as error:
        errors.append(f"{where}: {error}")
        return None
    if pico < 0:
        errors.append(f"{where}: {value} is below 0")
        return None
    return pico


def _markup(where: str, value: object, errors: list[str]) -> str | None:
    if isinstance(value, float):
        errors.append(f'{where}: {value} is a float; put it in quotes: "{value}"')
        return None
    if isinstance(value, bool) or not isinstance(value, int | str):
        errors.append(f"{where}: a decimal percentage is required, found {_kind(value)}")
        return None
    return str(value)


def _entry(entry: Entry) -> dict[str, object]:
    """As it is written; what it does not say is left out."""
    return entry.model_dump(mode="json", exclude_defaults=True)


def _unknown(where: str, body: Mapping[object, object], known: tuple[str, ...]) -> list[str]:
    return [
        f"{where}.{key}: unknown field (there are {', '.join(known)})"
        for key in body
        if key not in known
    ]


def _repeated(where: str, items: object, field: str) -> list[str]:
    if not isinstance(items, list):
        return []
    values = [str(item.get(field)) for item in items if isinstance(item, dict)]
    return [
        f"{where}: {field} {value!r} is given {values.count(value)} times"
        for value in sorted(set(values))
        if values.count(value) > 1
    ]


def _name_error(name: str) -> Exception | None:
    try:
        _NAME.validate_python(name)
    except (ValidationError, ValueError) as error:
        return error
    return None


def _messages(where: str, error: Exception | None) -> list[str]:
    if error is None:
        return []
    if not isinstance(error, ValidationError):
        return [f"{where}: {error}"]
    return [f"{where}{_path(item['loc'])}: {item['msg']}" for item in error.errors()]


def _path(location: tuple[int | str, ...]) -> str:
    steps = ("credit" if step == "credit_pico" else step for step in location)
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)


def _kind(value: object) -> str:
    if value is None:
        return "nothing"
    return {dict: "a mapping", list: "a list", str: "text", bool: "true or false"}.get(
        type(value), f"a {type(value).__name__}"
    )
