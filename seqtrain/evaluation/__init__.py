"""Evaluation: metrics, baselines, reports on data, and figures."""
