"""Baselines: simple methods that every trained model is compared with."""
