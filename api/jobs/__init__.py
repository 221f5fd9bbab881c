"""Jobs that read and correct: control, recount, verify, rebuild."""
