"""From a trained model and its text processing to an endpoint: translator and export."""
