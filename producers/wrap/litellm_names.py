"""What LiteLLM's record of a call says, in our words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel

_OPERATIONS: Final = {
    "completion": "chat",
    "responses": "chat",
    "anthropic_messages": "chat",
    "generate_content": "generate_content",
    "generate_content_stream": "generate_content",
    "text_completion": "text_completion",
    "embedding": "embeddings",
    "image_generation": "image_generation",
    "image_edit": "image_generation",
    "transcription": "transcription",
    "speech": "speech",
    "rerank": "rerank",
    "ocr": "ocr",
}
"""Of its call types, each with its asynchronous twin. Others ask no model, or fetch again what was
asked before (batches, files), or are no single call (realtime)."""
_PROVIDERS: Final = {
    "anthropic_text": "anthropic",
    "azure": "azure.ai.openai",
    "azure_ai": "azure.ai.inference",
    "azure_text": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "bedrock_converse": "aws.bedrock",
    "codestral": "mistral_ai",
    "cohere_chat": "cohere",
    "custom_openai": "openai",
    "fireworks_ai": "fireworks",
    "gemini": "gcp.gemini",
    "mistral": "mistral_ai",
    "moonshot": "moonshot_ai",
    "ollama_chat": "ollama",
    "text-completion-codestral": "mistral_ai",
    "text-completion-openai": "openai",
    "together_ai": "together",
    "vertex_ai": "gcp.vertex_ai",
    "vertex_ai_beta": "gcp.vertex_ai",
    "watsonx": "ibm.watsonx.ai",
    "xai": "x_ai",
}
"""`custom_llm_provider` → `gen_ai.provider.name`; all others have the same name."""
_MOCKED: Final = "mock-key"
_SAID: Final = ("workspace_id", "user_id", "api_key_id", "request_type", "task_id")
_HARMLESS: Final = ("request_type", "task_id")


def operation(kwargs: Mapping[str, Any]) -> str | None:
    """None: no model is asked."""
    kind = kwargs.get("call_type")
    if not isinstance(kind, str) or kwargs.get("api_key") == _MOCKED:
        return None
    return _OPERATIONS.get(kind) or _OPERATIONS.get(kind.removeprefix("a"))


def provider(kwargs: Mapping[str, Any]) -> str:
    name = kwargs.get("custom_llm_provider")
    return _PROVIDERS.get(name, name) if isinstance(name, str) and name else "unknown"


def asked(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """What may be billed by what was asked for: as the body of a request to OpenAI."""
    optional = kwargs.get("optional_params")
    body = {"model": kwargs.get("model"), "input": kwargs.get("input")}
    if isinstance(optional, Mapping):
        body |= {name: optional.get(name) for name in ("size", "quality")}
    return {name: value for name, value in body.items() if isinstance(value, str) and value}


def who(kwargs: Mapping[str, Any]) -> dict[str, str]:
    """Who a call is for, by its `metadata`. What goes through LiteLLM's proxy is charged to whom
    the proxy has authenticated, since there the metadata is also what a client has written."""
    params = mapping(kwargs.get("litellm_params"))
    metadata = mapping(params.get("metadata")) or mapping(params.get("litellm_metadata"))
    key = metadata.get("user_api_key_hash")
    said: dict[str, Any] = {
        name: metadata.get(f"spendstream_{name}") for name in (_HARMLESS if key else _SAID)
    }
    if key:
        of_key = mapping(metadata.get("user_api_key_metadata"))  # an administrator's
        said |= {
            "workspace_id": of_key.get("spendstream_workspace_id")
            or metadata.get("user_api_key_team_id")
            or metadata.get("user_api_key_org_id"),
            "user_id": metadata.get("user_api_key_user_id"),
            "api_key_id": key,
        }
    return {name: value for name, value in said.items() if isinstance(value, str) and value}


def mapping(value: object) -> Mapping[str, Any]:
    if isinstance(value, BaseModel):
        return value.model_dump(exclude_none=True, warnings=False)
    return value if isinstance(value, Mapping) else {}
