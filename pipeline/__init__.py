"""The only place that sees everything: configuration, components, artifacts, training, evaluation, the command."""
