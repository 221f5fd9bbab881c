"""The topic table of `schemas/README.md`."""

from __future__ import annotations

from typing import Final

from spendstream.schemas.topics import DAY_MS, FOREVER, TOPICS, Topic

BEGIN: Final = "<!-- topics: written by python -m spendstream.schemas.generate -->"
END: Final = "<!-- /topics -->"


def with_topic_table(text: str) -> str:
    """The text with the table between its markers renewed.

    Raises:
        ValueError: the markers are not there, once each and in order.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"README.md lacks the line {BEGIN!r} or the line {END!r} after it")
    return f"{before}{BEGIN}\n{_table()}{END}{after}"


def _table() -> str:
    rows = [
        "| topic | what | key | partitions | kept | time stamps | written by | read by |",
        "|---|---|---|---|---|---|---|---|",
    ]
    rows += [
        f"| `{topic.name}` | {topic.purpose} | {topic.key} | {topic.partitions or 'common'}"
        f" | {_kept(topic)} | {topic.timestamps} | {', '.join(topic.writers)}"
        f" | {', '.join(topic.readers)} |"
        for topic in TOPICS
    ]
    return "".join(f"{row}\n" for row in rows)


def _kept(topic: Topic) -> str:
    if topic.cleanup == "compact":
        return "newest of a key"
    return "for ever" if topic.retention_ms == FOREVER else f"{topic.retention_ms // DAY_MS} days"
