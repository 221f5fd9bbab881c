"""The process around the calls: its end with streams still open, and the memory of a long one."""

from __future__ import annotations

import subprocess
import sys
import uuid

import pytest

from tests.fakes import Answer, FakeProviders, Hangs, Usage
from tests.integration.wrap.kinds import BY_NAME, part
from tests.support.recording import Recording, figures

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("kafka")]

OPEN_AT_EXIT = """
import sys, tempfile, weakref
import openai, anthropic
from spendstream.producers import UsageEmitter, instrument, track, use

class Thing: ...
other = Thing()
weakref.finalize(other, print)  # Python runs all of them when the first was due: after us
servers, topic, workspace, url = sys.argv[1:5]
use(UsageEmitter(servers, topic=topic))
instrument()
client = openai.OpenAI(base_url=url + "/v1", api_key="k")
says = [{"role": "user", "content": "hi"}]
with track(workspace_id=workspace):
    stream = client.chat.completions.create(model="gpt-4o", messages=says, stream=True)
chunks = [next(stream) for _ in range(3)]
"""


def test_a_stream_that_is_open_when_the_process_ends(
    recording: Recording, fake: FakeProviders
) -> None:
    came = part(BY_NAME["openai-chat"])
    fake.default = Answer(fault=Hangs(after=came.sent))
    workspace = f"ws-{uuid.uuid4().hex}"
    where = [recording.bootstrap_servers, recording.topic, workspace, fake.url]
    subprocess.run([sys.executable, "-c", OPEN_AT_EXIT, *where], check=True, timeout=60)
    (event,) = recording.from_elsewhere(workspace)
    assert event["status"] == "cancelled"
    assert figures(event) == came.used


LONG = """
import resource, sys
import openai, anthropic
from spendstream.producers import UsageEmitter, instrument, track, use

servers, topic, workspace, url = sys.argv[1:]
use(UsageEmitter(servers, topic=topic))
says = [{"role": "user", "content": "hi"}]
gpt = openai.OpenAI(base_url=url + "/v1", api_key="k")
claude = anthropic.Anthropic(base_url=url, api_key="k")
instrument(gpt, include_usage=True)
instrument(claude)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with track(workspace_id=workspace):
    for _ in gpt.chat.completions.create(model="gpt-4o", messages=says, stream=True):
        pass
    more = {"max_tokens": 9, "messages": says, "stream": True}
    for _ in claude.messages.create(model="claude-sonnet-5", **more):
        pass
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_a_stream_of_50_mb_is_not_kept(recording: Recording, fake: FakeProviders) -> None:
    """8 MiB of it, for an estimate. OpenAI's chunks all name usage, which is null."""
    usage = Usage(input_tokens=7, output_tokens=12_000_000)
    fake.default = Answer(text="word " * (10 << 20), chunks=2_000, usage=usage)
    workspace = f"ws-{uuid.uuid4().hex}"
    where = [recording.bootstrap_servers, recording.topic, workspace, fake.url]
    done = subprocess.run(
        [sys.executable, "-c", LONG, *where], check=True, timeout=60, capture_output=True, text=True
    )
    kib = int(done.stdout)
    assert kib < 40 << 10, f"{kib >> 10} MiB"
    events = recording.from_elsewhere(workspace)
    used = {"input_tokens": 7, "output_tokens": 12_000_000}
    assert [figures(event) for event in events] == [used, used]
