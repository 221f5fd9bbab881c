"""What can go wrong while loading, named by what the loop does next.

LoaderError
├── Retry               back off, then do the same thing again (ClickHouse or Kafka is away or slow)
│   └── Unfinished      an open transaction may hide newer intents: it ends within seconds
├── Lost                let go of the partition; its new owner goes on
└── Stop                stop this partition and say why; a person has to look
    ├── Gap             a seq is missing: rows were lost on the way here
    ├── Unreadable      a record is not a row of its topic
    ├── Changed         the range of an intent reads differently now
    ├── Expired         Kafka no longer has what is to be read next; the next start tells whether
    │                   rows are missing
    ├── Behind          ClickHouse has less than what was reported done: its data was lost
    ├── Hole            ClickHouse lacks rows below others that it has: mostly a backup that was
    │                   restored under a running sink, which went on above it
    ├── Ahead           ClickHouse has rows that no intent accounts for: another writer
    ├── Undecided       too old for its token, and only some of its rows are there
    └── Refused         ClickHouse will never take these rows (types, columns, no such table)
ConfigError             refuse to start, all reasons at once
MigrationError          refuse to start
"""

from __future__ import annotations


class LoaderError(Exception):
    """Base of what a partition can meet while loading."""


class Retry(LoaderError):
    """Back off, then do the same thing again."""


class Unfinished(Retry):
    """A reader of committed records cannot reach the end of `sink.positions`."""


class Lost(LoaderError):
    """This process no longer owns the partition: let go of it."""


class Stop(LoaderError):
    """This partition stops, and the message says why. The others go on."""


class Gap(Stop):
    """A seq is missing: rows were lost on the way here. Never skipped."""


class Unreadable(Stop):
    """A record is not a row of its topic: no JSON object, no seq, another partition's."""


class Changed(Stop):
    """The range of an intent no longer holds the records that it held."""


class Expired(Stop):
    """Retention or a recreated topic took what is to be read next."""


class Behind(Stop):
    """ClickHouse has less than what was reported done."""


class Hole(Stop):
    """ClickHouse lacks rows below others that it has."""


class Ahead(Stop):
    """ClickHouse has rows that no intent accounts for."""


class Undecided(Stop):
    """Too old for its token, and only some of its rows are in the raw table."""


class Refused(Stop):
    """ClickHouse will never take these rows."""


class ConfigError(ValueError):
    """The configuration is unsafe or incomplete; the message lists every reason."""


class MigrationError(RuntimeError):
    """The database cannot be brought to this version's tables."""
