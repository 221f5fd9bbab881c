"""What the worker decides, as pure functions: no Faust, no Kafka, no clock of its own."""
