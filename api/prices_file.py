"""The operator's prices as people write them: a YAML file, every mistake reported at once.

```yaml
prices:
  - provider: openai
    model: gpt-4o               # or a pattern: gpt-4o-mini*
    valid_from: 2026-01-01      # in UTC; a time may be given
    tokens_per: 1000            # USD a thousand tokens; a million without it
    prices: {input: "0.005", output: "0.015"}
  - provider: openai
    model: gpt-4o
    valid_from: 2026-01-01
    when: {batch: true}         # tier, region, between: ["16:30", "00:30"]
    prices: {input: "2.50", output: "7.50"}
    long_context:
      - {input_above: 200000, prices: {input: "5.00"}}
  - provider: openai
    model: dall-e-3
    valid_from: 2026-01-01
    images:
      - {size: 1024x1024, quality: hd, price: "0.08"}
      - {price: "0.04"}
aliases:
  - provider: azure.ai.openai
    model: our-deployment
    valid_from: 2026-01-01
    same_as: {provider: openai, model: gpt-4o}
```

Entries are only ever added: a new price is a new entry with a later `valid_from`. What each means,
and which of several counts, is in `schemas/price_overrides.py`.
"""

from __future__ import annotations

from pathlib import Path

from spendstream.api.yaml_file import YamlError, load_yaml, read_text
from spendstream.schemas.price_overrides import Overrides, OverridesError, parse_overrides


def read_overrides(path: Path) -> Overrides:
    """The file's entries.

    Raises:
        OverridesError: the file cannot be read, or holds mistakes (all of them are named).
    """
    try:
        return parse_overrides(load_yaml(read_text(path)))
    except YamlError as error:
        raise OverridesError([str(error)]) from error
