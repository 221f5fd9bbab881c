"""ClickHouse: migrations, and the loader that fills the tables from the topics."""
