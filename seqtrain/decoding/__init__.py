"""Decoding: greedy search, sampling, beam search, and CTC."""
