"""The LLM providers' HTTP interfaces on a local port, which answer as a test tells them to.

with FakeProviders() as fake:
    client = openai.OpenAI(base_url=fake.openai_url, api_key="any")
    fake.next(Fails(429), Answer(usage=Usage(input_tokens=9, output_tokens=2)))
    client.chat.completions.create(model="gpt-4o", messages=[])
    assert [request.status for request in fake.requests] == [429, 200]
"""

from tests.fakes.answer import Answer, Received, Usage
from tests.fakes.faults import Cuts, Delays, Empty, Fails, Hangs, Malformed
from tests.fakes.server import FakeProviders

__all__ = [
    "Answer",
    "Cuts",
    "Delays",
    "Empty",
    "Fails",
    "FakeProviders",
    "Hangs",
    "Malformed",
    "Received",
    "Usage",
]
