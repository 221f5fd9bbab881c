"""Everything that runs it: the command line, settings and the embedded stack."""
