"""The stack that needs no Docker: a Kafka broker and a ClickHouse engine from Python packages."""
