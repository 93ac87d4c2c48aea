"""What is learned: one file a task, with its examples, loss, metrics, baselines and predictions."""
