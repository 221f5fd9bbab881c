"""The public topics as an AsyncAPI 3.0 document.

Source: asyncapi.com/docs/reference/specification/v3.0.0 and its Kafka bindings 0.5.0. `send` and
`receive` are seen from spendstream: it receives what a service sends.
"""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel

from spendstream.schemas.event import CONTENT_TYPE, EVENT_TYPE, MAX_ID, SPEC_VERSION
from spendstream.schemas.generate.catalogue import DIALECT, MESSAGES, file_stem, schema_name
from spendstream.schemas.topics import DEFAULT_PARTITIONS, TOPICS, USAGE_EVENTS, Topic

INTERFACE_VERSION: Final = "1.0.0"
"""Of what travels, not of the package: a field that is added raises the second number."""

_BINDING: Final = "0.5.0"


def document() -> dict[str, Any]:
    """The whole document; payloads refer to the JSON Schemas beside it."""
    public = [topic for topic in TOPICS if topic.public]
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "spendstream",
            "version": INTERFACE_VERSION,
            "description": "LLM usage and cost metering: events in, priced rows, alerts, overage"
            " and workspace state out. Money is a string of integer pico-USD, times are"
            " milliseconds since 1970 UTC.",
            "license": {
                "name": "Apache-2.0",
                "url": "https://www.apache.org/licenses/LICENSE-2.0",
            },
        },
        "defaultContentType": CONTENT_TYPE,
        "channels": {topic.name: _channel(topic) for topic in public},
        "operations": {_operation_name(topic): _operation(topic) for topic in public},
        "components": {
            "messages": {
                model.__name__: _message(topic, model)
                for topic in public
                for model in MESSAGES[topic.name]
            }
        },
    }


def _channel(topic: Topic) -> dict[str, Any]:
    return {
        "address": topic.name,
        "description": f"{topic.purpose}. Key: {topic.key}. Time stamps: {topic.timestamps}.",
        "messages": {
            model.__name__: {"$ref": f"#/components/messages/{model.__name__}"}
            for model in MESSAGES[topic.name]
        },
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "partitions": topic.partitions or DEFAULT_PARTITIONS,
                "topicConfiguration": {
                    "cleanup.policy": [topic.cleanup],
                    "retention.ms": topic.retention_ms,
                    "max.message.bytes": topic.max_message_bytes,
                },
                "bindingVersion": _BINDING,
            }
        },
    }


def _operation_name(topic: Topic) -> str:
    verb = "receive" if topic.name == USAGE_EVENTS else "send"
    return verb + "".join(part.capitalize() for part in topic.name.split("."))


def _operation(topic: Topic) -> dict[str, Any]:
    return {
        "action": "receive" if topic.name == USAGE_EVENTS else "send",
        "channel": {"$ref": f"#/channels/{topic.name}"},
        "summary": topic.purpose,
    }


def _message(topic: Topic, model: type[BaseModel]) -> dict[str, Any]:
    message: dict[str, Any] = {
        "name": file_stem(model),
        "title": model.__name__,
        "contentType": CONTENT_TYPE,
        "payload": {"$ref": f"./{schema_name(model)}"},
        "bindings": {
            "kafka": {
                "key": {"type": "string", "description": topic.key},
                "bindingVersion": _BINDING,
            }
        },
    }
    if topic.name == USAGE_EVENTS:
        message["headers"] = cloudevents_headers()
    return message


def cloudevents_headers() -> dict[str, Any]:
    """JSON Schema of the headers in CloudEvents' binary mode."""
    name = {"type": "string", "minLength": 1, "maxLength": MAX_ID}
    return {
        "$schema": DIALECT,
        "type": "object",
        "required": ["ce_specversion", "ce_id", "ce_source", "ce_type", "ce_time"],
        "properties": {
            "ce_specversion": {"const": SPEC_VERSION},
            "ce_id": {**name, "description": "idempotent request id, unique in its workspace"},
            "ce_source": {**name, "description": "the service that made the call"},
            "ce_type": {"const": EVENT_TYPE},
            "ce_time": {
                "type": "string",
                "format": "date-time",
                "description": "end of the call, RFC 3339",
            },
            "content-type": {"const": CONTENT_TYPE},
        },
    }
