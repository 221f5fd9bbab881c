"""The generated files are current, and the examples are what the schemas and models say."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from spendstream.schemas.event import UsageEvent
from spendstream.schemas.generate.__main__ import FOLDER, drift, generated, on_disk, write
from spendstream.schemas.generate.asyncapi import cloudevents_headers, document
from spendstream.schemas.generate.catalogue import MESSAGES, file_stem, json_schema
from spendstream.schemas.generate.examples import examples
from spendstream.schemas.generate.readme import BEGIN, END, with_topic_table
from spendstream.schemas.records import PricedUsage
from spendstream.schemas.topics import BY_NAME, TOPICS

MODELS = {file_stem(model): model for models in MESSAGES.values() for model in models}
EXAMPLES = examples()


def test_files_are_current() -> None:
    assert drift(generated(), on_disk()) == ""


def test_drift_names_changed_missing_and_forgotten_files() -> None:
    difference = drift({"a": "1\n", "new": "2\n"}, {"a": "0\n", "old": "3\n"})
    assert "-0\n+1\n" in difference
    assert "--- /dev/null\n+++ new" in difference
    assert "--- old\n+++ /dev/null" in difference


def test_writing_makes_the_folder_what_it_should_be(tmp_path: Any) -> None:
    (tmp_path / "README.md").write_text("old")
    (tmp_path / "generated").mkdir()
    (tmp_path / "generated" / "forgotten.json").write_text("{}")
    wanted = {"README.md": "new", "generated/a.json": "{}", "examples/b.json": "{}"}
    write(wanted, tmp_path)
    assert on_disk(tmp_path) == wanted


@pytest.mark.parametrize("stem", MODELS)
def test_schemas_are_valid_and_refuse_unknown_fields(stem: str) -> None:
    schema = json_schema(MODELS[stem])
    Draft202012Validator.check_schema(schema)
    assert schema["additionalProperties"] is False
    assert schema["description"]


@pytest.mark.parametrize("stem", MODELS)
def test_every_model_has_an_example_that_both_schema_and_model_take(stem: str) -> None:
    record = EXAMPLES[stem]
    value = record["value"]
    schema = json.loads((FOLDER / "generated" / f"{stem}.schema.json").read_text())
    Draft202012Validator(schema).validate(value)
    MODELS[stem].model_validate_json(json.dumps(value))
    assert MODELS[stem] in MESSAGES[record["topic"]]
    with_more = {**value, "prompt": "text"}
    assert not Draft202012Validator(schema).is_valid(with_more)


def test_both_modes_of_the_event_say_the_same() -> None:
    binary, structured = EXAMPLES["usage_event"], EXAMPLES["usage_event.structured"]
    Draft202012Validator(cloudevents_headers()).validate(binary["headers"])
    attributes = dict(structured["value"])
    assert attributes.pop("data") == binary["value"]
    assert attributes.pop("datacontenttype") == binary["headers"]["content-type"]
    assert {f"ce_{name}": value for name, value in attributes.items()} == {
        name: value for name, value in binary["headers"].items() if name.startswith("ce_")
    }


def test_the_priced_example_adds_up() -> None:
    row = PricedUsage.model_validate_json(json.dumps(EXAMPLES["priced_usage"]["value"]))
    assert row.event == UsageEvent.model_validate_json(json.dumps(EXAMPLES["usage_event"]["value"]))
    assert row.event.usage is not None
    assert sum(leaf.quantity for leaf in row.leaves) == (
        row.event.usage.input_tokens + row.event.usage.output_tokens
    )
    assert row.cost_pico == str(sum(int(leaf.cost_pico) for leaf in row.leaves)) == "2982500000"


def test_asyncapi_refers_only_to_what_is_there() -> None:
    whole = document()
    files = {path.name for path in (FOLDER / "generated").iterdir()}

    def check(node: Any) -> None:
        if isinstance(node, list):
            for child in node:
                check(child)
        elif isinstance(node, dict):
            for key, child in node.items():
                if key != "$ref":
                    check(child)
                elif child.startswith("./"):
                    assert child[2:] in files
                else:
                    target = whole
                    for part in child.removeprefix("#/").split("/"):
                        target = target[part]

    check(whole)
    assert set(whole["channels"]) == {topic.name for topic in TOPICS if topic.public}


def test_the_table_of_topics_stands_between_its_markers() -> None:
    text = with_topic_table(f"above\n{BEGIN}\nold\n{END}\nbelow\n")
    assert text.startswith(f"above\n{BEGIN}\n| topic |")
    assert text.endswith(f"{END}\nbelow\n")
    assert all(f"| `{name}` |" in text for name in BY_NAME)
    assert with_topic_table(text) == text
    with pytest.raises(ValueError, match="lacks the line"):
        with_topic_table("no markers")
