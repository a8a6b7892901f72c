"""Tests of translator and export."""
