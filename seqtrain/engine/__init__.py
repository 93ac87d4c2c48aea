"""The training loop and what it needs: batches, checkpoints, optimizer, records of a run, processes."""
