"""What other languages read, made from the models: JSON Schemas, examples, AsyncAPI, tables.

`python -m spendstream.schemas.generate` writes the files, `--check` compares and exits 1 on drift.
"""
